"""A fitted forecaster that reads one observation at a time and keeps a running state."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from seqkeras._arrays import Floats, Integers
from seqkeras._checks import Description, bad_argument, bad_data, check_one_of
from seqkeras.forecasting.calendars._calendar import to_integers
from seqkeras.forecasting.calendars._clock import Clock
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._intervals import ConformalIntervals
from seqkeras.forecasting.fitted._observations import ObservationReader
from seqkeras.forecasting.networks._exported import WindowProgram, choose_network
from seqkeras.forecasting.networks._predict import Forecasts, NetworkForecast, look_ahead
from seqkeras.forecasting.networks._units import Units
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._packing import pack, unpack

IMPLEMENTATIONS = ("auto", "program", "keras")

# The columns of `place`: the timestamp at which the stepper began, the steps since then, the key of
# the series, and the steps since the start of the forecast that adapts its intervals next.
BEGIN = 0
COUNT = 1
KEY = 2
WAITING = 3


class ForecastStepper:
    """The series of a forecaster, fed one observation at a time; created by `Forecaster.stepper`.

    `update` and `predict` work like the methods of the forecaster, but with arrays instead of
    frames; `step` does both in turn. The state of a series consists of the rows that its next
    forecast reads, unscaled, their last timestamp, and the interval widths. It contains no weights,
    so it can be restored into a forecaster that was fitted again with the same columns, lookback,
    horizon and intervals.

    Pass values by id, `{"east": 4.5, "west": 3.0}`, or as an array in the order of `ids`; for a
    forecaster of one series also as a number. All arguments are checked before the state changes.

    Attributes:
        ids: ids of the series.
        columns: covariates that each step needs, past ones, then future ones.
        future_columns: covariates that each forecast needs over its horizon.
        categories: the categories of covariates that are text, by column.
        horizon: timesteps of a forecast.
        implementation: what runs the network: `"program"` or `"keras"`.

    Example:
        >>> from seqkeras.forecasting import Forecaster, Training, load_air_passengers
        >>> df = load_air_passengers()
        >>> training = Training(epochs=1, progress=False)
        >>> forecaster = Forecaster(6, training=training, seed=0).fit(df.iloc[:-1])
        >>> stepper = forecaster.stepper()
        >>> forecast = stepper.step(432)
        >>> {name: array.shape for name, array in forecast.items()}["yhat-lo-80"]
        (1, 6)
        >>> expected = forecaster.update(df.iloc[-1:]).predict()
        >>> bool(np.allclose(forecast["yhat"][0], expected.yhat))
        True
    """

    def __init__(self, fitted: Fitted, implementation: str = "auto") -> None:
        check_one_of("implementation", implementation, IMPLEMENTATIONS)
        panel = fitted.panel
        intervals = fitted.intervals
        self._fitted = fitted
        self._network = choose_network(fitted.model, fitted.lookback, implementation)
        self._clock = Clock(panel.calendar, str(panel.last.dtype), panel.covariates.calendar)
        ids = panel.ids.tolist()
        self._reader = ObservationReader(
            panel.columns,
            {identity: number for number, identity in enumerate(ids)},
            panel.covariates,
            fitted.inputs.masked,
            fitted.likelihood is not None and fitted.likelihood.counts,
        )
        known = fitted.inputs.scaler.transform(panel.known)
        self._static = known.static.astype(np.float32)
        self._categories = known.categories
        rows = fitted.lookback
        if intervals is not None and intervals.follows:
            rows += fitted.horizon
        newest = panel.newest(rows)
        self._values = newest.values.values.reshape(len(ids), -1).copy()
        self._rows = newest.known.rows.values.reshape(*self._values.shape, -1).copy()
        keys = np.array([_key(identity) for identity in ids], dtype=np.int64)
        zeros = np.zeros_like(keys)
        waiting = intervals.waiting if intervals is not None else zeros
        self._place = np.stack([to_integers(panel.last), zeros, keys, waiting], axis=1)
        self._factor = intervals.factor.copy() if intervals is not None else np.ones((len(ids), 0))
        self._numbers = {key: number for number, key in enumerate(keys.tolist())}

    @property
    def ids(self) -> list[Any]:
        return list(self._reader.numbers)

    @property
    def columns(self) -> tuple[str, ...]:
        return self._reader.covariates.past + self._reader.covariates.future

    @property
    def future_columns(self) -> tuple[str, ...]:
        return self._reader.covariates.future

    @property
    def categories(self) -> Mapping[str, tuple[Any, ...]]:
        categories = self._reader.covariates.categories
        return {name: categories[name] for name in self.columns if name in categories}

    @property
    def horizon(self) -> int:
        return self._fitted.horizon

    @property
    def implementation(self) -> str:
        return "program" if isinstance(self._network, WindowProgram) else "keras"

    def __repr__(self) -> str:
        rows = f"{len(self.ids)} series, {self._fitted.lookback} rows each"
        return f"ForecastStepper({rows}, network by {self.implementation})"

    def __copy__(self) -> Self:
        """Return a stepper with a state of its own; it shares the network, which never changes."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        for name in ("_values", "_rows", "_place", "_factor"):
            setattr(copied, name, getattr(self, name).copy())
        return copied

    def __deepcopy__(self, memo: Any) -> Self:
        return self.__copy__()

    def update(self, values: Any, *, ids: Any = None, covariates: Any = None) -> None:
        """Add the next observation of some series; an invalid argument changes nothing.

        Args:
            values: the targets, by id or as `(series,)`; NaN for a missing target, if the
                forecaster was fitted with missing targets.
            ids: ids of an array of values, in order. None: all series.
            covariates: values of this timestep for each of `columns`: by id, `(series,)`, or one
                value for all series.

        Raises:
            ArgumentError: an argument has the wrong type or shape.
            DataError: a series was not fitted, or a value cannot be used.
        """
        self._add(*self._read(values, ids, covariates)[1:])

    def predict(self, *, ids: Any = None, future: Any = None) -> Forecasts:
        """Forecast from the current state of the series.

        Args:
            ids: ids of the series to forecast, in order. None: all series.
            future: values of each future covariate over the horizon: by id, `(series, horizon)`,
                or `(horizon,)` for all series.

        Returns:
            `yhat`, and `yhat-lo-80`, `yhat-hi-80` ... as in the frame of `Forecaster.predict`, each
            `(series, horizon)`.

        Raises:
            ArgumentError, DataError: as `update`.
        """
        listed = self._reader.ids(ids)
        series = self._reader.series(listed)
        return self._forecast(series, self._read_ahead(future, listed))

    def step(
        self, values: Any, *, ids: Any = None, covariates: Any = None, future: Any = None
    ) -> Forecasts:
        """Add an observation, and forecast the same series; if either fails, nothing changes.

        Args:
            values, ids, covariates: as for `update`.
            future: as for `predict`, of the horizon after the new observation.
        """
        listed, series, targets, rows = self._read(values, ids, covariates)
        ahead = self._read_ahead(future, listed)
        before = tuple(array[series] for array in self._arrays)
        self._add(series, targets, rows)
        try:
            return self._forecast(series, ahead)
        except BaseException:  # Ctrl-C too: the caller may take the step again
            self._put(series, before)
            raise

    def timestamps(self, ids: Any = None) -> pd.Index:
        """Return the timestamp of the last observation of each series.

        A forecast begins one step later.
        """
        place = self._place[self._reader.series(self._reader.ids(ids))]
        return self._clock.timestamps(place[:, BEGIN], place[:, COUNT])

    def state(self, ids: Any = None) -> State:
        """Return the state of some series, as copies.

        Returns:
            A tuple of targets `(series, rows)`, covariates `(series, rows, features)`, integers
            `(series, 4)` that identify a series and its position in time, and the factors of its
            intervals, `(series, levels)`. The rows are those of the lookback, and with adaptive
            intervals of one horizon before it.
        """
        series = self._reader.series(self._reader.ids(ids))
        return tuple(array[series] for array in self._arrays)

    def restore(self, state: State) -> None:
        """Restore a state of some series; the others do not change.

        Args:
            state: a state from `state` or `unpack_state`, of this stepper or of a stepper with the
                same columns, lookback, horizon and intervals.

        Raises:
            ArgumentError: the arrays have other shapes or dtypes, or invalid values.
            DataError: the state contains a series that was not fitted.
        """
        place = self._checked(state)[2]
        unknown = [key for key in place[:, KEY].tolist() if key not in self._numbers]
        if unknown:
            expected = f"hold only series that were fitted ({len(self._numbers)} in all)"
            got = f"{len(unknown)} of {len(place)} rows of other series"
            raise bad_data("state", got, expected)
        series = np.array([self._numbers[key] for key in place[:, KEY].tolist()])
        self._put(series, state)

    def pack_state(self, state: State) -> bytes:
        """Pack a state into bytes, for a file, a database or another process."""
        return pack(self._checked(state), self.fingerprint, len(state[0]))

    def unpack_state(self, data: bytes) -> State:
        """Unpack a state that `pack_state` packed.

        Raises:
            FileFormatError: the bytes are damaged, from another version, or from a forecaster that
                differs in its covariates or their categories, lookback, horizon, levels, adaptive
                intervals, frequency or dtype of the timestamps, or whether targets may be missing.
        """
        fix = (
            "These must be the same as when the state was packed: covariates and their categories, "
            "lookback, horizon, levels, whether intervals are adaptive, frequency and dtype of the "
            "timestamps, and whether targets may be missing."
        )
        shapes = [(array.shape[1:], array.dtype) for array in self._arrays]
        return unpack(data, shapes, self.fingerprint, "this one", kind="forecaster", fix=fix)

    @property
    def _arrays(self) -> State:
        return self._values, self._rows, self._place, self._factor

    @property
    def fingerprint(self) -> str:
        """Return a hash of all settings on which the meaning of a state depends.

        A forecaster that was fitted again with the same settings has the same one.
        """
        panel = self._fitted.panel
        intervals = self._fitted.intervals
        levels = None
        if intervals is not None:
            levels = ([float(level) for level in intervals.levels], intervals.follows)
        covariates = asdict(panel.covariates)
        # Keep the name from the first version: older packed states were hashed with it.
        covariates["words"] = covariates.pop("categories")
        meaning = [
            self._fitted.lookback,
            self._fitted.horizon,
            levels,
            self._reader.masked,
            covariates,
            asdict(panel.calendar),
            self._clock.dtype,
        ]
        return hashlib.sha256(json.dumps(meaning, default=str).encode()).hexdigest()

    def _checked(self, state: Any) -> State:
        expected_arrays = [(array.shape[1:], array.dtype) for array in self._arrays]
        parts = state if isinstance(state, tuple) else ()
        actual = [(np.shape(part)[1:], getattr(part, "dtype", None)) for part in parts]
        if actual != expected_arrays or len({len(part) for part in parts}) > 1:
            expected = f"a tuple of arrays (series, ...) of {expected_arrays}"
            raise bad_argument("state", actual, expected, "Take it from state or unpack_state.")
        values, rows, place, factor = parts
        known = np.isfinite(values) | (np.isnan(values) & self._reader.masked)
        usable = np.isfinite(factor) & (factor > 0)
        if not (known.all() and np.isfinite(rows).all() and usable.all()):
            raise bad_argument(
                "state", Description("numbers that are not finite"), "a state of this stepper"
            )
        if not np.isin(place[:, WAITING], np.arange(self._fitted.horizon)).all():
            raise bad_argument(
                "state", Description("counts out of range"), "a state of this stepper"
            )
        return state

    def _read(
        self, values: Any, ids: Any, covariates: Any
    ) -> tuple[list[Any], Integers, Floats, Floats]:
        """Return the ids, series indices, targets and covariates of an observation."""
        listed, targets = self._reader.targets(values, ids)
        return listed, self._reader.series(listed), targets, self._reader.rows(covariates, listed)

    def _read_ahead(self, future: Any, ids: list[Any]) -> Floats:
        return self._reader.ahead(future, ids, self._fitted.horizon)

    def _add(self, series: Integers, targets: Floats, rows: Floats) -> None:
        rows = np.concatenate([rows[:, np.newaxis], self._calendar_after(series, 1)], axis=-1)
        values = np.concatenate([self._values[series, 1:], targets[:, np.newaxis]], axis=1)
        rows = np.concatenate([self._rows[series, 1:], rows], axis=1)
        place = self._place[series]
        factor = self._factor[series]
        place[:, COUNT] += 1
        intervals = self._fitted.intervals
        if intervals is not None and intervals.follows:
            place[:, WAITING] += 1
            due = np.flatnonzero(place[:, WAITING] == self._fitted.horizon)
            before = replace(intervals, factor=factor[due])
            factor[due] = self._adapted(before, series[due], values[due], rows[due])
            place[due, WAITING] = 0
        # Change the state last, so that it stays as it was if the network raises.
        self._put(series, (values, rows, place, factor))

    def _put(self, series: Integers, state: State) -> None:
        for array, part in zip(self._arrays, state, strict=True):
            array[series] = part

    def _adapted(
        self, before: ConformalIntervals, series: Integers, values: Floats, rows: Floats
    ) -> Floats:
        """Adapt the factors to the forecast of one horizon ago, as `Forecaster.update` does."""
        if not len(series):
            return before.factor
        lookback = self._fitted.lookback
        width = self._fitted.panel.covariates.future_width
        ahead = rows[:, lookback:, rows.shape[2] - width :]
        forecast = self._run(series, values[:, :lookback], rows[:, :lookback], ahead)
        errors = forecast.in_widths(values[:, lookback:] - forecast.point)
        return before.follow(errors, np.arange(len(series)))[0].factor

    def _forecast(self, series: Integers, ahead: Floats) -> Forecasts:
        lookback = self._fitted.lookback
        values = self._values[series, -lookback:]
        rows = self._rows[series, -lookback:]
        calendar = self._calendar_after(series, self._fitted.horizon)
        ahead = np.concatenate([ahead, calendar], axis=-1)
        forecast = self._run(series, values, rows, ahead)
        return self._fitted.with_intervals(forecast, self._factor[series])

    def _run(
        self, series: Integers, values: Floats, rows: Floats, ahead: Floats
    ) -> NetworkForecast:
        """Run the network on a lookback of rows."""
        fitted = self._fitted
        units = Units.of(
            fitted.scaler.take(series),
            values,
            season_length=fitted.season_length,
            steps=fitted.horizon,
        )
        context = fitted.inputs.assemble(
            units.scaler.transform_batch(values),
            rows,
            ahead,
            self._static[series],
            self._categories[series],
        )
        forecast = look_ahead(self._network, fitted.likelihood, context, fitted.horizon)
        return forecast.unscaled(units)

    def _calendar_after(self, series: Integers, steps: int) -> Floats:
        place = self._place[series]
        return self._clock.features(place[:, BEGIN], place[:, COUNT], steps)


def _key(identity: Any) -> int:
    """Return an integer that identifies a series by its id, the same in every process."""
    text = f"{type(identity).__name__}:{identity!r}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)

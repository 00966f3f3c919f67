"""A fitted forecaster, fed one observation at a time: what it reads next is a running state."""

import copy
import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, check_one_of
from seqkeras.errors import DataError
from seqkeras.forecasting.calendars._calendar import to_integers
from seqkeras.forecasting.calendars._clock import Clock
from seqkeras.forecasting.fitted._intervals import ConformalIntervals
from seqkeras.forecasting.fitted._observations import Readings
from seqkeras.forecasting.networks._exported import WindowProgram, choose_network
from seqkeras.forecasting.networks._predict import Forecasts, Outlook, look_ahead
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._packing import pack, unpack

if TYPE_CHECKING:
    import pandas as pd

    from seqkeras.forecasting._forecaster import Forecaster

IMPLEMENTATIONS = ("auto", "program", "keras")
#: The columns of `place`: the stamp that a series began at, the steps since, whose it is, and the
#: steps since the forecast that its intervals are judged by next.
BEGIN, COUNT, KEY, WAITING = range(4)


class ForecastStepper:
    """The series of a forecaster, fed one observation at a time. `Forecaster.stepper` makes it.

    `update` and `predict` give what those of the forecaster give, without a frame; `step` is one
    after the other. The state of a series is the rows that its next forecast reads, unscaled,
    where in time they end, and how wide its intervals are. It does not hold weights: those of a
    forecaster that was fitted again on the same columns, with the same lookback, go on from it.

    Values are given by id, `{"east": 4.5, "west": 3.0}`, or as an array in the order of `ids`; of a
    forecaster of one series as a number. Everything is checked before anything is taken.

    Attributes:
        ids: of the series.
        columns: covariates that each step brings: past ones, then future ones.
        implementation: what runs the network: `"program"` or `"keras"`.

    Example:
        >>> from seqkeras.forecasting import Forecaster, load_air_passengers
        >>> df = load_air_passengers()
        >>> forecaster = Forecaster(6, epochs=1, seed=0, progress=False).fit(df.iloc[:-1])
        >>> stepper = forecaster.stepper()
        >>> forecast = stepper.step(432)
        >>> {name: array.shape for name, array in forecast.items()}["yhat-lo-80"]
        (1, 6)
        >>> expected = forecaster.update(df.iloc[-1:]).predict()
        >>> bool(np.allclose(forecast["yhat"][0], expected.yhat))
        True
    """

    def __init__(self, forecaster: "Forecaster", implementation: str = "auto") -> None:
        check_one_of("implementation", implementation, IMPLEMENTATIONS)
        panel, lookback, intervals = forecaster.panel_, forecaster.lookback_, forecaster.intervals_
        follows = intervals is not None and intervals.follows
        self._forecaster = copy.copy(forecaster)  # a fit or an update of it changes nothing here
        self._network = choose_network(forecaster.model_, lookback, implementation)
        self._clock = Clock(panel.calendar, str(panel.last.dtype), panel.covariates.calendar)
        ids = panel.ids.tolist()
        self._readings = Readings(
            panel.columns,
            {one: number for number, one in enumerate(ids)},
            panel.covariates,
            forecaster.inputs_.masked,
            forecaster.head_ is not None and forecaster.head_.counts,
        )
        known = forecaster.inputs_.scaler.transform(panel.known)
        self._static, self._categories = known.static.astype(np.float32), known.categories
        kept = panel.tail(lookback + forecaster.horizon_ * follows)
        self._values = kept.values.values.reshape(len(ids), -1).copy()
        self._rows = kept.known.rows.values.reshape(*self._values.shape, -1).copy()
        keys = np.array([_key(one) for one in ids], dtype=np.int64)
        nothing = np.zeros_like(keys)
        waiting = nothing if intervals is None else intervals.waiting
        self._place = np.stack([to_integers(panel.last), nothing, keys, waiting], axis=1)
        self._factor = np.ones((len(ids), 0)) if intervals is None else intervals.factor.copy()
        self._numbers = {key: number for number, key in enumerate(keys.tolist())}

    @property
    def ids(self) -> list[Any]:
        return list(self._readings.numbers)

    @property
    def columns(self) -> tuple[str, ...]:
        return self._readings.covariates.past + self._readings.covariates.future

    @property
    def implementation(self) -> str:
        return "program" if isinstance(self._network, WindowProgram) else "keras"

    def __repr__(self) -> str:
        rows = f"{len(self.ids)} series, {self._forecaster.lookback_} rows each"
        return f"ForecastStepper({rows}, network by {self.implementation})"

    def update(self, values: Any, *, ids: Any = None, covariates: Any = None) -> None:
        """Takes the next observation of some series.

        Args:
            values: the targets, by id, or `(series,)`; NaN for a missing one, if the forecaster was
                fitted with missing targets.
            ids: of an array: which series, in order. None: all.
            covariates: for each of `columns` the values of this timestep: by id, `(series,)`, or
                one for all.

        Raises:
            ArgumentError: a form or a shape that does not fit.
            DataError: a series that is not known, or a value that cannot be used. Nothing is taken.
        """
        self._take(*self._read(values, ids, covariates)[1:])

    def predict(self, *, ids: Any = None, future: Any = None) -> Forecasts:
        """Forecasts from where series stand.

        Args:
            ids: which series, in order; None: all.
            future: for each future covariate its values over the horizon: by id,
                `(series, horizon)`, or `(horizon,)` for all.

        Returns:
            `yhat`, and `yhat-lo-80`, `yhat-hi-80` ... as in the frame of `Forecaster.predict`, each
            `(series, horizon)`.

        Raises:
            ArgumentError, DataError: as `update`.
        """
        named = self._readings.ids(ids)
        series = self._readings.series(named)
        return self._forecast(series, self._read_ahead(future, named))

    def step(
        self, values: Any, *, ids: Any = None, covariates: Any = None, future: Any = None
    ) -> Forecasts:
        """`update`, and then `predict` of the same series; if one refuses, nothing is taken.

        Args:
            values, ids, covariates: as for `update`.
            future: as for `predict`, of the horizon behind the new observation.
        """
        named, series, targets, rows = self._read(values, ids, covariates)
        ahead = self._read_ahead(future, named)
        self._take(series, targets, rows)
        return self._forecast(series, ahead)

    def stamps(self, ids: Any = None) -> "pd.Index":
        """The stamp of the last observation of each series; a forecast begins one step later."""
        place = self._place[self._readings.series(self._readings.ids(ids))]
        return self._clock.timestamps(place[:, BEGIN], place[:, COUNT])

    def state(self, ids: Any = None) -> State:
        """The state of some series, as arrays of their own.

        Returns:
            A tuple: targets `(series, rows)` and covariates `(series, rows, features)`, where rows
            are a lookback, and with adaptive intervals a horizon before it; `(series, 4)` integers,
            which say where in time a series stands, and whose state it is; and how many times as
            wide its intervals are, `(series, levels)`.
        """
        series = self._readings.series(self._readings.ids(ids))
        return tuple(one[series] for one in self._arrays)

    def restore(self, state: State) -> None:
        """Puts series back to a state; others stay as they are.

        Args:
            state: of `state` or `unpack_state`, here or of another stepper of such a forecaster.

        Raises:
            ArgumentError: arrays of another kind.
            DataError: a state of a series that is not known.
        """
        place = self._checked(state)[2]
        unknown = [key for key in place[:, KEY].tolist() if key not in self._numbers]
        if unknown:
            raise DataError(
                f"{len(unknown)} of {len(place)} states are of series that are not among the "
                f"{len(self._numbers)} that were fitted."
            )
        series = np.array([self._numbers[key] for key in place[:, KEY].tolist()])
        self._put(series, state)

    def pack_state(self, state: State) -> bytes:
        """A state as bytes, for a file, a database or another process."""
        return pack(self._checked(state), self._fingerprint, len(state[0]))

    def unpack_state(self, data: bytes) -> State:
        """The state that `pack_state` packed.

        Raises:
            FileFormatError: the bytes are damaged, of a later version, or of a forecaster with
                other covariates or words of them, lookback, horizon, levels, frequency or kind of
                stamps; or of whose intervals, or missing targets, the same does not hold.
        """
        fix = (
            "These must be as they were where the state was made: covariates and their words, "
            "lookback, horizon, levels, whether intervals follow the series, frequency and dtype "
            "of the stamps, and whether targets may be missing."
        )
        shapes = [(one.shape[1:], one.dtype) for one in self._arrays]
        return unpack(data, shapes, self._fingerprint, "this one", kind="forecaster", fix=fix)

    @property
    def _arrays(self) -> State:
        return self._values, self._rows, self._place, self._factor

    @property
    def _fingerprint(self) -> str:
        """Of what a state means."""
        fitted, panel = self._forecaster, self._forecaster.panel_
        intervals = fitted.intervals_
        kind = None
        if intervals is not None:
            kind = [float(level) for level in intervals.levels], intervals.follows
        means = [
            fitted.lookback_, fitted.horizon_, kind, self._readings.masked,
            asdict(panel.covariates), asdict(panel.calendar), self._clock.dtype,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(means, default=str).encode()).hexdigest()

    def _checked(self, state: Any) -> State:
        wanted = [(one.shape[1:], one.dtype) for one in self._arrays]
        parts = state if isinstance(state, tuple) else ()
        got = [(np.shape(one)[1:], getattr(one, "dtype", None)) for one in parts]
        if got != wanted or len({len(one) for one in parts}) > 1:
            expected = f"a tuple of arrays (series, ...) of {wanted}"
            raise bad_argument("state", got, expected, "Take it from state or unpack_state.")
        values, rows, place, factor = parts
        known = np.isfinite(values) | (np.isnan(values) & self._readings.masked)
        usable = np.isfinite(factor) & (factor > 0)
        if not (known.all() and np.isfinite(rows).all() and usable.all()):
            raise bad_argument("state", "numbers that are not finite", "a state of this stepper")
        if not np.isin(place[:, WAITING], np.arange(self._forecaster.horizon_)).all():
            raise bad_argument("state", "counts out of range", "a state of this stepper")
        return state

    def _read(self, values: Any, ids: Any, covariates: Any) -> tuple[list[Any], Any, Any, Any]:
        """Ids, series, targets and rows of covariates of an observation."""
        named, targets = self._readings.targets(values, ids)
        return named, self._readings.series(named), targets, self._readings.rows(covariates, named)

    def _read_ahead(self, future: Any, ids: list[Any]) -> npt.NDArray[np.float64]:
        return self._readings.ahead(future, ids, self._forecaster.horizon_)

    def _take(self, series: Any, targets: Any, rows: Any) -> None:
        rows = np.concatenate([rows[:, np.newaxis], self._calendar_after(series, 1)], axis=-1)
        values = np.concatenate([self._values[series, 1:], targets[:, np.newaxis]], axis=1)
        rows = np.concatenate([self._rows[series, 1:], rows], axis=1)
        place, factor = self._place[series], self._factor[series]
        place[:, COUNT] += 1
        intervals = self._forecaster.intervals_
        if intervals is not None and intervals.follows:
            place[:, WAITING] += 1
            due = np.flatnonzero(place[:, WAITING] == self._forecaster.horizon_)
            before = replace(intervals, factor=factor[due])
            factor[due] = self._followed(before, series[due], values[due], rows[due])
            place[due, WAITING] = 0
        self._put(series, (values, rows, place, factor))  # at last: the network may have raised

    def _put(self, series: Any, state: State) -> None:
        for mine, one in zip(self._arrays, state, strict=True):
            mine[series] = one

    def _followed(self, before: ConformalIntervals, series: Any, values: Any, rows: Any) -> Any:
        """How wide intervals are after a forecast one horizon ago, as `Forecaster.update` does."""
        if not len(series):
            return before.factor
        fitted, first = self._forecaster, self._forecaster.lookback_
        ahead = rows[:, first:, rows.shape[2] - fitted.panel_.covariates.future_width :]
        outlook = self._look(series, values[:, :first], rows[:, :first], ahead)
        errors = outlook.in_widths(values[:, first:] - outlook.point)
        return before.follow(errors, np.arange(len(series)))[0].factor

    def _forecast(self, series: Any, ahead: npt.NDArray[np.float64]) -> Forecasts:
        fitted, lookback = self._forecaster, self._forecaster.lookback_
        values, rows = self._values[series, -lookback:], self._rows[series, -lookback:]
        ahead = np.concatenate([ahead, self._calendar_after(series, fitted.horizon_)], axis=-1)
        return fitted._answers(self._look(series, values, rows, ahead), self._factor[series])

    def _look(self, series: Any, values: Any, rows: Any, ahead: Any) -> Outlook:
        """What the network sees behind a lookback of rows."""
        fitted = self._forecaster
        scaler = fitted.scaler_.take(series)
        known = self._static[series], self._categories[series]
        context = fitted.inputs_.assemble(scaler.transform_batch(values), rows, ahead, *known)
        found = look_ahead(self._network, fitted.head_, context, fitted.horizon_)
        return found.unscaled(scaler)

    def _calendar_after(self, series: Any, steps: int) -> npt.NDArray[np.float64]:
        place = self._place[series]
        return self._clock.features(place[:, BEGIN], place[:, COUNT], steps)


def _key(identity: Any) -> int:
    """A number that tells the series of an id from others."""
    text = f"{type(identity).__name__}:{identity!r}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)

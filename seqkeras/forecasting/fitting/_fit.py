"""One fit: rows are held out, a network is trained and measured by them, and goes on with all."""

import math
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.errors import DataError
from seqkeras.forecasting.fitted._intervals import ConformalIntervals, check_enough, needed
from seqkeras.forecasting.fitting._feedback import Feedback
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._build import (
    Builder,
    build_network,
    default_batch_size,
    default_lookback,
    network_sizes,
)
from seqkeras.forecasting.networks._ensemble import averaged, members_of
from seqkeras.forecasting.networks._inputs import (
    CovariateScaler,
    NetworkInputs,
    check_counts,
    pairs,
    scaler_for,
)
from seqkeras.forecasting.networks._predict import NetworkForecast, look_ahead
from seqkeras.likelihoods import Likelihood, resolve_likelihood
from seqkeras.training._early_stopping import (
    MOST_JUDGED,
    MOST_MEASURED,
    Judged,
    TrainingLog,
    train,
)
from seqkeras.windows import StandardScaler, Windows, WindowSpec

if TYPE_CHECKING:
    from seqkeras.forecasting._forecaster import Forecaster

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """What a fit found: the attributes of `Forecaster`, without their underscore."""

    model: keras.Model
    horizon: int
    lookback: int
    season_length: int
    logs: tuple[TrainingLog, ...]
    head: Likelihood | None
    intervals: ConformalIntervals | None
    scaler: StandardScaler
    inputs: NetworkInputs
    panel: Panel


@dataclass(frozen=True)
class Fitting:
    """A fit that was checked, and can be run.

    Attributes:
        parameters: those of the forecaster, which were checked; nothing else of it is read.
        panel: the series, each long enough.
        lookback: timesteps that a forecast reads.
        season_length: timesteps of one season, at most the lookback.
        head: what the network learns beside the point.
        held_out: `(series,)`, rows at the end of each that the first training does not see.
    """

    parameters: "Forecaster"
    panel: Panel
    lookback: int
    season_length: int
    head: Likelihood | None
    held_out: Integers

    @classmethod
    def of(cls, parameters: "Forecaster", panel: Panel) -> "Fitting":
        """Settles what depends on the series.

        Raises:
            ArgumentError: the season is longer than the lookback.
            DataError: series are too short, or have other targets than the head is of.
        """
        horizon, short_series = parameters.horizon, parameters.short_series
        lookback, season = _window(parameters, panel)
        panel = panel.long_enough(
            lookback + horizon,
            why=f"lookback {lookback} + horizon {horizon}",
            short_series=short_series,
        ).with_recent(lookback, short_series=short_series)
        head = resolve_likelihood(parameters.head)
        check_counts(panel, head)
        return cls(
            parameters, panel, lookback, season, head, _hold_out(parameters, panel, lookback)
        )

    def run(self) -> Fitted:
        """Trains until the held-out windows are forecast best, and goes on with all rows.

        Raises:
            ArgumentError: the model is none that can be trained.
            DataError: too little is known of the held-out rows, or training diverged.
        """
        lengths = self.panel.values.lengths
        series = self._scaled(self.panel)
        past = self._scaled(self.panel.select(0, lengths - self.held_out))
        with _seeded(self.parameters.seed) as seed:
            members = self._members(seed)
            network = averaged([one.feedback.network for one in members])
            held_out = self._recent(past) if self.held_out.any() else None
            logs = [self._train(one, past, held_out, "fit") for one in members]
            errors, numbers = self._errors(network, past)
            for member, log in zip(members, logs, strict=True) if held_out else ():
                self._go_on(member, log, series)
            intervals = self._intervals(errors, numbers, network, series)
        return Fitted(
            model=network,
            horizon=int(self.parameters.horizon),
            lookback=self.lookback,
            season_length=self.season_length,
            logs=tuple(logs),
            head=self.head,
            intervals=intervals,
            scaler=series.scaler,
            inputs=series.inputs,
            panel=self._kept(intervals),
        )

    def _kept(self, intervals: ConformalIntervals | None) -> Panel:
        """The newest lookback, and what intervals that follow the series look back on."""
        follows = intervals is not None and intervals.follows
        return self.panel.tail(self.lookback + int(self.parameters.horizon) * follows)

    def _members(self, seed: int) -> "list[_Member]":
        """All networks, before any is trained: what cannot work is refused now."""
        models = list(enumerate(members_of(self.parameters.model)))
        # The first one is built last: Keras goes on from there, as if it were alone.
        return [self._member(one, (seed + n) % 2**32) for n, one in reversed(models)][::-1]

    def _member(self, model: Any, seed: int) -> "_Member":
        keras.utils.set_random_seed(seed)
        forcing, horizon = self.parameters.teacher_forcing, int(self.parameters.horizon)
        feedback = Feedback(self._network(model), horizon, forcing, self.head)
        return _Member(feedback, seed)

    def _network(self, model: "str | Builder | keras.Model") -> keras.Model:
        covariates, masked = self.panel.covariates, self.panel.has_missing
        outputs = 1 if self.head is None else self.head.outputs
        return build_network(
            model,
            network_sizes(
                covariates,
                lookback=int(self.lookback),
                horizon=int(self.parameters.horizon),
                season_length=self.season_length,
                masked=masked,
                outputs=outputs,
            ),
            units=self.parameters.units,
            cell=self.parameters.cell,
            normalization=self.parameters.normalization,
            counts=self.head is not None and self.head.counts,
        )

    def _scaled(self, panel: Panel) -> "_Scaled":
        """Rows of the series, with scalers that have seen no others."""
        scaler, covariates = scaler_for(panel.values, self.head), CovariateScaler.fit(panel)
        inputs = NetworkInputs(covariates, self.season_length, self.panel.has_missing)
        return _Scaled(panel, scaler, inputs, self.lookback)

    def _go_on(self, member: "_Member", log: TrainingLog, series: "_Scaled") -> None:
        """Trains on with all rows, the held-out ones too, in the scale of them all."""
        rates = _falling(log)
        if rates:
            self._train(member, series, None, "all rows", rates, first_epoch=log.best_epoch)

    def _errors(self, network: keras.Model, past: "_Scaled") -> tuple[Floats, Integers]:
        """The errors on the held-out rows, `(windows, horizon)`, in their units, and whose.

        That is the number of the series of each window, `(windows,)`.
        """
        horizon = int(self.parameters.horizon)
        if not self.parameters.levels:
            return np.empty((0, horizon)), np.empty(0, np.int64)
        judged = self._judged(network, past)
        errors = [y - look_ahead(network, self.head, x, horizon).point for x, y in pairs(judged)]
        numbers = _series_of(self.held_out, horizon)[judged.chosen]
        return np.concatenate(errors) * past.scales(numbers), numbers

    def _intervals(
        self, errors: Floats, numbers: Integers, network: keras.Model, series: "_Scaled"
    ) -> ConformalIntervals | None:
        """How wide intervals are, in units of the network and the scaler that will forecast.

        The errors are those of the network that had not seen these rows. Of the other one, trained
        on them too, only the widths are taken, which are those that intervals will be made of.
        """
        if not self.parameters.levels:
            return None
        errors = errors / series.scales(numbers)
        if self.head is not None:
            windows, horizon = self._judged(network, series), int(self.parameters.horizon)
            found = [look_ahead(network, self.head, x, horizon) for x, _ in pairs(windows)]
            errors = NetworkForecast.concatenate(found).in_widths(errors)
        levels, count = tuple(self.parameters.levels), len(self.panel.ids)
        intervals = ConformalIntervals.fit(errors, levels=levels, series=count)
        if self.parameters.intervals != "per_series":
            return replace(intervals, follows=self.parameters.intervals == "adaptive")
        return intervals.per_series(errors, numbers)

    def _recent(self, series: "_Scaled") -> "_Scaled":
        """Rows whose windows have held-out targets; inputs may reach back into the past."""
        lengths = self.panel.values.lengths
        first = np.where(self.held_out > 0, lengths - self.held_out - self.lookback, lengths)
        return replace(series, panel=self.panel.select(first, lengths))

    def _judged(self, network: keras.Model, series: "_Scaled") -> Judged:
        """The windows whose whole horizon is held out, that intervals are measured on.

        Of very many some are enough, but for widths of each series.
        """
        horizon = int(self.parameters.horizon)
        windows = self._recent(series).windows(horizon, batch_size=1024)
        if self.parameters.intervals == "per_series":
            return Judged(windows, windows.count)
        fed_back = network.output_shape[1] < horizon
        return Judged(windows, MOST_MEASURED if fed_back else MOST_JUDGED)

    def _train(
        self,
        member: "_Member",
        series: "_Scaled",
        held_out: "_Scaled | None",
        label: str,
        rates: tuple[float, ...] = (),
        first_epoch: int = 0,
    ) -> TrainingLog:
        """Trains with these rates, epoch by epoch, behind other epochs; or as long as it helps."""
        feedback, seed = member.feedback, member.seed
        steps, truth, free = feedback.steps, feedback.runs_free, feedback.is_judged_free
        batch_size = self.parameters.batch_size or default_batch_size(series.count(steps))
        ahead = feedback.horizon if free else steps
        return train(
            series.inputs.to_train(feedback.model()),
            series.windows(
                steps, read_targets=truth, batch_size=batch_size, shuffle=True, seed=seed
            ),
            None if held_out is None else held_out.windows(ahead, batch_size=1024),
            epochs=len(rates) or self.parameters.epochs,
            patience=self.parameters.patience,
            learning_rate=rates or float(self.parameters.learning_rate),
            progress=label if self.parameters.progress else None,
            loss=self.head,
            measure=feedback.error if free else None,
            callbacks=feedback.callbacks(),
            first_epoch=first_epoch,
        )


@dataclass(frozen=True)
class _Member:
    """A network of an ensemble, or the only one."""

    feedback: Feedback
    seed: int


@dataclass(frozen=True)
class _Scaled:
    """Series, and how they become what a network reads."""

    panel: Panel
    scaler: StandardScaler
    inputs: NetworkInputs
    lookback: int

    def windows(self, steps: int, **options: Any) -> Windows:
        return self.inputs.windows(self.panel, self.scaler, self.lookback, steps, **options)

    def scales(self, numbers: Integers) -> Floats:
        """The scale of each of these series, `(series, 1)`."""
        return self.scaler.scale_[numbers][:, np.newaxis]

    def count(self, steps: int) -> int:
        """How many windows there are."""
        return int(WindowSpec(self.lookback, horizon=steps).counts(self.panel.values.lengths).sum())


def _falling(log: TrainingLog) -> tuple[float, ...]:
    """Learning rates of a training that goes on, half as long, in even steps towards none.

    The first training stopped in a lucky moment. This one has nothing to find one by, and needs
    none if its last steps are small.
    """
    epochs = math.ceil(log.best_epoch / 2)
    return tuple(
        log.learning_rate[log.best_epoch - 1] * (epochs - n) / (epochs + 1) for n in range(epochs)
    )


def known_targets(panel: Panel, held_out: Integers, horizon: int) -> int:
    """Targets that are not missing, over all windows whose whole horizon is held out."""
    if not panel.has_missing:
        return len(_series_of(held_out, horizon)) * horizon
    lengths = panel.values.lengths
    known = ~np.isnan(panel.values.select(lengths - held_out, lengths).values)
    last = np.repeat(held_out - horizon, held_out)  # where the last window of a series begins
    row = np.arange(len(known)) - np.repeat(np.cumsum(held_out) - held_out, held_out)
    windows = np.minimum(row, last) - np.maximum(row - horizon + 1, 0) + 1
    return int(windows[known].sum())


def _window(parameters: "Forecaster", panel: Panel) -> tuple[int, int]:
    """Lookback and season length for these series."""
    season = parameters.season_length or panel.calendar.season_length
    lengths = panel.values.lengths
    held_out = _least_held_out(parameters, len(lengths)) if parameters.validation else 0
    room = int(np.median(lengths)) - parameters.horizon - held_out
    lookback = parameters.lookback or default_lookback(parameters.horizon, season, room)
    if season > lookback and parameters.season_length is not None:
        raise bad_argument("season_length", season, f"at most the lookback, {lookback}")
    return lookback, season if season <= lookback else 1


def _hold_out(parameters: "Forecaster", panel: Panel, lookback: int) -> Integers:
    """Rows at the end of each series that the first training does not see; 0 for none."""
    horizon, lengths = parameters.horizon, panel.values.lengths
    if not parameters.validation:
        return np.zeros_like(lengths)
    least = _least_held_out(parameters, int(np.sum(lengths >= lookback + 2 * horizon)))
    rows = np.maximum(least, (parameters.validation * lengths).astype(np.int64))
    rows = np.minimum(rows, np.maximum(least, lengths - lookback - horizon))
    enough = lengths - rows >= lookback + horizon
    if not enough.any():
        longest = int(np.argmax(lengths))
        must = lookback + horizon + least
        raise DataError(
            f"{panel.name(longest)} is the longest, with {lengths[longest]} rows, and must "
            f"have {must} to hold out {least} (lookback {lookback} + horizon {horizon} + "
            f"held out {least}). Use a smaller lookback or horizon, or validation=0 with "
            "levels=()."
        )
    rows = np.where(enough, rows, 0)
    # What was constant before has no scale of its own to measure errors by.
    varied = enough & (panel.values.select(0, lengths - rows).spread() > 0)
    rows = np.where(varied, rows, 0) if varied.any() else rows
    known = known_targets(panel, rows, horizon)
    if not known:
        raise DataError(
            f"All {rows.sum()} held-out targets are missing: nothing says which weights are best. "
            "Hold out more rows with validation=..., or use validation=0 with levels=()."
        )
    check_enough(known, tuple(parameters.levels))
    return rows


def _least_held_out(parameters: "Forecaster", series: int) -> int:
    """Rows to hold out at least, so that the highest level has the residuals that it needs."""
    windows = -(-needed(tuple(parameters.levels)) // (parameters.horizon * max(1, series)))
    return int(parameters.horizon + max(1, windows) - 1)


def _series_of(held_out: Integers, horizon: int) -> Integers:
    """The number of the series of each window whose whole horizon is held out."""
    windows = np.where(held_out > 0, held_out - horizon + 1, 0)
    return np.repeat(np.arange(len(held_out)), windows)


@contextmanager
def _seeded(seed: int | None) -> Iterator[int]:
    """Fixes what Keras draws from, and gives Python's and NumPy's global numbers back as found."""
    seed = secrets.randbelow(2**31) if seed is None else int(seed)
    python, numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield seed
    finally:
        random.setstate(python)
        np.random.set_state(numpy)

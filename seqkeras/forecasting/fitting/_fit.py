"""Fit: train on the past of each series, calibrate on held-out rows, continue on all rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seqkeras._arrays import DOUBLE_ROUNDING, Floats, Integers, is_constant
from seqkeras._checks import bad_argument
from seqkeras._warnings import warn
from seqkeras.errors import LostChangesWarning, ShortSeriesWarning
from seqkeras.forecasting._settings import Settings
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._intervals import ConformalIntervals
from seqkeras.forecasting.fitting._feedback import Feedback
from seqkeras.forecasting.fitting._split import (
    check_longest,
    choose_lookback,
    hold_out,
    series_of_windows,
)
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._build import build_network, default_batch_size, network_sizes
from seqkeras.forecasting.networks._covariate_scaler import CovariateScaler
from seqkeras.forecasting.networks._ensemble import averaged, members_of, mixed_with
from seqkeras.forecasting.networks._inputs import (
    NetworkInputs,
    check_counts,
    pairs,
)
from seqkeras.forecasting.networks._linear_expert import LinearExpert
from seqkeras.forecasting.networks._mixture import MixedPredictor, Mixture
from seqkeras.forecasting.networks._predict import BatchPredictor, NetworkForecast, look_ahead
from seqkeras.forecasting.networks._units import scaler_for
from seqkeras.kernels._randomness import seeded
from seqkeras.models._window import NetworkSizes
from seqkeras.training._backup import remove, stored_run
from seqkeras.training._distribution import common_seed
from seqkeras.training._early_stopping import (
    MOST_JUDGED,
    MOST_MEASURED,
    Interrupted,
    Judged,
    TrainingLog,
    train,
)
from seqkeras.training._progress import say
from seqkeras.windows import StandardScaler, Windows, WindowSpec

#: Batch size for windows that are only evaluated.
JUDGED_BATCH = 1024
#: With fewer held-out horizons than this, intervals are also calibrated on the rows before them.
_FEW_HORIZONS = 30
#: How much of a held-out horizon a horizon before the held-out rows is worth: its errors are those
#: of the linear expert alone, and older.
_EARLIER_WORTH = 0.5
#: Share of a time limit after which the first stage of training stops. The second stage has half as
#: many epochs, without forecasts of held-out rows.
FIRST_STAGE = 2 / 3


@dataclass(frozen=True)
class Fitting:
    """A fit whose arguments are checked, ready to run.

    Attributes:
        settings: parameters of the forecaster.
        panel: the series; not all of them need to be long enough to train on.
        lookback: timesteps that a forecast reads.
        season_length: timesteps of one season, at most the lookback.
        held_out: `(series,)`, number of rows at the end of each series that the first stage of
            training does not see.
        short_series: how series that are too short were handled, as in `Columns`.
    """

    settings: Settings
    panel: Panel
    lookback: int
    season_length: int
    held_out: Integers
    short_series: str

    @classmethod
    def of(cls, settings: Settings, panel: Panel, short_series: str) -> "Fitting":
        """Choose the lookback, the season length and the held-out rows for these series.

        Raises:
            ArgumentError: the `season_length` in the settings is longer than the lookback.
            DataError: series are too short, or targets are not counts, as the likelihood requires.
        """
        horizon = settings.horizon
        lookback, season_length = choose_lookback(settings, panel)
        check_longest(settings, panel, lookback)
        if short_series != "pad":
            why = f"lookback {lookback} + horizon {horizon}"
            panel = panel.long_enough(lookback + horizon, why=why, short_series=short_series)
        panel = panel.with_recent(lookback, short_series=short_series)
        check_counts(panel, settings.likelihood)
        if not settings.counts:
            _warn_of_lost_changes(panel)
        held_out = hold_out(settings, panel, lookback)
        _warn_of_short(panel, lookback, horizon)
        return cls(settings, panel, lookback, season_length, held_out, short_series)

    def run(self, backup: Path | None = None) -> Fitted:
        """Train until forecasts of the held-out windows stop improving, then continue on all rows.

        Args:
            backup: backup file of the first stage of training; later stages add a number to its
                name. All are removed once the fit is complete. Default: no backups.

        Raises:
            ArgumentError: the model cannot be trained, or the backup belongs to another fit.
            DataError: too few held-out targets are known, or training diverged.
            FileFormatError: the backup is damaged.
            Interrupted: Ctrl-C after the first epoch. The result is the `Fitted` so far.
        """
        self._say_what_is_assumed()
        series, past = self._scaled(self.panel), self._past()
        with seeded(self._seed(backup)) as seed:
            members = self._members(seed)
            network = self._averaged(members)
            has_expert = self._has_expert(network)
            held_out = self._recent(past) if self.held_out.any() else None
            stages = _Stages(backup, self.settings.training.distributed)
            for member in members:
                stages.run(self._train, member, past, held_out, "fit")
            logs = tuple(stages.logs)
            if len(logs) < len(members):
                members = members[: len(logs)]
                network = self._averaged(members)
            self._say_what_was_learned(logs)
            mixed = self._mix(network, past) if has_expert else None
            errors, earlier = self._errors(mixed or network, past), self._no_errors()
            if mixed is not None:
                errors = self._not_selected(errors, mixed.expert, past)
                earlier = self._earlier_errors()
            if held_out is not None:
                for member, log in zip(members, logs, strict=True):
                    self._continue_on_all_rows(stages, member, log, series)
            if mixed is not None:
                network = self._mixed_network(members, mixed.mixture, series)
            intervals = self._intervals(errors, earlier, network, series)
        fitted = self._fitted(network, series, intervals)
        fitted = replace(fitted, logs=logs, mixture=mixed.mixture if mixed is not None else None)
        if stages.interrupted:
            raise Interrupted(fitted)
        stages.remove()
        return fitted

    def run_linear(self) -> Fitted:
        """Fit the linear expert without a network, which takes milliseconds."""
        series, past = self._scaled(self.panel), self._past()
        errors, earlier = self._errors(self._expert(past), past), self._earlier_errors()
        network = self._expert(series).network(self._sizes())
        intervals = self._intervals(errors, earlier, network, series)
        return self._fitted(network, series, intervals)

    def _past(self) -> "_Scaled":
        """Return the rows before the held-out ones."""
        lengths = self.panel.values.lengths
        return self._scaled(self.panel.select(0, lengths - self.held_out))

    def _fitted(
        self, network: keras.Model, series: "_Scaled", intervals: ConformalIntervals | None
    ) -> Fitted:
        return Fitted(
            model=network,
            horizon=self.settings.horizon,
            lookback=self.lookback,
            season_length=self.season_length,
            logs=(),
            mixture=None,
            likelihood=self.settings.likelihood,
            intervals=intervals,
            scaler=series.scaler,
            inputs=series.inputs,
            panel=self._rows_to_keep(intervals),
            short_series=self.short_series,
        )

    def _seed(self, backup: Path | None) -> int | None:
        """Return the seed in the settings, or else the seed of the fit to resume.

        Where several processes train together, they all get the seed of the first one.
        """
        seed = self.settings.seed
        if seed is None and backup is not None:
            seed = stored_run(backup).get("seed")
        return common_seed(seed, self.settings.training.distributed)

    def _rows_to_keep(self, intervals: ConformalIntervals | None) -> Panel:
        """Return the newest lookback of rows; adaptive intervals need one horizon more."""
        if intervals is not None and intervals.follows:
            return self.panel.newest(self.lookback + self.settings.horizon)
        return self.panel.newest(self.lookback)

    def _members(self, seed: int) -> "list[_Member]":
        """Build all networks before training any, so that invalid ones raise early."""
        architectures = members_of(self.settings.network.architecture)
        members = [
            self._member(architectures[number], (seed + number) % 2**32)
            # Build the first network last: Keras' random state is then as without an ensemble.
            for number in reversed(range(len(architectures)))
        ]
        return members[::-1]

    @staticmethod
    def _averaged(members: "list[_Member]") -> keras.Model:
        return averaged([member.feedback.network for member in members])

    def _say_what_is_assumed(self) -> None:
        """Say, where progress is shown, that the season of the calendar was not found."""
        season = self.panel.calendar.season_length
        is_chosen = self.settings.season_length is None and season <= self.lookback
        if self.settings.training.progress and is_chosen and self.season_length < season:
            say(
                f"fit: the series do not repeat after {season} timesteps, so no season is assumed; "
                f"season_length={season} assumes it."
            )

    def _say_what_was_learned(self, logs: tuple[TrainingLog, ...]) -> None:
        """Say, where progress is shown, that no epoch was better than the untrained network."""
        if self.settings.training.progress and all(log.best_epoch == 0 for log in logs):
            say(
                "fit: no epoch forecast the held-out rows better than the untrained network, which "
                "is used; that of a named architecture is the seasonal naive forecast."
            )

    def _has_expert(self, network: keras.Model) -> bool:
        """Return whether the linear expert is mixed with a network.

        Raises:
            ArgumentError: it was requested, but the network does not forecast the whole horizon.
        """
        steps = network.output_shape[1]
        if steps == self.settings.horizon:
            return self.settings.wants_linear_expert
        if self.settings.network.linear_expert:
            fix = f"This network forecasts {steps} of {self.settings.horizon} steps."
            expected = "False or None, except with a network that forecasts the whole horizon"
            raise bad_argument("linear_expert", True, expected, fix)
        return False

    def _mix(self, network: keras.Model, past: "_Scaled") -> MixedPredictor:
        """Fit the linear expert to the past, and mix it with the trained network."""
        judged = self._judged(network, past)
        return MixedPredictor.of(network, self._expert(past), judged, self._held_out_horizons)

    @property
    def _held_out_horizons(self) -> float:
        """Return how many horizons are held out, over all series."""
        return float(self.held_out.sum() / self.settings.horizon)

    def _mixed_network(
        self, members: "list[_Member]", mixture: Mixture, series: "_Scaled"
    ) -> keras.Model:
        """Fit the linear expert to all rows, and return one network of it and the others."""
        networks = [member.feedback.network for member in members]
        return mixed_with(networks, self._expert(series).model(self._sizes()), mixture.expert_share)

    def _expert(self, series: "_Scaled") -> LinearExpert:
        """Fit the linear expert."""
        windows = series.windows(self.settings.horizon, batch_size=JUDGED_BATCH)
        return LinearExpert.fit(windows, self.season_length)

    def _member(self, architecture: Any, seed: int) -> "_Member":
        keras.utils.set_random_seed(seed)
        settings = self.settings
        network = self._network(architecture)
        forcing = settings.training.teacher_forcing
        feedback = Feedback(network, settings.horizon, forcing, settings.likelihood)
        return _Member(feedback, self._to_train(feedback.model()), seed)

    def _to_train(self, network: keras.Model) -> keras.Model:
        """Return the network with the output shape for training.

        Keras cannot weight single entries of the last axis. So where targets may be missing, the
        output `(batch, steps)` becomes `(batch, steps, 1)`.
        """
        if not self.panel.has_missing or len(network.output_shape) == 3:
            return network
        return keras.Model(network.input, keras.ops.expand_dims(network.output, -1))

    def _sizes(self) -> NetworkSizes:
        return network_sizes(
            self.panel.covariates,
            lookback=self.lookback,
            horizon=self.settings.horizon,
            season_length=self.season_length,
            masked=self.panel.has_missing,
            outputs=self.settings.outputs,
        )

    def _network(self, architecture: Any) -> keras.Model:
        settings = self.settings
        return build_network(
            architecture,
            self._sizes(),
            units=settings.network.units,
            cell=settings.network.cell,
            normalization=settings.network.normalization,
            counts=settings.counts,
        )

    def _scaled(self, panel: Panel) -> "_Scaled":
        """Return a panel with scalers that were fitted on its rows only.

        Series that are too short to train on have a scale, but no rows.
        """
        scaler = scaler_for(panel.values, self.settings.likelihood, self.season_length)
        covariates = CovariateScaler.fit(panel)
        inputs = NetworkInputs(covariates, self.season_length, self.panel.has_missing)
        lengths = panel.values.lengths
        is_short = lengths < self.lookback + self.settings.horizon
        if is_short.any():
            panel = panel.select(np.where(is_short, lengths, 0), lengths)
        return _Scaled(panel, scaler, inputs, self.lookback)

    def _continue_on_all_rows(
        self, stages: "_Stages", member: "_Member", log: TrainingLog, series: "_Scaled"
    ) -> None:
        """Continue training on all rows, including the held-out ones, scaled by all rows."""
        rates = falling_rates(log)
        if rates:
            stages.run(self._train, member, series, None, "all rows", rates, log.best_epoch)

    def _errors(self, network: BatchPredictor, past: "_Scaled") -> "_Errors":
        """Return the errors on held-out windows; none without intervals."""
        horizon = self.settings.horizon
        if not self.settings.levels:
            return self._no_errors()
        judged = self._judged(network, past)
        errors = [
            y - look_ahead(network, self.settings.likelihood, x, horizon).point
            for x, y in pairs(judged)
        ]
        numbers = series_of_windows(self.held_out, horizon)[judged.chosen]
        values = np.concatenate(errors) * past.scales(numbers)
        return _Errors(values, numbers, self._held_out_horizons)

    def _no_errors(self) -> "_Errors":
        return _Errors(np.empty((0, self.settings.horizon)), np.empty(0, np.int64), 0.0)

    def _not_selected(self, errors: "_Errors", expert: LinearExpert, past: "_Scaled") -> "_Errors":
        """Return errors of a mixture as large as if the held-out rows had not chosen its weights.

        The best epoch and the shares are those with the smallest errors on these rows, where the
        weights of the expert do not depend on them. With one held-out horizon, the mixture is taken
        to be no better than the expert; with more, the logarithm of its advantage is divided by
        their number.
        """
        horizons = self._held_out_horizons
        if horizons >= _FEW_HORIZONS or not len(errors.values):
            return errors
        scales = past.scales(errors.numbers)
        own, of_expert = (
            np.nanmean(np.abs(values / scales))
            for values in (errors.values, self._errors(expert, past).values)
        )
        if not own or own >= of_expert:
            return errors
        factor = (of_expert / own) ** (1 / max(1.0, horizons))
        return replace(errors, values=errors.values * factor)

    def _earlier_errors(self) -> "_Errors":
        """Return errors of the linear expert on as many rows before the held-out ones.

        It is fitted to the rows before those. The held-out horizons of a single series are few, and
        may be easy to forecast by chance. There are none without intervals, if enough horizons are
        held out, or if no series is long enough.
        """
        if self._held_out_horizons >= _FEW_HORIZONS or not self.settings.levels:
            return self._no_errors()
        lengths = self.panel.values.lengths - self.held_out
        before = self.panel.values.select(0, np.maximum(0, lengths - self.held_out))
        known = np.array([np.count_nonzero(~np.isnan(rows)) for rows in before])
        enough = known >= self.lookback + self.settings.horizon
        held_out = np.where(enough, self.held_out, 0)
        if not held_out.any():
            return self._no_errors()
        earlier = replace(self, panel=self.panel.select(0, lengths), held_out=held_out)
        past = earlier._past()
        errors = earlier._errors(earlier._expert(past), past)
        return replace(errors, horizons=_EARLIER_WORTH * errors.horizons)

    def _intervals(
        self, errors: "_Errors", earlier: "_Errors", network: keras.Model, series: "_Scaled"
    ) -> ConformalIntervals | None:
        """Calibrate the intervals in the units of the final network and its scaler.

        The errors are from before the network was trained on the held-out rows. With a likelihood
        they are divided by the widths that the final network predicts there, because the intervals
        of forecasts are multiples of such widths.
        """
        settings = self.settings
        if not settings.levels:
            return None
        values = errors.values / series.scales(errors.numbers)
        if settings.likelihood is not None:
            forecasts = [
                look_ahead(network, settings.likelihood, x, settings.horizon)
                for x, _ in pairs(self._judged(network, series))
            ]
            values = NetworkForecast.concatenate(forecasts).in_widths(values)
        intervals = ConformalIntervals.fit(
            np.concatenate([earlier.values / series.scales(earlier.numbers), values]),
            levels=settings.levels,
            series=len(self.panel.ids),
            horizons=errors.horizons + earlier.horizons,
        )
        if settings.intervals.method == "per_series":
            return intervals.per_series(values, errors.numbers)
        return replace(intervals, follows=settings.intervals.method == "adaptive")

    def _recent(self, series: "_Scaled") -> "_Scaled":
        """Return the held-out rows and the lookback before them, so that all targets are held out.

        Series without held-out rows become empty.
        """
        lengths = self.panel.values.lengths
        first = np.where(self.held_out > 0, lengths - self.held_out - self.lookback, lengths)
        return replace(series, panel=self.panel.select(first, lengths))

    def _judged(self, network: BatchPredictor, series: "_Scaled") -> Judged:
        """Return the windows whose whole horizon is held out, to calibrate the intervals on.

        A sample is enough, except for per-series widths.
        """
        horizon = self.settings.horizon
        windows = self._recent(series).windows(horizon, batch_size=JUDGED_BATCH)
        if self.settings.intervals.method == "per_series":
            return Judged(windows, windows.count)
        is_fed_back = network.output_shape[1] < horizon
        return Judged(windows, MOST_MEASURED if is_fed_back else MOST_JUDGED)

    def _train(
        self,
        member: "_Member",
        series: "_Scaled",
        held_out: "_Scaled | None",
        label: str,
        rates: tuple[float, ...] = (),
        first_epoch: int = 0,
        *,
        backup: Path | None = None,
    ) -> TrainingLog:
        """Train for one epoch per rate; without rates, until the held-out loss stops improving."""
        options = self.settings.training
        feedback = member.feedback
        judges_horizon = feedback.is_judged_on_horizon
        validation = None
        if held_out is not None:
            ahead = feedback.horizon if judges_horizon else feedback.steps
            validation = held_out.windows(ahead, batch_size=JUDGED_BATCH)
        windows = series.windows(
            feedback.steps,
            read_targets=feedback.trains_on_outputs,
            batch_size=options.batch_size or default_batch_size(series.count(feedback.steps)),
            shuffle=True,
            seed=member.seed,
        )
        return train(
            member.trained,
            windows,
            validation,
            epochs=len(rates) if rates else int(options.epochs),
            patience=int(options.patience),
            learning_rate=rates if rates else float(options.learning_rate),
            progress=label if options.progress else None,
            loss=self.settings.likelihood,
            measure=feedback.error if judges_horizon else None,
            callbacks=feedback.callbacks(),
            first_epoch=first_epoch,
            backup=backup,
            seconds=None if rates else self._seconds_of_member(),
            distributed=options.distributed,
        )

    def _seconds_of_member(self) -> float | None:
        """Return the time limit of the first stage of one network, or None."""
        options = self.settings.training
        if options.seconds is None:
            return None
        seconds = options.seconds / len(members_of(self.settings.network.architecture))
        return FIRST_STAGE * seconds if options.validation else seconds


class _Stages:
    """Runs the stages of training one after the other, each with its own backup.

    Attributes:
        logs: training logs of the stages so far.
        interrupted: whether a stage was interrupted; all later stages are skipped.
    """

    def __init__(self, backup: Path | None, distributed: bool) -> None:
        self.logs: list[TrainingLog] = []
        self.interrupted = False
        self._backup = backup
        self._distributed = distributed
        self._files: list[Path] = []

    def run(self, train_one: Callable[..., TrainingLog], *arguments: Any) -> None:
        """Run the next stage, unless an earlier one was interrupted."""
        if self.interrupted:
            return
        try:
            self.logs.append(train_one(*arguments, backup=self._next_file()))
        except Interrupted as interrupt:
            self.logs.append(interrupt.result)
            self.interrupted = True

    def remove(self) -> None:
        """Remove the backups."""
        for file in self._files:
            remove(file, self._distributed)

    def _next_file(self) -> Path | None:
        if self._backup is None:
            return None
        number = len(self._files) + 1
        name = self._backup.name if number == 1 else f"{self._backup.name}.{number}"
        self._files.append(self._backup.with_name(name))
        return self._files[-1]


@dataclass(frozen=True, eq=False)
class _Errors:
    """Errors of forecasts, to calibrate intervals on.

    Attributes:
        values: `(windows, horizon)`, in the units of the series.
        numbers: `(windows,)`, series index of each window.
        horizons: how many held-out horizons they are worth, over all series.
    """

    values: Floats
    numbers: Integers
    horizons: float


@dataclass(frozen=True)
class _Member:
    """A network of an ensemble, or the only network, and the model that trains its weights."""

    feedback: Feedback
    trained: keras.Model
    seed: int


@dataclass(frozen=True)
class _Scaled:
    """Series, and the scalers and sizes that turn them into network inputs."""

    panel: Panel
    scaler: StandardScaler
    inputs: NetworkInputs
    lookback: int

    def windows(self, steps: int, **options: Any) -> Windows:
        return self.inputs.windows(self.panel, self.scaler, self.lookback, steps, **options)

    def scales(self, numbers: Integers) -> Floats:
        """Return the scale of the series at each index in `numbers`, `(len(numbers), 1)`."""
        return self.scaler.scale_[numbers][:, np.newaxis]

    def count(self, steps: int) -> int:
        """Return the number of windows that predict `steps` timesteps."""
        return int(WindowSpec(self.lookback, horizon=steps).counts(self.panel.values.lengths).sum())


def _warn_of_short(panel: Panel, lookback: int, horizon: int) -> None:
    """Warn of series that are forecast, but too short to train on."""
    rows = lookback + horizon
    lengths = panel.values.lengths
    short = np.flatnonzero(lengths < rows)
    if not len(short):
        return
    padded = int((lengths < lookback).sum())
    padding = f" {padded} of them are padded to {lookback} rows." if padded else ""
    first = int(short[0])
    warn(
        f"{len(short)} of {len(lengths)} series have fewer than {rows} rows (lookback {lookback} "
        f"+ horizon {horizon}), such as {panel.label(first)} with {lengths[first]}. The network is "
        f"not trained on them, but forecasts them.{padding}",
        ShortSeriesWarning,
    )


def _warn_of_lost_changes(panel: Panel) -> None:
    """Warn of series that count as constant although they change."""
    lowest, highest = panel.values.extremes()
    level = np.maximum(np.abs(lowest), np.abs(highest))
    lost = np.flatnonzero(
        is_constant(lowest, highest) & (highest - lowest > DOUBLE_ROUNDING * level)
    )
    if not len(lost):
        return
    first = int(lost[0])
    warn(
        f"{panel.name(first)} changes by only {highest[first] - lowest[first]:.3g} at a level of "
        f"{level[first]:.8g}. Float32 cannot represent such changes, so the series counts as "
        f"constant ({len(lost)} such series in all). To forecast the changes, subtract the level "
        "from the targets.",
        LostChangesWarning,
    )


def falling_rates(log: TrainingLog) -> tuple[float, ...]:
    """Return the learning rates of the second stage: half as many epochs, falling to near zero.

    The first stage kept the weights of its best epoch. The second stage has no held-out rows to
    find such an epoch, and does not need to, because its last updates are small.
    """
    epochs = math.ceil(log.best_epoch / 2)
    rate = log.learning_rate[log.best_epoch - 1]
    return tuple(rate * (epochs - epoch) / (epochs + 1) for epoch in range(epochs))

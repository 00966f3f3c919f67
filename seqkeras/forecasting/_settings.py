"""The options of a forecaster, in objects that scikit-learn can clone and search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from sklearn.base import BaseEstimator

from seqkeras._checks import (
    bad_argument,
    check_flag,
    check_fraction,
    check_integer,
    check_one_of,
    check_positive,
    check_probability,
    check_seed,
    is_level,
)
from seqkeras.forecasting.networks._build import Builder
from seqkeras.forecasting.networks._ensemble import check_models, members_of
from seqkeras.layers import CELLS, NORMALIZATIONS
from seqkeras.likelihoods import Likelihood, resolve_likelihood

#: Ways to calibrate intervals, the values of `Intervals(method=...)`.
METHODS = ("adaptive", "per_series", "split")

#: Value of `Training(teacher_forcing=...)` for a probability that falls from epoch to epoch.
SCHEDULED = "scheduled"


class _Options(BaseEstimator):
    """Named options that compare equal if all values do; mutable, and so not hashable."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        pairs = zip(self._values(), other._values(), strict=True)
        return all(type(mine) is type(theirs) and mine == theirs for mine, theirs in pairs)

    def _values(self) -> list[Any]:
        """Return the values of all options, with lists as tuples so that the two compare equal."""
        values = self.get_params(deep=False).values()
        return [tuple(value) if isinstance(value, list) else value for value in values]


class Network(_Options):
    """The network of a forecaster.

    Args:
        architecture: `"multi_output"`: the whole horizon at once. `"recursive"`: one step, fed back
            as the next input. `"encoder_decoder"`: a second stack runs over the horizon.
            `"segment_rnn"`: each step reads or writes a whole segment, for long windows. Or a
            builder, called as `builder(1, lookback=..., horizon=...)`, or an uncompiled
            `keras.Model`, which is copied and trained from fresh weights. Both map
            `(batch, lookback, 1)` to `(batch, steps)`; if there are fewer steps than the horizon,
            outputs are fed back. With covariates or missing values they read more inputs, and with
            a likelihood they return more outputs, as the named architectures do. A list of
            architectures, such as `["segment_rnn"] * 3`, is an ensemble: its networks are trained
            one after the other, each with its own seed, and their outputs are averaged.
        units: width of the recurrent layers of a named architecture; a tuple is a stack. Default
            64.
        cell: cell of a named architecture: `"lstm"`, `"gru"` or `"simple_rnn"`. Default `"gru"`.
        normalization: how a named architecture normalizes each window: relative to its newest value
            (`"last"`), its mean absolute value (`"mean_scale"`), its mean and standard deviation
            (`"revin"`), or not at all (`"none"`). Default `"last"`, and `"mean_scale"` for counts.
        linear_expert: whether a second forecast is mixed with the network: a mean of simple
            forecasts that suit the window, and ridge regression on the lookback, fitted in closed
            form. The smaller its error on held-out rows, compared with that of the network, the
            larger is its share. It needs
            held-out rows and a network that forecasts the whole horizon, and cannot be combined
            with a likelihood. None, the default: wherever it can be, with named architectures.

    Example:
        >>> Network("segment_rnn", units=32)
        Network(architecture='segment_rnn', units=32)
    """

    def __init__(
        self,
        architecture: str | Builder | keras.Model | Sequence[Any] = "multi_output",
        *,
        units: int | tuple[int, ...] | None = None,
        cell: str | None = None,
        normalization: str | None = None,
        linear_expert: bool | None = None,
    ) -> None:
        self.architecture = architecture
        self.units = units
        self.cell = cell
        self.normalization = normalization
        self.linear_expert = linear_expert

    def check(self) -> None:
        """Check all options.

        Raises:
            ArgumentError: an option is invalid.
        """
        check_models(self.architecture)
        named = any(isinstance(member, str) for member in members_of(self.architecture))
        for name in ("units", "cell", "normalization"):
            value = getattr(self, name)
            if value is not None and not named:
                fix = "Set it in your builder; it only applies to the named architectures."
                raise bad_argument(name, value, "omitted for an architecture of your own", fix)
        if self.cell is not None:
            check_one_of("cell", self.cell, CELLS)
        if self.normalization is not None:
            check_one_of("normalization", self.normalization, NORMALIZATIONS)
        if self.linear_expert is not None:
            check_flag("linear_expert", self.linear_expert)


class Intervals(_Options):
    """The prediction intervals of a forecaster.

    Args:
        levels: nominal coverage in percent; `()` for no intervals. Default `(80, 95)`.
        method: how the widths are calibrated. `"split"`: on the errors on held-out rows, pooled
            over all series. `"per_series"`: on the errors of each series by itself, if it has
            enough of them. `"adaptive"`, the default: like `"split"` at first; after each horizon
            of newer rows the intervals of a series become wider or narrower, so that their long-run
            coverage converges to the nominal level.

    Example:
        >>> Intervals((50, 90), method="split")
        Intervals(levels=(50, 90), method='split')
    """

    def __init__(self, levels: tuple[float, ...] = (80, 95), *, method: str = "adaptive") -> None:
        self.levels = levels
        self.method = method

    def check(self) -> None:
        """Check all options.

        Raises:
            ArgumentError: an option is invalid.
        """
        check_levels(self.levels)
        check_one_of("method", self.method, METHODS)


class Training(_Options):
    """How the network of a forecaster is trained.

    Args:
        epochs: maximum number of epochs; an epoch is at most a hundred training steps. Default 300.
        patience: epochs without a better forecast of the held-out windows before training stops.
            Default 25.
        batch_size: windows in a training step. None: a hundredth of the windows, from 32 to 1024.
        learning_rate: initial rate of Adam. It falls to a third whenever a third of the patience
            has passed without a better forecast; with `validation=0` it is constant. Default 3e-3.
        validation: share of each series that is held out at its end: at least one horizon, and
            enough to calibrate the intervals. Series that would be too short to train on hold out
            less or nothing. 0: no series holds out rows, all epochs are run, and there can be no
            intervals. Default 0.2.
        teacher_forcing: for networks whose outputs are fed back, the probability that training
            feeds the true value instead. 1, the default, trains one step ahead; 0 trains over the
            whole horizon on the network's own outputs, which takes about `horizon` times as long;
            `"scheduled"` falls from 1 to 0 over the first ten epochs (scheduled sampling, Bengio et
            al. 2015, arXiv 1506.03099). With a likelihood it must be 1.
        seconds: time limit of a fit, for all its networks together. When two thirds of it have
            passed, training on the earlier rows stops, and the best weights until then are used;
            the rest is for the epochs on all rows. Compiling the network and forecasting the
            held-out rows come on top. With a limit, the speed of the machine decides about the
            result, so a seed does not repeat it. Default: no limit.
        progress: whether to show progress: as a bar on a terminal or in a notebook, otherwise as a
            line at the end of an epoch, at most every 10 seconds. Default True.
        distributed: train in all processes of `seqkeras launch`, which share the windows of each
            training step; see `seqkeras.training.fit_distributed`. Each process calls `fit` with
            the same frame, and gets the same forecaster. Not with `seconds`. Default False.

    Example:
        >>> Training(epochs=100, patience=10)
        Training(epochs=100, patience=10)
    """

    def __init__(
        self,
        *,
        epochs: int = 300,
        patience: int = 25,
        batch_size: int | None = None,
        learning_rate: float = 3e-3,
        validation: float = 0.2,
        teacher_forcing: float | str = 1.0,
        seconds: float | None = None,
        progress: bool = True,
        distributed: bool = False,
    ) -> None:
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation = validation
        self.teacher_forcing = teacher_forcing
        self.seconds = seconds
        self.progress = progress
        self.distributed = distributed

    def check(self) -> None:
        """Check all options.

        Raises:
            ArgumentError: an option is invalid.
        """
        check_integer("epochs", self.epochs)
        check_integer("patience", self.patience)
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size)
        check_positive("learning_rate", self.learning_rate)
        fix = "It is the share of each series that is held out, such as 0.2."
        check_fraction("validation", self.validation, fix=fix)
        if not isinstance(self.teacher_forcing, str) or self.teacher_forcing != SCHEDULED:
            expected = f"a number from 0 to 1, or {SCHEDULED!r}"
            check_probability("teacher_forcing", self.teacher_forcing, expected=expected)
        if self.seconds is not None:
            check_positive("seconds", self.seconds)
        check_flag("progress", self.progress)
        if check_flag("distributed", self.distributed) and self.seconds is not None:
            fix = "Each process would stop after another step. Use epochs and patience."
            raise bad_argument("seconds", self.seconds, "None with distributed=True", fix)


@dataclass(frozen=True)
class Settings:
    """The parameters of a forecaster, checked, with their defaults filled in.

    Attributes:
        horizon: timesteps to forecast.
        lookback: timesteps that a forecast reads; None is chosen from the series.
        season_length: timesteps of one season; None is chosen from the frequency and the series.
        network: the network.
        likelihood: distribution that the network learns, or None.
        intervals: the prediction intervals.
        training: how the network is trained.
        seed: seed of weights and shuffles; None for different ones each time.
    """

    horizon: int
    lookback: int | None
    season_length: int | None
    network: Network
    likelihood: Likelihood | None
    intervals: Intervals
    training: Training
    seed: int | None

    @classmethod
    def parse(
        cls,
        *,
        horizon: Any,
        lookback: Any,
        season_length: Any,
        network: Any,
        likelihood: Any,
        intervals: Any,
        training: Any,
        seed: Any,
    ) -> "Settings":
        """Check the parameters of a `Forecaster`.

        Raises:
            ArgumentError: a parameter is invalid.
        """
        settings = cls(
            *_timesteps(horizon, lookback, season_length),
            as_network(network),
            resolve_likelihood(likelihood),
            as_intervals(intervals),
            as_training(training),
            check_seed(seed),
        )
        for options in (settings.network, settings.intervals, settings.training):
            options.check()
        if len(settings.levels) and not settings.training.validation:
            fix = "Intervals are calibrated on held-out rows. Use intervals=() to omit them."
            expected = "above 0 with intervals"
            raise bad_argument("validation", settings.training.validation, expected, fix)
        settings._check_linear_expert()
        return settings

    def _check_linear_expert(self) -> None:
        if not self.network.linear_expert:
            return
        fix = "Use linear_expert=None, which mixes it in wherever that is possible."
        if self.likelihood is not None:
            raise bad_argument("linear_expert", True, "False or None with a likelihood", fix)
        if not self.training.validation:
            expected = "False or None with validation=0, as its share is chosen on held-out rows"
            raise bad_argument("linear_expert", True, expected, fix)

    @property
    def levels(self) -> tuple[float, ...]:
        """Nominal coverage of the intervals in percent."""
        return tuple(self.intervals.levels)

    @property
    def outputs(self) -> int:
        """Outputs of the network for each timestep."""
        return self.likelihood.outputs if self.likelihood is not None else 1

    @property
    def wants_linear_expert(self) -> bool:
        """Return whether a linear expert is mixed with a network of the whole horizon."""
        if self.network.linear_expert is not None:
            return self.network.linear_expert
        members = members_of(self.network.architecture)
        are_named = all(isinstance(member, str) for member in members)
        return are_named and self.likelihood is None and self.training.validation > 0

    @property
    def counts(self) -> bool:
        """Return whether targets must be counts."""
        return self.likelihood is not None and self.likelihood.counts


def _timesteps(horizon: Any, lookback: Any, season_length: Any) -> tuple[int, Any, Any]:
    fix = "Pass a number of timesteps, such as 7 for a week of days."
    return (
        check_integer("horizon", horizon, fix=fix),
        None if lookback is None else check_integer("lookback", lookback, fix=fix),
        None if season_length is None else check_integer("season_length", season_length, fix=fix),
    )


def as_network(network: Any) -> Network:
    """Return a `Network` for the value of `Forecaster(network=...)`."""
    return network if isinstance(network, Network) else Network(network)


def as_intervals(intervals: Any) -> Intervals:
    """Return an `Intervals` for the value of `Forecaster(intervals=...)`.

    Raises:
        ArgumentError: the value is neither None, nor levels, nor an `Intervals`.
    """
    if intervals is None:
        return Intervals()
    if isinstance(intervals, tuple | list):
        return Intervals(tuple(intervals))
    if not isinstance(intervals, Intervals):
        expected = "an Intervals, or a tuple of levels in percent"
        fix = "Use intervals=(80, 95), for example, or intervals=Intervals(method='split')."
        raise bad_argument("intervals", intervals, expected, fix)
    return intervals


def as_training(training: Any) -> Training:
    """Return a `Training` for the value of `Forecaster(training=...)`.

    Raises:
        ArgumentError: the value is neither None nor a `Training`.
    """
    if training is None:
        return Training()
    if not isinstance(training, Training):
        fix = "Use training=Training(epochs=50), for example."
        raise bad_argument("training", training, "a Training", fix)
    return training


def check_levels(levels: Any) -> None:
    """Check the levels of intervals.

    Raises:
        ArgumentError: `levels` is not a tuple of different numbers from 1 to below 100.
    """
    is_list = isinstance(levels, tuple | list)
    valid = is_list and all(is_level(level) for level in levels)
    # Two levels that are formatted alike would share one column of the forecast.
    if not valid or len({f"{level:g}" for level in levels}) < len(levels):
        fix = "Use (80, 95), for example, or () for no intervals."
        expected = "a tuple of different numbers from 1 to below 100"
        raise bad_argument("levels", levels, expected, fix)

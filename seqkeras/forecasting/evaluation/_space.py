"""The parameters of a forecaster that a search may choose."""

import functools
import re
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import keras
import numpy as np
from sklearn.base import BaseEstimator

from seqkeras._checks import bad_argument, check_one_of
from seqkeras.forecasting._settings import Settings
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._build import STRATEGIES, default_lookback

#: A function from an Optuna trial to parameters of the forecaster.
Space = Callable[[Any], dict[str, Any]]
#: For each parameter a list of choices, or the two ends of a range.
Ranges = Mapping[str, list[Any] | tuple[Any, Any]]

#: Parameters that cannot be searched: scores with different values are not comparable, the score
#: does not depend on them, or they are objects whose options are searched instead.
NOT_SEARCHED = {
    "horizon", "seed", "intervals", "intervals__levels", "training", "training__progress",
}  # fmt: skip


def default_space(
    settings: Settings, panel: Panel, short_series: str
) -> tuple[Ranges, dict[str, Any]]:
    """Return the default search space, and the forecaster's own point in it.

    Args:
        settings: settings of the forecaster.
        panel: the rows before the first cutoff, which every fit sees.
        short_series: as in `Columns`.
    """
    rate = float(settings.training.learning_rate)
    space: dict[str, Any] = {"training__learning_rate": (min(3e-4, rate), max(1e-2, rate))}
    own: dict[str, Any] = {"training__learning_rate": rate}
    lookbacks, lookback = _lookbacks(settings, panel, short_series)
    if len(lookbacks) > 1:
        space["lookback"] = lookbacks
        own["lookback"] = lookback
    network = settings.network
    if not isinstance(network.architecture, str):
        return space, own
    normalization = "mean_scale" if settings.counts else "last"
    choices: dict[str, tuple[list[Any], Any]] = {
        "architecture": (_architectures(settings, panel), network.architecture),
        "units": ([16, 32, 64, 128], network.units or 64),
        "cell": (["gru", "lstm"], network.cell or "gru"),
        "normalization": (
            ["last", "mean_scale", "revin"],
            network.normalization or normalization,
        ),
    }
    for option, (values, value) in choices.items():
        name = f"network__{option}"
        space[name] = values if value in values else [*values, value]
        own[name] = _labels(space[name])[space[name].index(value)]
    return space, own


def _architectures(settings: Settings, panel: Panel) -> list[str]:
    """Return the named architectures that work with these settings and are not too slow."""
    if settings.training.teacher_forcing != 1:
        return ["recursive"]
    # With a likelihood, feedback draws many paths, which costs about a hundred times as much.
    can_feed_back = settings.likelihood is None and not panel.covariates.past
    return [name for name in STRATEGIES if can_feed_back or name != "recursive"]


def as_space(space: Any, parameters: Mapping[str, Any]) -> Space:
    """Return a search space as a function from a trial to parameters.

    Args:
        space: ranges, or already a function.
        parameters: parameters of the forecaster, including the options of its objects.

    Raises:
        ArgumentError: `space` is neither; a parameter is unknown or cannot be searched; or its
            values are neither a list nor a range.
    """
    if callable(space):
        return space
    if not isinstance(space, Mapping) or not space:
        expected = "a dict from parameters to lists or ranges, or a function of a trial"
        raise bad_argument("space", space, expected)
    for name, values in space.items():
        check_one_of("space", name, sorted(set(parameters) - NOT_SEARCHED))
        if not (isinstance(values, list) and values) and not _is_range(values):
            fix = "Use a list of choices, or a tuple with the two ends of a range, both above 0."
            raise bad_argument(f"space[{name!r}]", values, "a list or a range", fix)
    return _Ranges(space)


def described(space: Ranges | Space) -> str:
    """Describe a space in words that are the same in each process."""
    if callable(space):
        return readable(space)
    return readable({name: space[name] for name in sorted(space)})


def readable(value: Any) -> str:
    """Describe a parameter in words that are the same in each process, without addresses."""
    if isinstance(value, keras.Model):
        return f"{type(value).__name__} of {sum(np.prod(w.shape) for w in value.weights)} weights"
    if isinstance(value, functools.partial):
        options = [*map(readable, value.args)]
        options += [f"{name}={readable(option)}" for name, option in value.keywords.items()]
        return f"{readable(value.func)}({', '.join(options)})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(readable, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(readable, value)))}}}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {readable(part)}' for name, part in value.items())}}}"
    if isinstance(value, BaseEstimator):
        return f"{type(value).__name__}({readable(value.get_params(deep=False))})"
    if isinstance(value, keras.losses.Loss):
        return f"{type(value).__name__}({value.get_config()})"
    name = getattr(value, "__qualname__", None)
    return name or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


class _Ranges:
    """Parameters from lists and ranges."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges

    def __call__(self, trial: Any) -> dict[str, Any]:
        return {name: self._suggest(trial, name, values) for name, values in self._ranges.items()}

    def _suggest(self, trial: Any, name: str, values: Any) -> Any:
        if isinstance(values, list):
            by_label = dict(zip(_labels(values), values, strict=True))
            return by_label[trial.suggest_categorical(name, list(by_label))]
        if all(isinstance(end, Integral) for end in values):
            return trial.suggest_int(name, *map(int, values), log=True)
        return trial.suggest_float(name, *map(float, values), log=True)


def _labels(choices: list[Any]) -> list[Any]:
    """Return a label for each choice; Optuna cannot store tuples and objects themselves."""
    plain = str | bool | int | float | None
    return [
        choice if isinstance(choice, plain) else f"{place}: {readable(choice)}"
        for place, choice in enumerate(choices)
    ]


def _is_range(values: Any) -> bool:
    if not isinstance(values, tuple) or len(values) != 2:
        return False
    return all(isinstance(end, Real) for end in values) and 0 < values[0] < values[1]


def _lookbacks(settings: Settings, panel: Panel, short_series: str) -> tuple[list[int], int]:
    """Return multiples of season and horizon that fit into the series, and the default lookback."""
    horizon = settings.horizon
    season = settings.season_length or panel.calendar.season_length
    lengths = panel.values.lengths
    shortest = lengths.min() if short_series == "raise" else np.median(lengths)
    validation = settings.training.validation
    held_out = max(horizon, int(validation * shortest)) if validation else 0
    room = int(shortest) - horizon - held_out
    default = settings.lookback or default_lookback(horizon, season, room)
    least = settings.season_length or 2
    candidates = {season * k for k in (1, 2, 3, 5)} | {horizon * k for k in (1, 2, 3)}
    fitting = {candidate for candidate in candidates if least <= candidate <= room}
    return sorted(fitting | {default}), default

"""Which parameters of a forecaster a search may choose."""

import functools
import re
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from seqkeras._checks import bad_argument, check_one_of
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._build import STRATEGIES, default_lookback
from seqkeras.likelihoods import resolve_likelihood

if TYPE_CHECKING:
    from seqkeras.forecasting._forecaster import Forecaster

#: From a trial of Optuna to parameters of the forecaster.
Space = Callable[[Any], dict[str, Any]]
#: For each parameter a list of choices, or the two ends of a range.
Ranges = Mapping[str, list[Any] | tuple[Any, Any]]


def default_space(forecaster: "Forecaster", panel: Panel) -> tuple[Ranges, dict[str, Any]]:
    """What is searched where nothing is said, and where in it the forecaster itself stands.

    Args:
        forecaster: the parameters that are not searched.
        panel: the series, as far as every fit may see them.
    """
    rate = float(forecaster.learning_rate)
    space: dict[str, Any] = {"learning_rate": (min(3e-4, rate), max(1e-2, rate))}
    itself: dict[str, Any] = {"learning_rate": rate}
    lookbacks, usual = _lookbacks(forecaster, panel)
    if len(lookbacks) > 1:
        space["lookback"], itself["lookback"] = lookbacks, usual
    if not isinstance(forecaster.model, str):
        return space, itself
    head = resolve_likelihood(forecaster.head)
    normalization = "mean_scale" if head is not None and head.counts else "last"
    known: dict[str, tuple[list[Any], Any]] = {
        "model": (_models(forecaster, panel), forecaster.model),
        "units": ([16, 32, 64, 128], forecaster.units or 64),
        "cell": (["gru", "lstm"], forecaster.cell or "gru"),
        "normalization": (
            ["last", "mean_scale", "revin"],
            forecaster.normalization or normalization,
        ),
    }
    for name, (choices, own) in known.items():
        space[name] = choices + [own] * (own not in choices)
        itself[name] = _labels(space[name])[space[name].index(own)]
    return space, itself


def _models(forecaster: "Forecaster", panel: Panel) -> list[str]:
    """The names that can be trained so, without those that are slow."""
    if forecaster.teacher_forcing != 1:
        return ["recursive"]
    # Futures that are drawn step by step cost a hundred times as much.
    fed_back = forecaster.head is None and not panel.covariates.past
    return [name for name in STRATEGIES if fed_back or name != "recursive"]


def as_space(space: Any, forecaster: "Forecaster") -> Space:
    """A function from a trial to parameters.

    Raises:
        ArgumentError: it is neither that nor ranges, or names what a forecaster does not have.
    """
    if callable(space):
        return space
    if not isinstance(space, Mapping) or not space:
        expected = "a dict from parameters to lists or ranges, or a function of a trial"
        raise bad_argument("space", space, expected)
    fixed = {"horizon", "seed", "progress", "short_series", "levels"}
    for name, one in space.items():
        check_one_of("space", name, sorted(set(forecaster.get_params(deep=False)) - fixed))
        if not (isinstance(one, list) and one) and not _is_range(one):
            fix = "A list is of choices, a tuple the two ends of a range, both above 0."
            raise bad_argument(f"space[{name!r}]", one, "a list or a range", fix)
    return _Ranges(space)


def described(space: Ranges | Space) -> str:
    """What is searched, in words that are the same in each process."""
    if callable(space):
        return readable(space)
    return readable({name: space[name] for name in sorted(space)})


def readable(value: Any) -> str:
    """A parameter in words that are the same in each process, without addresses of memory."""
    if isinstance(value, keras.Model):
        return f"{type(value).__name__} of {sum(np.prod(w.shape) for w in value.weights)} weights"
    if isinstance(value, functools.partial):
        options = [*map(readable, value.args)]
        options += [f"{name}={readable(one)}" for name, one in value.keywords.items()]
        return f"{readable(value.func)}({', '.join(options)})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(readable, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {readable(one)}' for name, one in value.items())}}}"
    if isinstance(value, keras.losses.Loss):
        return f"{type(value).__name__}({value.get_config()})"
    name = getattr(value, "__qualname__", None)
    return name or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


class _Ranges:
    """Parameters from lists and ranges."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges

    def __call__(self, trial: Any) -> dict[str, Any]:
        return {name: self._suggest(trial, name, one) for name, one in self._ranges.items()}

    def _suggest(self, trial: Any, name: str, one: Any) -> Any:
        if isinstance(one, list):
            labels = dict(zip(_labels(one), one, strict=True))
            return labels[trial.suggest_categorical(name, list(labels))]
        if all(isinstance(end, Integral) for end in one):
            return trial.suggest_int(name, *map(int, one), log=True)
        return trial.suggest_float(name, *map(float, one), log=True)


def _labels(choices: list[Any]) -> list[Any]:
    """How choices are kept in a storage, which has no place for tuples and objects."""
    plain = str | bool | int | float | None
    return [
        one if isinstance(one, plain) else f"{place}: {readable(one)}"
        for place, one in enumerate(choices)
    ]


def _is_range(one: Any) -> bool:
    numbers = isinstance(one, tuple) and len(one) == 2 and all(isinstance(x, Real) for x in one)
    return numbers and 0 < one[0] < one[1]


def _lookbacks(forecaster: "Forecaster", panel: Panel) -> tuple[list[int], int]:
    """Whole seasons and horizons that every series is long enough for, and the usual lookback."""
    horizon, season = forecaster.horizon, forecaster.season_length or panel.calendar.season_length
    lengths = panel.values.lengths
    shortest = lengths.min() if forecaster.short_series == "raise" else np.median(lengths)
    held_out = max(horizon, int(forecaster.validation * shortest)) if forecaster.validation else 0
    room = int(shortest) - horizon - held_out
    usual = forecaster.lookback or default_lookback(horizon, season, room)
    least = forecaster.season_length or 2
    candidates = {season * k for k in (1, 2, 3, 5)} | {horizon * k for k in (1, 2, 3)}
    return sorted({one for one in candidates if least <= one <= room} | {usual}), usual

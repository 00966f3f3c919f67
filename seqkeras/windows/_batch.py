"""What a batch holds: inputs, targets and weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, check_one_of
from seqkeras.errors import ArgumentError
from seqkeras.windows._layout import Numbers, WindowIndex
from seqkeras.windows._missing import Floats, fill
from seqkeras.windows._readers import (
    OfFunction,
    OfRows,
    OfSeries,
    Opened,
    open_rows,
    open_series,
    series_bounds,
)
from seqkeras.windows._spec import WindowSpec

TARGET_ROWS = ("horizon", "point", "lookback", "next")
Reader = OfRows | OfFunction


class Inputs:
    """The inputs of a batch: an array, or a dict of arrays.

    Args:
        values: read over the lookback, an array or a dict.
        future: read over the horizon, or None.
        static: read once for each series, or None.
        spec: the shape of a window.
        masks: whether values may be missing, and masks say where.

    Attributes:
        bounds: where the series begin and end, `(series + 1,)`.
        alone: the one array of values, opened; None where they are a dict.
    """

    def __init__(
        self, values: Any, future: Any, static: Any, *, spec: WindowSpec, masks: bool
    ) -> None:
        past = _named("values", values, "past")
        ahead = {} if future is None else _named("future", future, "future")
        fixed = {} if static is None else _named("static", static, "static")
        _check_names([*past, *ahead, *fixed], ("", "_mask") if masks else ("",))
        if ahead and not spec.horizon:
            fix = "Future inputs are read over the horizon."
            raise bad_argument("spec", spec, "a WindowSpec with a horizon", fix)
        self.bounds = series_bounds(dict(past.values()))
        opened = {
            name: open_rows(label, value, self.bounds, nan_allowed=masks)
            for name, (label, value) in {**past, **ahead}.items()
        }
        self._readers: dict[str, OfRows] = {
            name: _sequence(one, spec, future=name in ahead) for name, one in opened.items()
        }
        for name, (label, value) in fixed.items():
            series = len(self.bounds) - 1
            self._readers[name] = OfSeries(open_series(label, value, series, nan_allowed=masks))
        self.alone = None if isinstance(values, Mapping) else opened["past"]
        self._is_dict = masks or self.alone is None or bool(ahead or fixed)

    def __call__(self, index: WindowIndex) -> Floats | dict[str, npt.NDArray[Any]]:
        """x of the windows."""
        if not self._is_dict:
            return _with_features(self._readers["past"](index), 3)
        x: dict[str, npt.NDArray[Any]] = {}
        for name, reader in self._readers.items():
            x[name] = _with_features(reader(index), 2 if isinstance(reader, OfSeries) else 3)
            if reader.may_miss:
                x[f"{name}_mask"] = fill(x[name])
        return x


class Targets:
    """The targets of a batch, and their weights.

    Args:
        read: gives the targets.
        weigh: gives their weights; None for none.
        masks: whether targets may be missing, which gives them weight 0.
    """

    def __init__(self, read: Reader, weigh: Reader | None, *, masks: bool) -> None:
        self._read, self._weigh = read, weigh
        self._masks = masks and read.may_miss

    def __call__(self, index: WindowIndex) -> tuple[Floats, Floats | None]:
        """y of the windows, and their weights if there are any."""
        y = self._read(index)
        weights = None if self._weigh is None else self._weigh(index)
        if not self._masks:
            return y, weights
        # Keras has no weights inside the last axis, which a loss takes the mean over.
        present = fill(y)
        each = np.asarray(present.all(axis=-1)) if y.ndim > 1 else present
        return y, _weights_of(each, weights)


def open_targets(
    inputs: Inputs,
    targets: Any,
    target_rows: str | None,
    weights: Any,
    *,
    spec: WindowSpec,
    masks: bool,
) -> Targets | None:
    """The targets as asked for; None without a horizon where nothing asks for targets.

    Raises:
        ArgumentError: targets, their rows and weights that do not go together.
        DataError: a number in memory cannot be used.
    """
    if targets is None and target_rows is None and not spec.horizon:
        if weights is not None:
            raise bad_argument("weights", type(weights).__name__, "left away without targets")
        return None
    if callable(targets):
        if target_rows is not None:
            fix = "A function is given the indices and takes the rows that it needs."
            raise bad_argument("target_rows", target_rows, "left away with such targets", fix)
        read = OfFunction("targets", targets, nan_allowed=masks)
        return Targets(read, _weigh_answers(weights), masks=masks)
    rows = _check_target_rows(target_rows, spec)
    opened = _open_target_rows(inputs, targets, masks)
    weigh = _weigh_rows(weights, rows, opened, spec, inputs.bounds)
    return Targets(OfTargets(opened, rows, spec), weigh, masks=masks)


class OfTargets(OfRows):
    """Reads the target rows of each window.

    Args:
        opened: where to read.
        rows: which rows: one of `TARGET_ROWS`.
        spec: the shape of a window.
    """

    def __init__(self, opened: Opened, rows: str, spec: WindowSpec) -> None:
        offset, timesteps = {
            "horizon": (spec.target_offset, spec.horizon),
            "point": (spec.rows - 1, 1),
            "lookback": (0, spec.lookback),
            "next": (spec.sampling_rate, spec.lookback),
        }[rows]
        super().__init__(opened, timesteps, offset=offset, sampling_rate=spec.sampling_rate)
        self._rows = rows

    def __call__(self, index: WindowIndex) -> Floats:
        y = super().__call__(index)
        if self._rows == "point":
            # (batch, 1, outputs) beside a model's (batch, outputs) would broadcast in a loss.
            return y[:, 0] if y.ndim == 3 else y
        return y if self._rows == "horizon" else _with_features(y, 3)


class OneWeight(OfTargets):
    """Reads the weight of each window at its only target row, `(batch,)`."""

    def __call__(self, index: WindowIndex) -> Floats:
        return super().__call__(index)[:, 0]


class TimestepWeights(OfTargets):
    """Reads the weights of each window at its target rows, `(batch, timesteps)`."""

    def __call__(self, index: WindowIndex) -> Floats:
        y = super().__call__(index)
        return y if y.ndim == 2 else y[..., 0]


def _check_target_rows(target_rows: str | None, spec: WindowSpec) -> str:
    if target_rows is None:
        return "horizon" if spec.horizon else "lookback"
    check_one_of("target_rows", target_rows, TARGET_ROWS)
    if target_rows != "lookback" and not spec.horizon:
        fix = f"For {target_rows!r} give the WindowSpec a horizon."
        raise bad_argument("target_rows", target_rows, "'lookback' where horizon=0", fix)
    return target_rows


def _open_target_rows(inputs: Inputs, targets: Any, masks: bool) -> Opened:
    if targets is not None:
        return open_rows("targets", targets, inputs.bounds, nan_allowed=masks)
    if inputs.alone is None:
        fix = "With targets=values['NAME'] one of the inputs is predicted; horizon=0 predicts none."
        raise bad_argument("targets", None, "given where values are a dict", fix)
    return inputs.alone


def _weigh_answers(weights: Any) -> OfFunction | None:
    if weights is not None and not callable(weights):
        expected = "a function of indices, as targets are one"
        raise bad_argument("weights", type(weights).__name__, expected)
    return None if weights is None else OfFunction("weights", weights, nan_allowed=False)


def _weigh_rows(
    weights: Any, rows: str, targets: Opened, spec: WindowSpec, bounds: Numbers
) -> Reader | None:
    if weights is None or callable(weights):
        return _weigh_answers(weights)
    opened = open_rows("weights", weights, bounds, nan_allowed=False)
    if len(opened.source.shape) > 1:
        raise bad_argument("weights", opened.source.shape, "numbers of shape (rows,)")
    flat = rows == "horizon" and len(targets.source.shape) == 1
    if flat and spec.horizon > 1:
        fix = "Give targets of shape (rows, 1), and a model with outputs (batch, horizon, 1)."
        got = f"{spec.horizon} rows a window, beside targets of shape (rows,)"
        raise bad_argument(
            "weights", got, "one for each window: Keras weighs no parts of an axis", fix
        )
    kind = OneWeight if flat or rows == "point" else TimestepWeights
    return kind(opened, rows, spec)


def _weights_of(present: npt.NDArray[Any], weights: Floats | None) -> Floats:
    """The weights, and 0 where a target is missing."""
    if weights is None:
        return present.astype(np.float32)
    if weights.ndim < present.ndim:  # weights of windows, for targets at several timesteps
        weights = weights.reshape(len(weights), *[1] * (present.ndim - 1))
    if weights.ndim > present.ndim:
        expected = f"of shape {present.shape}, or one for each window, as targets may be missing"
        raise bad_argument("weights", weights.shape, expected)
    return weights * present


def _named(argument: str, value: object, name: str) -> dict[str, tuple[str, object]]:
    """The inputs in an argument, by their names: how errors call them, and what was given."""
    if not isinstance(value, Mapping):
        return {name: (argument, value)}
    if not value or not all(isinstance(key, str) and key for key in value):
        expected = "an array, or a dict from names of inputs to arrays, with one or more"
        raise bad_argument(argument, f"a dict of {list(value)}", expected)
    return {key: (f"{argument}[{key!r}]", one) for key, one in value.items()}


def _check_names(names: list[str], suffixes: tuple[str, ...]) -> None:
    every = [name + suffix for name in names for suffix in suffixes]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise ArgumentError(
            "Names of inputs must differ, over values, future, static and masks together. Got "
            f"more than once: {', '.join(map(repr, twice))}. Rename them in their dicts."
        )


def _sequence(opened: Opened, spec: WindowSpec, *, future: bool) -> OfRows:
    timesteps, offset = (spec.horizon, spec.target_offset) if future else (spec.lookback, 0)
    return OfRows(opened, timesteps, offset=offset, sampling_rate=spec.sampling_rate)


def _with_features(batch: Floats, axes: int) -> Floats:
    """Gives one-dimensional values their axis of one feature."""
    return batch if batch.ndim == axes else batch[..., np.newaxis]

"""The content of a batch: inputs, targets and weights."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from seqkeras._arrays import Array, Booleans, Floats32, Integers
from seqkeras._checks import Description, bad_argument, check_one_of
from seqkeras.errors import ArgumentError
from seqkeras.windows._layout import WindowIndex
from seqkeras.windows._missing import fill
from seqkeras.windows._readers import (
    FunctionReader,
    RowReader,
    SeriesReader,
    open_rows,
    open_series,
    series_bounds,
)
from seqkeras.windows._sources import Source
from seqkeras.windows._spec import WindowSpec

TARGET_ROWS = ("horizon", "point", "lookback", "next")
Reader: TypeAlias = RowReader | FunctionReader


class InputReader:
    """Reads the inputs of a batch: an array, or a dict of arrays.

    Args:
        values: an array, or a dict of arrays, read over the lookback.
        future: the same, read over the horizon, or None.
        static: the same with one row for each series, or None.
        spec: the shape of a window.
        masks: whether values may be missing; each input then gets a mask of its valid values.

    Attributes:
        bounds: where the series begin and end, `(series + 1,)`.
        single: the source of `values`, or None if `values` is a dict.
    """

    def __init__(
        self, values: Any, future: Any, static: Any, *, spec: WindowSpec, masks: bool
    ) -> None:
        past = _named("values", values, "past")
        ahead = _named("future", future, "future") if future is not None else {}
        fixed = _named("static", static, "static") if static is not None else {}
        _check_names([*past, *ahead, *fixed], ("", "_mask") if masks else ("",))
        if ahead and not spec.horizon:
            fix = "Future inputs are read over the horizon: pass WindowSpec(..., horizon=)."
            raise bad_argument("spec", spec, "a WindowSpec with a horizon", fix)
        self._readers: dict[str, RowReader] = {}
        sources = {}
        bounds = series_bounds(value for _, value in past.values())
        for name, (label, value) in {**past, **ahead}.items():
            sources[name], bounds = open_rows(label, value, bounds, nan_allowed=masks)
            self._readers[name] = _sequence_reader(sources[name], spec, future=name in ahead)
        assert bounds is not None  # `open_rows` returned bounds: there is at least one input
        self.bounds: Integers = bounds
        for name, (label, value) in fixed.items():
            source = open_series(label, value, len(bounds) - 1, nan_allowed=masks)
            self._readers[name] = SeriesReader(source)
        self.single = None if isinstance(values, Mapping) else sources["past"]
        self._is_dict = masks or self.single is None or bool(ahead or fixed)

    def __call__(self, index: WindowIndex) -> Floats32 | dict[str, Array]:
        """Read the inputs of these windows."""
        if not self._is_dict:
            return _with_features(self._readers["past"](index), 3)
        x: dict[str, Array] = {}
        for name, reader in self._readers.items():
            x[name] = _with_features(reader(index), 2 if isinstance(reader, SeriesReader) else 3)
            if reader.may_miss:
                x[f"{name}_mask"] = fill(x[name])
        return x


class TargetReader:
    """Reads the targets of a batch, and their weights.

    Args:
        read: reads the targets.
        weigh: reads their weights. None: no weights.
        masks: whether targets may be missing, which gives them weight 0.
    """

    def __init__(self, read: Reader, weigh: Reader | None, *, masks: bool) -> None:
        self._read = read
        self._weigh = weigh
        self._masks = masks and read.may_miss

    def __call__(self, index: WindowIndex) -> tuple[Floats32, Floats32 | None]:
        """Read the targets of these windows, and their weights or None."""
        y = self._read(index)
        weights = self._weigh(index) if self._weigh is not None else None
        if not self._masks:
            return y, weights
        # One weight for the whole last axis: Keras averages over it before it applies weights.
        present = fill(y)
        usable = np.asarray(present.all(axis=-1)) if y.ndim > 1 else present
        return y, _weights_of(usable, weights)


def open_targets(
    inputs: InputReader,
    targets: Any,
    target_rows: str | None,
    weights: Any,
    *,
    spec: WindowSpec,
    masks: bool,
) -> TargetReader | None:
    """Open targets and weights; None if there is no horizon and no argument asks for targets.

    Raises:
        ArgumentError: `targets`, `target_rows` and `weights` do not fit each other.
        DataError: a number in memory cannot be used.
    """
    if targets is None and target_rows is None and not spec.horizon:
        if weights is not None:
            raise bad_argument("weights", type(weights).__name__, "omitted without targets")
        return None
    if callable(targets):
        if target_rows is not None:
            fix = "A function gets a WindowIndex and chooses its rows itself."
            raise bad_argument("target_rows", target_rows, "omitted if targets is a function", fix)
        read = FunctionReader("targets", targets, nan_allowed=masks)
        return TargetReader(read, _function_weights(weights), masks=masks)
    rows = _check_target_rows(target_rows, spec)
    source = _open_target_rows(inputs, targets, masks)
    weigh = _open_weights(weights, rows, source, spec, inputs.bounds)
    return TargetReader(TargetRowReader(source, rows, spec), weigh, masks=masks)


class TargetRowReader(RowReader):
    """Reads the target rows of each window.

    Args:
        source: the rows of the targets.
        rows: which rows of a window to read, one of `TARGET_ROWS`.
        spec: the shape of a window.
    """

    def __init__(self, source: Source, rows: str, spec: WindowSpec) -> None:
        offset, timesteps = {
            "horizon": (spec.target_offset, spec.horizon),
            "point": (spec.rows - 1, 1),
            "lookback": (0, spec.lookback),
            "next": (spec.sampling_rate, spec.lookback),
        }[rows]
        super().__init__(source, timesteps, offset=offset, sampling_rate=spec.sampling_rate)
        self._rows = rows

    def __call__(self, index: WindowIndex) -> Floats32:
        y = super().__call__(index)
        if self._rows == "point":
            # Drop the time axis: in a loss, (batch, 1, outputs) would broadcast against a model's
            # (batch, outputs).
            return y[:, 0] if y.ndim == 3 else y
        return y if self._rows == "horizon" else _with_features(y, 3)


class WindowWeightReader(TargetRowReader):
    """Reads one weight for each window, at the first of its target rows, `(batch,)`."""

    def __call__(self, index: WindowIndex) -> Floats32:
        return super().__call__(index)[:, 0]


class TimestepWeightReader(TargetRowReader):
    """Reads a weight for each target row of a window, `(batch, timesteps)`."""

    def __call__(self, index: WindowIndex) -> Floats32:
        y = super().__call__(index)
        return y if y.ndim == 2 else y[..., 0]


def _check_target_rows(target_rows: str | None, spec: WindowSpec) -> str:
    if target_rows is None:
        return "horizon" if spec.horizon else "lookback"
    check_one_of("target_rows", target_rows, TARGET_ROWS)
    if target_rows != "lookback" and not spec.horizon:
        fix = f"For {target_rows!r} give the WindowSpec a horizon."
        raise bad_argument("target_rows", target_rows, "'lookback' if horizon=0", fix)
    return target_rows


def _open_target_rows(inputs: InputReader, targets: Any, masks: bool) -> Source:
    if targets is not None:
        source, _ = open_rows("targets", targets, inputs.bounds, nan_allowed=masks)
        return source
    if inputs.single is None:
        fix = "To predict one of the inputs, pass targets=values['NAME']. Otherwise use horizon=0."
        raise bad_argument("targets", None, "given if values are a dict", fix)
    return inputs.single


def _function_weights(weights: Any) -> FunctionReader | None:
    if weights is None:
        return None
    if not callable(weights):
        expected = "a function of a WindowIndex, because targets is a function"
        raise bad_argument("weights", type(weights).__name__, expected)
    return FunctionReader("weights", weights, nan_allowed=False)


def _open_weights(
    weights: Any, rows: str, targets: Source, spec: WindowSpec, bounds: Integers
) -> Reader | None:
    if weights is None or callable(weights):
        return _function_weights(weights)
    source, _ = open_rows("weights", weights, bounds, nan_allowed=False)
    if len(source.shape) > 1:
        raise bad_argument("weights", source.shape, "numbers of shape (rows,)")
    flat = rows == "horizon" and len(targets.shape) == 1
    if flat and spec.horizon > 1:
        actual = f"{spec.horizon} rows for each window, with targets of shape (rows,)"
        expected = "one for each window, because Keras does not weight parts of the last axis"
        fix = "Pass targets of shape (rows, 1), and use a model with outputs (batch, horizon, 1)."
        raise bad_argument("weights", Description(actual), expected, fix)
    if flat or rows == "point":
        return WindowWeightReader(source, rows, spec)
    return TimestepWeightReader(source, rows, spec)


def _weights_of(present: Booleans, weights: Floats32 | None) -> Floats32:
    """Return the weights, with 0 for missing targets."""
    if weights is None:
        return present.astype(np.float32)
    if weights.ndim < present.ndim:  # weights of windows, for targets at several timesteps
        weights = weights.reshape(len(weights), *[1] * (present.ndim - 1))
    if weights.ndim > present.ndim:
        expected = f"of shape {present.shape}, or one for each window, if targets may be missing"
        raise bad_argument("weights", weights.shape, expected)
    return weights * present


def _named(argument: str, value: object, name: str) -> dict[str, tuple[str, object]]:
    """Return the label for errors and the value of each input in an argument, by input name."""
    if not isinstance(value, Mapping):
        return {name: (argument, value)}
    if not value or not all(isinstance(key, str) and key for key in value):
        expected = "an array, or a dict of one or more arrays by the names of inputs"
        raise bad_argument(argument, Description(f"a dict of {list(value)}"), expected)
    return {key: (f"{argument}[{key!r}]", array) for key, array in value.items()}


def _check_names(names: list[str], suffixes: tuple[str, ...]) -> None:
    every = [name + suffix for name in names for suffix in suffixes]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise ArgumentError(
            "Names of inputs must differ among values, future, static and masks. Got more than "
            f"once: {', '.join(map(repr, twice))}. Rename the inputs in their dicts."
        )


def _sequence_reader(source: Source, spec: WindowSpec, *, future: bool) -> RowReader:
    timesteps = spec.horizon if future else spec.lookback
    offset = spec.target_offset if future else 0
    return RowReader(source, timesteps, offset=offset, sampling_rate=spec.sampling_rate)


def _with_features(batch: Floats32, axes: int) -> Floats32:
    """Add an axis of one feature to one-dimensional values."""
    return batch if batch.ndim == axes else batch[..., np.newaxis]

"""Translate operations of keras.ops, such as slices and sums in functional models."""

from dataclasses import replace
from typing import Any

import numpy as np

from seqkeras.export._trace import SEE_SUPPORTED_LAYERS, Trace, Value, export_error

#: Operations on one or more arrays that keep the shape, or broadcast.
ELEMENTWISE = {
    "Absolute": "absolute",
    "Add": "add",
    "Divide": "divide",
    "Exp": "exp",
    "Isnan": "is_nan",
    "Log": "log",
    "LogicalAnd": "logical_and",
    "LogicalNot": "logical_not",
    "LogicalOr": "logical_or",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Multiply": "multiply",
    "Negative": "negative",
    "NotEqual": "not_equal",
    "Sqrt": "sqrt",
    "Square": "square",
    "Subtract": "subtract",
    "TrueDivide": "divide",
    "Where": "where",
    "OnesLike": "ones_like",
    "ZerosLike": "zeros_like",
}

#: Operations that are activations without options.
ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Selu": "selu", "Sigmoid": "sigmoid", "Silu": "silu",
    "Softplus": "softplus", "Softsign": "softsign", "Tanh": "tanh",
}  # fmt: skip


def operation(trace: Trace, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    """Translate an operation of keras.ops.

    Raises:
        ArgumentError: the operation cannot be exported, or it combines timesteps.
    """
    kind = type(op).__name__
    if kind in ELEMENTWISE:
        return _elementwise(trace, op, [*args, *kwargs.values()])
    if kind in ACTIVATIONS:
        return trace.add("activation", args, op.name, activation=ACTIVATIONS[kind])
    if kind not in OTHERS:
        raise export_error(op.name, f"the operation {kind} is not supported", SEE_SUPPORTED_LAYERS)
    return OTHERS[kind](trace, op, *args, **kwargs)


def same_times(trace: Trace, name: str, values: list[Value]) -> list[Value]:
    """Check that either all values have a time axis or none has, and return the values."""
    if trace.window is None and len({value.has_time_axis for value in values}) > 1:
        raise export_error(name, "it joins a sequence with what is known only after its end")
    return values


def _elementwise(trace: Trace, op: Any, operands: list[Any]) -> Value:
    values = [operand for operand in operands if isinstance(operand, Value)]
    rank = max(value.rank for value in values)
    same_times(trace, op.name, values)
    has_time = values[0].has_time_axis and trace.window is None
    axes = rank - 2 if has_time else rank - 1  # without batch, and without time when stepping
    inputs = [
        operand if isinstance(operand, Value) else _constant(trace, op, operand, axes)
        for operand in operands
    ]
    return trace.add(ELEMENTWISE[type(op).__name__], inputs, op.name, rank=rank)


def _constant(trace: Trace, op: Any, numbers: Any, axes: int) -> Value:
    value = np.asarray(numbers)
    while value.ndim and value.shape[0] == 1:
        value = value[0]
    if value.ndim > axes:
        raise export_error(op.name, "it has a constant with a value for each timestep")
    return trace.constant(value)


def _get_item(trace: Trace, op: Any, x: Value, key: Any) -> Value:
    parts = list(key) if isinstance(key, (tuple, list)) else [key]
    if parts[-1] is None and all(part in (slice(None), Ellipsis) for part in parts[:-1]):
        return trace.add("expand_dims", [x], op.name, axis=-1, rank=x.rank + 1)
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [slice(None)] * (x.rank - len(parts) + 1)
    if any(not isinstance(part, (int, slice)) for part in parts):
        raise export_error(op.name, f"its index {key} must consist of integers and slices")
    if parts[0] != slice(None):
        raise export_error(op.name, "it indexes the batch axis", "Index other axes.")
    parts = parts[1:]
    takes_last = False
    if x.has_time_axis and trace.window is None and parts:
        takes_last = parts[0] == -1  # the last timestep is always the one that was just read
        if not takes_last and parts[0] != slice(None):
            raise export_error(op.name, f"it selects the timesteps {parts[0]}")
        parts = parts[1:]
    has_time_axis = x.has_time_axis and not takes_last
    rank = x.rank - sum(isinstance(part, int) for part in parts)
    rank = rank - 1 if takes_last else rank
    bounds = [
        [part.start, part.stop, part.step] if isinstance(part, slice) else part for part in parts
    ]
    if all(part == [None, None, None] for part in bounds):
        return replace(x, rank=rank, has_time_axis=has_time_axis)
    return trace.add("pick", [x], op.name, parts=bounds, rank=rank, has_time_axis=has_time_axis)


def _take(trace: Trace, op: Any, x: Value, indices: Any) -> Value:
    places = np.asarray(indices, dtype=np.int64)
    axis = trace.axis(x, op.axis if op.axis is not None else 0, op.name)
    rank = x.rank - 1 + places.ndim
    return trace.add("take", [x], op.name, weights={"indices": places}, axis=axis, rank=rank)


def _expand_dims(trace: Trace, op: Any, x: Value) -> Value:
    axis = op.axis if op.axis < 0 else op.axis - x.rank - 1
    if trace.window is None and not x.has_time_axis and not x.varies_over_time and axis == -x.rank:
        # The value is the same at each timestep, so the new axis can be the time axis.
        return replace(x, rank=x.rank + 1, has_time_axis=True)
    if trace.window is None and x.has_time_axis and axis <= -x.rank:
        raise export_error(op.name, "it moves the time axis")
    return trace.add("expand_dims", [x], op.name, axis=axis, rank=x.rank + 1)


def _concatenate(trace: Trace, op: Any, xs: list[Value]) -> Value:
    axis = trace.axis(xs[0], op.axis, op.name)
    return trace.add("concatenate", same_times(trace, op.name, xs), op.name, axis=axis)


def _any(trace: Trace, op: Any, x: Value) -> Value:
    axes = [op.axis] if isinstance(op.axis, int) else list(op.axis or ())
    if len(axes) != 1:
        raise export_error(op.name, f"it works along the axes {op.axis}")
    axis = trace.axis(x, axes[0], op.name)
    keepdims = bool(op.keepdims)
    rank = x.rank if keepdims else x.rank - 1
    return trace.add("any", [x], op.name, axis=axis, keepdims=keepdims, rank=rank)


def _all(trace: Trace, op: Any, x: Value) -> Value:
    is_false = _any(trace, op, trace.add("logical_not", [x], op.name))
    return trace.add("logical_not", [is_false], op.name)


OTHERS: dict[str, Any] = {
    "All": _all,
    "Any": _any,
    "Concatenate": _concatenate,
    "ExpandDims": _expand_dims,
    "GetItem": _get_item,
    "Take": _take,
}

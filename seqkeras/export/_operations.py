"""What operations of keras.ops are in a program, such as slices and sums in functional models."""

from dataclasses import replace
from typing import Any

import numpy as np

from seqkeras.export._trace import LISTED, Trace, Value, refused

#: Operations on one array or several that keep the shape, or broadcast.
ELEMENTWISE = {
    "Absolute": "absolute",
    "Add": "add",
    "Divide": "divide",
    "Exp": "exp",
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
    "OnesLike": "ones_like",
    "ZerosLike": "zeros_like",
}

#: Operations that are an activation without options.
ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Selu": "selu", "Sigmoid": "sigmoid", "Silu": "silu",
    "Softplus": "softplus", "Softsign": "softsign", "Tanh": "tanh",
}  # fmt: skip


def operation(trace: Trace, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    """An operation of keras.ops.

    Raises:
        ArgumentError: it is not known, or puts timesteps together.
    """
    kind = type(op).__name__
    if kind in ELEMENTWISE:
        return _elementwise(trace, op, [*args, *kwargs.values()])
    if kind in ACTIVATIONS:
        return trace.add("activation", args, op.name, activation=ACTIVATIONS[kind])
    if kind not in OTHERS:
        raise refused(op.name, f"{kind} of keras.ops has no form without Keras", LISTED)
    return OTHERS[kind](trace, op, *args, **kwargs)


def same_times(trace: Trace, name: str, values: list[Value]) -> list[Value]:
    """The values, if they all have a time axis or none has."""
    if trace.window is None and len({value.over_time for value in values}) > 1:
        raise refused(name, "it joins what changes over time with what is known at the end")
    return values


def _elementwise(trace: Trace, op: Any, given: list[Any]) -> Value:
    values = [one for one in given if isinstance(one, Value)]
    rank = max(value.rank for value in values)
    same_times(trace, op.name, values)
    timed = values[0].over_time and trace.window is None
    inputs = [
        one if isinstance(one, Value) else _constant(trace, op, one, rank - 1 - timed)
        for one in given
    ]
    return trace.add(ELEMENTWISE[type(op).__name__], inputs, op.name, rank=rank)


def _constant(trace: Trace, op: Any, numbers: Any, axes: int) -> Value:
    value = np.asarray(numbers)
    while value.ndim and value.shape[0] == 1:
        value = value[0]
    if value.ndim > axes:
        raise refused(op.name, "it has numbers for each timestep")
    return trace.constant(value)


def _get_item(trace: Trace, op: Any, x: Value, key: Any) -> Value:
    parts = list(key) if isinstance(key, (tuple, list)) else [key]
    if parts[-1] is None and all(part in (slice(None), Ellipsis) for part in parts[:-1]):
        return trace.add("expand_dims", [x], op.name, axis=-1, rank=x.rank + 1)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (x.rank - len(parts) + 1)
    if any(not isinstance(part, (int, slice)) for part in parts):
        raise refused(op.name, f"the index {key} is not of integers and slices")
    if parts[0] != slice(None):
        raise refused(op.name, "it takes rows of the batch", "Slice other axes.")
    parts, over_time = parts[1:], x.over_time
    if x.over_time and trace.window is None and parts:
        if parts[0] == -1:
            over_time = False  # the last timestep: always the one that was just read
        elif parts[0] != slice(None):
            raise refused(op.name, f"it takes the timesteps {parts[0]}")
        parts = parts[1:]
    rank = x.rank - sum(isinstance(part, int) for part in parts) - (x.over_time and not over_time)
    written = [
        [part.start, part.stop, part.step] if isinstance(part, slice) else part for part in parts
    ]
    if all(part == [None, None, None] for part in written):
        return replace(x, rank=rank, over_time=over_time)
    return trace.add("pick", [x], op.name, parts=written, rank=rank, over_time=over_time)


def _take(trace: Trace, op: Any, x: Value, indices: Any) -> Value:
    places = np.asarray(indices, dtype=np.int64)
    axis = trace.axis(x, 0 if op.axis is None else op.axis, op.name)
    rank = x.rank - 1 + places.ndim
    return trace.add("take", [x], op.name, weights={"indices": places}, axis=axis, rank=rank)


def _expand_dims(trace: Trace, op: Any, x: Value) -> Value:
    axis = op.axis if op.axis < 0 else op.axis - x.rank - 1
    if trace.window is None and not x.over_time and not x.moving and axis == -x.rank:
        return replace(x, rank=x.rank + 1, over_time=True)  # the same at each timestep
    if trace.window is None and x.over_time and axis <= -x.rank:
        raise refused(op.name, "it moves the axis of time")
    return trace.add("expand_dims", [x], op.name, axis=axis, rank=x.rank + 1)


def _concatenate(trace: Trace, op: Any, xs: list[Value]) -> Value:
    axis = trace.axis(xs[0], op.axis, op.name)
    return trace.add("concatenate", same_times(trace, op.name, xs), op.name, axis=axis)


def _any(trace: Trace, op: Any, x: Value) -> Value:
    axes = [op.axis] if isinstance(op.axis, int) else list(op.axis or ())
    if len(axes) != 1:
        raise refused(op.name, f"it works along the axes {op.axis}")
    axis, kept = trace.axis(x, axes[0], op.name), bool(op.keepdims)
    rank = x.rank if kept else x.rank - 1
    return trace.add("any", [x], op.name, axis=axis, keepdims=kept, rank=rank)


OTHERS: dict[str, Any] = {
    "Any": _any,
    "Concatenate": _concatenate,
    "ExpandDims": _expand_dims,
    "GetItem": _get_item,
    "Take": _take,
}

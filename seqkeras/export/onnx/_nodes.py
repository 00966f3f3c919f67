"""Write layers without a state as ONNX: one function for each `op` of a program.

A value is `(batch, ...)` in a graph of one timestep and `(batch, timesteps, ...)` in a graph of a
whole sequence; `Writer.lead` is the number of these leading axes. Axes of a program count from the
end, so almost all layers are written the same way for both.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras.export.onnx._activation_nodes import activate
from seqkeras.export.onnx._attention_nodes import (
    attention_context,
    attention_mean,
    attention_weights,
)
from seqkeras.export.onnx._writer import BOOL, Writer, ints

#: A bound of slices that is beyond the end of any axis.
FAR = 2**62


class Op(NamedTuple):
    """A node of a program.

    Attributes:
        options: its options in the header.
        weights: its weights by role, in the dtype of the arithmetic.
        shapes: shapes of its inputs, without the axes that `Writer.lead` counts.
        shape: shape of its output, without these axes.
    """

    options: Mapping[str, Any]
    weights: Mapping[str, npt.NDArray[Any]]
    shapes: Sequence[tuple[int, ...]]
    shape: tuple[int, ...]


def linear(g: Writer, x: str, kernel: npt.NDArray[Any], bias: Any, axes: int) -> str:
    """Write x @ kernel + bias; `axes` is the number of axes of x."""
    if axes == 2:
        return g.op("Gemm", x, kernel, bias)
    y = g.op("MatMul", x, kernel)
    return g.op("Add", y, bias) if bias is not None else y


def _dense(g: Writer, op: Op, x: str) -> str:
    axes = g.lead + len(op.shapes[0])
    y = linear(g, g.floats(x), op.weights["kernel"], op.weights.get("bias"), axes)
    return activate(g, y, op.options["activation"], op.options.get("activation_options"))


def _embedding(g: Writer, op: Op, x: str) -> str:
    # Gather would count negative ids from the end. Moved past the end, they are errors instead.
    table = op.weights["embeddings"]
    ids = g.cast(x, np.int64)
    ids = g.op("Where", g.op("Less", ids, 0), len(table), ids)
    return g.op("Gather", table, ids, axis=0)


def _activation(g: Writer, op: Op, x: str) -> str:
    return activate(g, x, op.options["activation"], op.options.get("activation_options"))


def _prelu(g: Writer, op: Op, x: str) -> str:
    return g.op("Where", g.op("Greater", x, 0.0), x, g.op("Mul", x, op.weights["alpha"]))


def _affine(g: Writer, op: Op, x: str) -> str:
    center, scale, offset = (op.weights[role] for role in ("center", "scale", "offset"))
    y = g.op("Mul", g.op("Sub", g.cast(x, center.dtype), center), scale)
    return g.cast(g.op("Add", y, offset), op.options["dtype"])


def _layer_norm(g: Writer, op: Op, x: str) -> str:
    axes = int(op.options["axes"])
    epsilon = float(op.options["epsilon"])
    gamma = op.weights.get("gamma")
    beta = op.weights.get("beta")
    x = g.floats(x)
    if not op.options["rms"]:
        ones = np.ones(op.shapes[0][-axes:], g.dtype_of(x))
        gamma = np.broadcast_to(gamma, ones.shape) if gamma is not None else ones
        return g.op("LayerNormalization", x, gamma, beta, axis=-axes, epsilon=epsilon)
    square = g.op("ReduceMean", g.op("Mul", x, x), axes=list(range(-axes, 0)))
    y = g.op("Div", x, g.op("Sqrt", g.op("Add", square, epsilon)))
    y = g.op("Mul", y, gamma) if gamma is not None else y
    return g.op("Add", y, beta) if beta is not None else y


def _unit_norm(g: Writer, op: Op, x: str) -> str:
    square = g.op("ReduceSum", g.op("Mul", x, x), ints(-1))
    return g.op("Div", x, g.op("Sqrt", g.op("Max", square, 1e-12)))


def _concatenate(g: Writer, op: Op, *xs: str) -> str:
    return g.op("Concat", *g.alike(xs), axis=op.options["axis"])


def _constant(g: Writer, op: Op) -> str:
    value = op.weights["value"]
    return g.op("Identity", value.reshape((1,) * g.lead + value.shape))


def _reshape(g: Writer, op: Op, x: str) -> str:
    return g.op("Reshape", x, ints(*[0] * g.lead, *op.shape))


def _pick(g: Writer, op: Op, x: str) -> str:
    parts = list(enumerate(op.options["parts"], start=g.lead))
    slices = [(axis, part) for axis, part in parts if not isinstance(part, int)]
    slices = [(axis, part) for axis, part in slices if part != [None, None, None]]
    if slices:
        bounds = [_bounds(*part) for _, part in slices]
        starts, ends, steps = (ints(*column) for column in zip(*bounds, strict=True))
        x = g.op("Slice", x, starts, ends, ints(*(axis for axis, _ in slices)), steps)
    for axis, part in reversed(parts):
        if isinstance(part, int):
            x = g.op("Gather", x, np.array(part), axis=axis)
    return x


def _bounds(start: int | None, stop: int | None, step: int | None) -> tuple[int, int, int]:
    step = int(step) if step is not None else 1
    first, last = (0, FAR) if step > 0 else (FAR, -FAR)
    return int(start) if start is not None else first, int(stop) if stop is not None else last, step


def _take(g: Writer, op: Op, x: str) -> str:
    return g.op("Gather", x, op.weights["indices"].astype(np.int64), axis=op.options["axis"])


def _expand_dims(g: Writer, op: Op, x: str) -> str:
    return g.op("Unsqueeze", x, ints(op.options["axis"]))


def _repeat(g: Writer, op: Op, x: str) -> str:
    axis = g.lead
    shape = ints(*[1] * axis, int(op.options["times"]), *[1] * len(op.shapes[0]))
    return g.op("Expand", g.op("Unsqueeze", x, ints(axis)), shape)


def _any(g: Writer, op: Op, x: str) -> str:
    numbers = g.cast(g.cast(x, BOOL), np.float32)
    keepdims = int(bool(op.options["keepdims"]))
    largest = g.op("ReduceMax", numbers, axes=[op.options["axis"]], keepdims=keepdims)
    return g.cast(largest, BOOL)


def _keep(g: Writer, op: Op, x: str, mask: str) -> str:
    return g.op("Where", g.op("Unsqueeze", mask, ints(-1)), x, 0)


def _where(g: Writer, op: Op, condition: str, *xs: str) -> str:
    return g.op("Where", g.cast(condition, BOOL), *g.alike(xs))


def _average(g: Writer, op: Op, *xs: str) -> str:
    return g.op("Div", _arithmetic("Add")(g, op, *map(g.floats, xs)), float(len(xs)))


def _filled(number: int) -> Callable[..., str]:
    def write(g: Writer, op: Op, x: str) -> str:
        return g.op("Expand", np.full(1, number, g.dtype_of(x)), g.op("Shape", x))

    return write


def _not_equal(g: Writer, op: Op, *xs: str) -> str:
    return g.op("Not", g.op("Equal", *g.alike(xs)))


def _arithmetic(name: str) -> Callable[..., str]:
    def write(g: Writer, op: Op, *xs: str) -> str:
        return reduce(lambda left, right: g.op(name, left, right), g.alike(xs))

    return write


def _float_arithmetic(name: str) -> Callable[..., str]:
    return lambda g, op, *xs: _arithmetic(name)(g, op, *map(g.floats, xs))


def _logic(name: str) -> Callable[..., str]:
    def write(g: Writer, op: Op, *xs: str) -> str:
        flags = [g.cast(x, BOOL) for x in xs]
        return reduce(lambda left, right: g.op(name, left, right), flags)

    return write


def _unary(name: str) -> Callable[..., str]:
    return lambda g, op, x: g.op(name, x)


#: The function that writes each op of a program, except recurrent ones.
NODES: dict[str, Callable[..., str]] = {
    "absolute": _unary("Abs"),
    "activation": _activation,
    "add": _arithmetic("Add"),
    "affine": _affine,
    "any": _any,
    "attention_context": attention_context,
    "attention_mean": attention_mean,
    "attention_weights": attention_weights,
    "average": _average,
    "concatenate": _concatenate,
    "constant": _constant,
    "dense": _dense,
    "divide": _float_arithmetic("Div"),
    "embedding": _embedding,
    "exp": lambda g, op, x: g.op("Exp", g.floats(x)),
    "expand_dims": _expand_dims,
    "is_nan": _unary("IsNaN"),
    "keep": _keep,
    "layer_norm": _layer_norm,
    "log": lambda g, op, x: g.op("Log", g.floats(x)),
    "logical_and": _logic("And"),
    "logical_not": lambda g, op, x: g.op("Not", g.cast(x, BOOL)),
    "logical_or": _logic("Or"),
    "maximum": _arithmetic("Max"),
    "minimum": _arithmetic("Min"),
    "multiply": _arithmetic("Mul"),
    "negative": _unary("Neg"),
    "not_equal": _not_equal,
    "pick": _pick,
    "prelu": _prelu,
    "repeat": _repeat,
    "reshape": _reshape,
    "sqrt": lambda g, op, x: g.op("Sqrt", g.floats(x)),
    "square": lambda g, op, x: g.op("Mul", x, x),
    "subtract": _arithmetic("Sub"),
    "take": _take,
    "unit_norm": _unit_norm,
    "ones_like": _filled(1),
    "where": _where,
    "zeros_like": _filled(0),
}

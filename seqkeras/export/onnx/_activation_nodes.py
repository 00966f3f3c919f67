"""Write activation functions of Keras with operators of ONNX.

Only basic operators are used, because ONNX Runtime has Softplus, Elu, Gelu and similar ones only in
float32, or the standard has them only in later versions.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from seqkeras.export.onnx._writer import Writer, ints

#: Functions of a whole row, not of each number in it.
ROWWISE = ("glu", "log_softmax", "softmax", "sparsemax")


def _elu(g: Writer, x: str, alpha: float = 1.0) -> str:
    below = g.op("Mul", g.op("Sub", g.op("Exp", g.op("Min", x, 0.0)), 1.0), alpha)
    return g.op("Where", g.op("Greater", x, 0.0), x, below)


def _celu(g: Writer, x: str, alpha: float = 1.0) -> str:
    below = g.op("Sub", g.op("Exp", g.op("Div", g.op("Min", x, 0.0), alpha)), 1.0)
    return g.op("Add", g.op("Max", x, 0.0), g.op("Mul", below, alpha))


def _selu(g: Writer, x: str) -> str:
    return g.op("Mul", _elu(g, x, 1.6732632423543772), 1.0507009873554805)


def _gelu(g: Writer, x: str, approximate: bool = False) -> str:
    if approximate:
        cubed = g.op("Mul", g.op("Mul", g.op("Mul", x, x), x), 0.044715)
        inner = g.op("Tanh", g.op("Mul", g.op("Add", x, cubed), math.sqrt(2 / math.pi)))
    else:
        inner = g.op("Erf", g.op("Mul", x, 1 / math.sqrt(2)))
    return g.op("Mul", g.op("Mul", x, 0.5), g.op("Add", inner, 1.0))


def _glu(g: Writer, x: str) -> str:
    value, gate = g.ops("Split", x, count=2, axis=-1)
    return g.op("Mul", value, g.op("Sigmoid", gate))


def _hard_shrink(g: Writer, x: str, threshold: float = 0.5) -> str:
    return g.op("Where", g.op("Greater", g.op("Abs", x), threshold), x, 0.0)


def _hard_sigmoid(g: Writer, x: str) -> str:
    return _clip(g, g.op("Add", g.op("Mul", x, 1 / 6), 0.5), 0.0, 1.0)


def _leaky_relu(g: Writer, x: str, negative_slope: float = 0.2) -> str:
    return g.op("Where", g.op("Greater", x, 0.0), x, g.op("Mul", x, negative_slope))


def _softplus(g: Writer, x: str) -> str:
    tail = g.op("Log", g.op("Add", g.op("Exp", g.op("Neg", g.op("Abs", x))), 1.0))
    return g.op("Add", g.op("Max", x, 0.0), tail)


def _relu(
    g: Writer,
    x: str,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> str:
    y = _threshold(g, x, threshold, 0.0) if threshold else g.op("Relu", x)
    if max_value is not None:
        y = _clip(g, y, 0.0, max_value)
    if not negative_slope:
        return y
    below = g.op("Max", g.op("Sub", g.op("Neg", x), -threshold), 0.0)
    return g.op("Sub", y, g.op("Mul", below, negative_slope))


def _soft_shrink(g: Writer, x: str, threshold: float = 0.5) -> str:
    rest = g.op("Max", g.op("Sub", g.op("Abs", x), threshold), 0.0)
    return g.op("Mul", g.op("Sign", x), rest)


def _sparse_plus(g: Writer, x: str) -> str:
    root = g.op("Add", g.op("Max", x, -1.0), 1.0)
    return g.op("Where", g.op("Less", x, 1.0), g.op("Mul", g.op("Mul", root, root), 0.25), x)


def _sparsemax(g: Writer, x: str) -> str:
    """Write sparsemax as `runtime._activations` computes it, which follows Keras."""
    width = g.op("Slice", g.op("Shape", x), ints(-1), ints(2**62))
    falling, _ = g.ops("TopK", x, width, count=2, axis=-1)
    sums = g.op("CumSum", falling, np.array(-1))
    ranks = g.op("CumSum", g.op("Expand", np.ones(1, g.dtype_of(x)), width), np.array(0))
    inside = g.op("Greater", falling, g.op("Div", g.op("Sub", sums, 1.0), ranks))
    count = g.op("ReduceSum", g.cast(inside, g.dtype_of(x)), ints(-1))
    total = g.op("ReduceSum", g.op("Where", inside, sums, 0.0), ints(-1))
    level = g.op("Div", g.op("Sub", total, 1.0), count)
    return g.op("Max", g.op("Sub", x, level), 0.0)


def _squareplus(g: Writer, x: str, b: float = 4) -> str:
    root = g.op("Sqrt", g.op("Add", g.op("Mul", x, x), float(b)))
    return g.op("Mul", g.op("Add", x, root), 0.5)


def _threshold(g: Writer, x: str, threshold: float, default_value: float) -> str:
    return g.op("Where", g.op("Greater", x, threshold), x, default_value)


def _clip(g: Writer, x: str, low: float, high: float) -> str:
    return g.op("Clip", x, low, high)


def _operator(op: str, **attributes: Any) -> Callable[..., str]:
    return lambda g, x: g.op(op, x, **attributes)


def _times(factor: Callable[[Writer, str], str]) -> Callable[..., str]:
    return lambda g, x: g.op("Mul", x, factor(g, x))


#: The functions of `runtime._activations.ACTIVATIONS`, each with its options.
ACTIVATIONS: dict[str, Callable[..., str]] = {
    "celu": _celu,
    "elu": _elu,
    "exponential": _operator("Exp"),
    "gelu": _gelu,
    "glu": _glu,
    "hard_shrink": _hard_shrink,
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": _times(_hard_sigmoid),
    "hard_tanh": lambda g, x: _clip(g, x, -1.0, 1.0),
    "leaky_relu": _leaky_relu,
    "linear": lambda g, x: x,
    "log_sigmoid": lambda g, x: g.op("Neg", _softplus(g, g.op("Neg", x))),
    "log_softmax": _operator("LogSoftmax", axis=-1),
    "mish": _times(lambda g, x: g.op("Tanh", _softplus(g, x))),
    "relu": _relu,
    "relu6": lambda g, x: _clip(g, x, 0.0, 6.0),
    "selu": _selu,
    "sigmoid": _operator("Sigmoid"),
    "silu": _times(_operator("Sigmoid")),
    "soft_shrink": _soft_shrink,
    "softmax": _operator("Softmax", axis=-1),
    "softplus": _softplus,
    "softsign": lambda g, x: g.op("Div", x, g.op("Add", g.op("Abs", x), 1.0)),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda g, x: _clip(g, g.op("Mul", g.op("Add", x, 1.0), 0.5), 0.0, 1.0),
    "sparsemax": _sparsemax,
    "squareplus": _squareplus,
    "tanh": _operator("Tanh"),
    "tanh_shrink": lambda g, x: g.op("Sub", x, g.op("Tanh", x)),
    "threshold": _threshold,
}


def activate(g: Writer, x: str, name: str, options: Mapping[str, Any] | None = None) -> str:
    """Write an activation function of Keras."""
    return ACTIVATIONS[name](g, g.floats(x), **(options or {}))

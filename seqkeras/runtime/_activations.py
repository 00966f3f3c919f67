"""The activation functions of Keras, in NumPy.

Each takes and returns an array of any shape; functions of a whole row, such as softmax, use the
last axis. The formulas are those of https://keras.io/api/layers/activations, in forms that do not
overflow.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from seqkeras._arrays import Array


def sigmoid(x: Array) -> Array:
    """Compute 1 / (1 + exp(-x))."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def softplus(x: Array) -> Array:
    """Compute log(1 + exp(x))."""
    return np.logaddexp(x, x.dtype.type(0))


def relu(
    x: Array,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Array:
    """Compute x above the threshold, and `negative_slope * (x - threshold)` below."""
    above = np.where(x > threshold, x, 0.0).astype(x.dtype)
    if max_value is not None:
        above = np.clip(above, 0.0, max_value)
    if not negative_slope:
        return above
    return above - negative_slope * np.maximum(threshold - x, 0.0)


def softmax(x: Array) -> Array:
    """Compute exp(x) divided by its sum along the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    """Compute the logarithm of softmax."""
    lower = x - x.max(axis=-1, keepdims=True)
    return lower - np.log(np.exp(lower).sum(axis=-1, keepdims=True))


def sparsemax(x: Array) -> Array:
    """Compute sparsemax as Keras 3 does (Martins and Astudillo 2016, arXiv 1602.02068).

    Keras adds all partial sums, while the paper takes the last one; a model trained with Keras
    needs the former.
    """
    falling = np.flip(np.sort(x, axis=-1), axis=-1)
    sums = np.cumsum(falling, axis=-1)
    ranks = np.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    support = falling > (sums - 1) / ranks
    count = support.sum(axis=-1, keepdims=True).astype(x.dtype)
    total = np.where(support, sums, x.dtype.type(0)).sum(axis=-1, keepdims=True)
    return np.maximum(x - (total - 1) / count, x.dtype.type(0))


def gelu(x: Array, approximate: bool = False) -> Array:
    """Compute x times the normal distribution function at x (arXiv 1606.08415)."""
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.asarray(_erf(x / math.sqrt(2)), dtype=x.dtype))


def glu(x: Array) -> Array:
    """Multiply the first half of the last axis by the sigmoid of the second."""
    value, gate = np.split(x, 2, axis=-1)
    return value * sigmoid(gate)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """Compute x above 0, alpha * (exp(x) - 1) below."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))).astype(x.dtype)


def celu(x: Array, alpha: float = 1.0) -> Array:
    """Compute x above 0, alpha * (exp(x / alpha) - 1) below."""
    return np.maximum(x, 0.0) + alpha * np.expm1(np.minimum(x, 0.0) / alpha)


def selu(x: Array) -> Array:
    """Compute the self-normalizing elu (Klambauer et al. 2017, arXiv 1706.02515)."""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def hard_sigmoid(x: Array) -> Array:
    """Compute x / 6 + 1 / 2, clipped to [0, 1]."""
    return np.clip(x / 6 + 0.5, 0.0, 1.0)


def soft_shrink(x: Array, threshold: float = 0.5) -> Array:
    """Move x toward 0 by the threshold."""
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0.0)


def hard_shrink(x: Array, threshold: float = 0.5) -> Array:
    """Compute x where its distance from 0 exceeds the threshold, else 0."""
    return np.where(np.abs(x) > threshold, x, 0.0).astype(x.dtype)


def threshold(x: Array, threshold: float, default_value: float) -> Array:
    """Compute x above the threshold, else the default value."""
    return np.where(x > threshold, x, default_value).astype(x.dtype)


def sparse_plus(x: Array) -> Array:
    """Compute 0 below -1, x above 1, and a parabola in between."""
    return np.where(x < 1, 0.25 * (np.maximum(x, -1.0) + 1) ** 2, x).astype(x.dtype)


_erf = np.frompyfunc(math.erf, 1, 1)

#: Every activation of Keras by its name there.
ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "celu": celu,
    "elu": elu,
    "exponential": np.exp,
    "gelu": gelu,
    "glu": glu,
    "hard_shrink": hard_shrink,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": lambda x: x * hard_sigmoid(x),
    "hard_tanh": lambda x: np.clip(x, -1.0, 1.0),
    "leaky_relu": lambda x, negative_slope=0.2: np.where(x > 0, x, negative_slope * x),
    "linear": lambda x: x,
    "log_sigmoid": lambda x: -softplus(-x),
    "log_softmax": log_softmax,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "relu": relu,
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "selu": selu,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "soft_shrink": soft_shrink,
    "softmax": softmax,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": lambda x: np.clip(0.5 * (x + 1), 0.0, 1.0),
    "sparsemax": sparsemax,
    "squareplus": lambda x, b=4: (x + np.sqrt(x * x + b)) / 2,
    "tanh": np.tanh,
    "tanh_shrink": lambda x: x - np.tanh(x),
    "threshold": threshold,
}


def activation(name: str, options: Mapping[str, Any] | None = None) -> Callable[[Array], Array]:
    """Return the function of this name, with its options.

    Raises:
        KeyError: the name is unknown.
        ValueError: an option is not a number.
    """
    function = ACTIVATIONS[name]
    for option, value in (options or {}).items():
        if value is not None and not isinstance(value, bool | int | float):
            raise ValueError(f"{option} of {name} is not a number")
    return partial(function, **options) if options else function

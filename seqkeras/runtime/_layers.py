"""The layers of a program that have no state, in NumPy.

Each entry of `LAYERS` takes the options, the weights and the shapes of its inputs (without the
batch axis), checks them, and returns a function of arrays `(batch, ...)` and the shape of its
output. Axes count from the end, and so are the same with and without a time axis.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, TypeAlias

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import bad_data, check_one_of
from seqkeras.runtime._activations import activation
from seqkeras.runtime._attention_layers import (
    attention_context,
    attention_mean,
    attention_weights,
)

Shape: TypeAlias = tuple[int, ...]
Function: TypeAlias = Callable[..., Array]
Options: TypeAlias = Mapping[str, Any]
Weights: TypeAlias = Mapping[str, Array]
Layer: TypeAlias = tuple[Function, Shape]

#: Limit for the numbers of all values of a model together, for one row of a batch.
MAX_ELEMENTS = 2**24


def dense(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Compute x @ kernel + bias, and an activation."""
    (shape,) = shapes
    kernel = weights["kernel"]
    bias = weights.get("bias")
    _fits(kernel.ndim == 2 and shape[-1:] == kernel.shape[:1], "kernel", kernel.shape, shape)
    units = kernel.shape[1]
    _fits(bias is None or bias.shape == (units,), "bias", getattr(bias, "shape", None), shape)
    apply, output_shape = activate(options, {}, [(*shape[:-1], units)])
    linear = options["activation"] == "linear"
    flat = len(shape) == 1
    # With a row axis, the sum of a batch of one row needs no broadcast.
    row = bias[np.newaxis] if bias is not None else None

    def run(x: Array) -> Array:
        y = x.dot(kernel) if flat else x.reshape(-1, len(kernel)).dot(kernel)
        if row is not None:
            y = np.add(y, row)
        if not flat:
            y = y.reshape(*x.shape[:-1], units)
        return y if linear else apply(y)

    return run, output_shape


def embedding(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Look up rows of a table by their number."""
    table = weights["embeddings"]
    _fits(table.ndim == 2, "embeddings", table.shape, shapes[0])
    count = len(table)

    def run(x: Array) -> Array:
        ids = x.astype(np.intp)
        if ids.size and not 0 <= ids.min() <= ids.max() < count:
            wrong = int(ids[(ids < 0) | (ids >= count)][0])
            raise bad_data("Ids", str(wrong), f"be 0 to {count - 1}, the rows of the embedding")
        return np.asarray(table[ids])

    return run, (*shapes[0], table.shape[1])


def activate(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Apply an activation function."""
    (shape,) = shapes
    function = activation(options["activation"], options.get("activation_options"))
    if options["activation"] == "glu":
        return function, (*shape[:-1], shape[-1] // 2)
    return function, shape


def prelu(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Compute x above 0, and x times a learned slope below."""
    slope = weights["alpha"]
    return lambda x: np.where(x > 0, x, slope * x), _of_rank(shapes[0], [slope.shape])


def affine(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Compute (x - center) * scale + offset, for scalers and fixed normalizations."""
    center = weights["center"]
    scale = weights["scale"]
    offset = weights["offset"]
    shape = _of_rank(shapes[0], [center.shape, scale.shape, offset.shape])
    dtype = np.dtype(check_one_of("dtype", options["dtype"], ("float32", "float64")))

    def run(x: Array) -> Array:
        y = np.multiply(np.subtract(x, center), scale)
        return np.add(y, offset).astype(dtype, copy=False)

    return run, shape


def layer_norm(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Scale each row by its standard deviation, after subtracting its mean unless `rms`.

    Ba et al. 2016 (arXiv 1607.06450).
    """
    (shape,) = shapes
    epsilon = float(options["epsilon"])
    centered = not options["rms"]
    gamma = weights.get("gamma", np.ones(1, np.float32))
    beta = weights.get("beta", np.zeros(1, np.float32))
    count = options["axes"]
    _fits(type(count) is int and 0 < count <= len(shape), "axes", count, shape)
    axes = tuple(range(-count, 0))

    def run(x: Array) -> Array:
        if centered:
            x = x - x.mean(axis=axes, keepdims=True)
        spread = np.sqrt(np.square(x).mean(axis=axes, keepdims=True) + epsilon)
        return x / spread * gamma + beta

    return run, _of_rank(shape, [gamma.shape, beta.shape])


def unit_norm(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Scale each row to length 1."""
    return lambda x: x / np.sqrt(np.maximum(_sum(x * x), 1e-12)), shapes[0]


def concatenate(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Concatenate the inputs along an axis."""
    axis = _axis(options["axis"], shapes[0])
    rests = {(shape[:axis], shape[axis:][1:]) for shape in shapes}
    _fits(len(rests) == 1, "inputs", shapes, shapes[0])
    width = sum(shape[axis] for shape in shapes)
    rest = shapes[0]
    shape = (*rest[: len(rest) + axis], width, *rest[axis:][1:])
    return lambda *xs: np.concatenate(xs, axis=axis), shape


def _unary(function: Callable[..., Any]) -> Callable[[Options, Weights, Any], Layer]:
    def make(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
        (shape,) = shapes
        return lambda x: function(x), shape  # only x: a ufunc writes into a second argument

    return make


def _joining(function: Callable[..., Any]) -> Callable[[Options, Weights, Any], Layer]:
    def make(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
        _fits(len(shapes) > 1, "inputs", len(shapes), shapes)
        return lambda first, *others: reduce(function, others, first), _broadcast(shapes)

    return make


def average(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Compute the mean of all inputs."""
    return lambda *xs: reduce(np.add, xs) / len(xs), _broadcast(shapes)


def constant(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Return numbers that are part of the model."""
    value = weights["value"]
    return lambda: value[np.newaxis], value.shape


def reshape(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Change the shape; one length can be -1, and is computed from the others."""
    lengths = [int(length) for length in options["shape"]]
    known = math.prod(length for length in lengths if length != -1)
    _fits(known > 0 and lengths.count(-1) <= 1, "shape", lengths, shapes[0])
    shape = tuple(math.prod(shapes[0]) // known if length == -1 else length for length in lengths)
    _fits(math.prod(shape) == math.prod(shapes[0]), "shape", lengths, shapes[0])
    return lambda x: x.reshape(len(x), *shape), shape


def pick(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Take a slice `[start, stop, step]`, or a single position, along each axis."""
    parts: list[Any] = [
        part if isinstance(part, int) else slice(*(int(n) if n is not None else None for n in part))
        for part in options["parts"]
    ]
    _fits(len(parts) <= len(shapes[0]), "parts", parts, shapes[0])
    index = (slice(None), *parts)
    # Index an array once, so that a bad index raises IndexError when the program is loaded.
    shape = np.broadcast_to(np.empty(1, bool), (1, *shapes[0]))[index].shape[1:]
    return lambda x: x[index], shape


def take(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Take positions along an axis by their numbers."""
    indices = weights["indices"].astype(np.int64)
    axis = _axis(options["axis"], shapes[0])
    length = shapes[0][axis]
    inside = indices.size and -length <= indices.min() <= indices.max() < length
    _fits(bool(inside), "indices", f"of shape {indices.shape}", shapes[0])
    before = len(shapes[0]) + axis
    shape = (*shapes[0][:before], *indices.shape, *shapes[0][before + 1 :])
    return lambda x: np.take(x, indices, axis=axis), shape


def expand_dims(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Insert an axis of length 1."""
    axis = _axis(options["axis"], (1, *shapes[0]))
    before = len(shapes[0]) + 1 + axis
    shape = (*shapes[0][:before], 1, *shapes[0][before:])
    return lambda x: np.expand_dims(x, axis), shape


def repeat(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Repeat `(batch, features)` at each of `times` timesteps."""
    times = int(options["times"])
    _fits(times > 0, "times", times, shapes[0])
    shape = (times, *shapes[0])
    return lambda x: np.broadcast_to(x[:, np.newaxis], (len(x), *shape)), shape


def any_of(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Compute whether any element along an axis is True."""
    axis = _axis(options["axis"], shapes[0])
    keepdims = bool(options["keepdims"])
    before = len(shapes[0]) + axis
    middle = (1,) if keepdims else ()
    shape = (*shapes[0][:before], *middle, *shapes[0][before + 1 :])
    return lambda x: x.any(axis=axis, keepdims=keepdims), shape


def keep(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Compute x where the mask is True, else 0."""
    x, mask = shapes
    _fits(x[:-1] == mask, "mask", mask, x)
    return lambda x, mask: np.where(mask[..., np.newaxis], x, x.dtype.type(0)), x


def where(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Compute the second input where the first is True, else the third."""
    _fits(len(shapes) == 3, "inputs", len(shapes), shapes)
    return np.where, _broadcast(shapes)


def _axis(axis: Any, shape: Shape) -> int:
    _fits(isinstance(axis, int) and -len(shape) <= axis < 0, "axis", axis, shape)
    return int(axis)


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    return np.broadcast_shapes(*shapes)


def _of_rank(shape: Shape, weights: Sequence[Shape]) -> Shape:
    """Return the shape after broadcasting weights, which must not reach the batch axis."""
    _fits(all(len(weight) <= len(shape) for weight in weights), "weights", weights, shape)
    return _broadcast([shape, *weights])


def _sum(x: Array) -> Array:
    return np.asarray(x.sum(axis=-1, keepdims=True))


def _fits(condition: bool, name: str, value: Any, shape: Any) -> None:
    if not condition:
        raise ValueError(f"{name} {value} does not fit an input of shape {shape}")


#: Functions of one array, and of two or more.
UNARY: dict[str, Callable[..., Any]] = {
    "absolute": np.absolute,
    "exp": np.exp,
    "is_nan": np.isnan,
    "log": np.log,
    "logical_not": np.logical_not,
    "negative": np.negative,
    "ones_like": np.ones_like,
    "sqrt": np.sqrt,
    "square": np.square,
    "zeros_like": np.zeros_like,
}
JOINING: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "divide": np.divide,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "multiply": np.multiply,
    "not_equal": np.not_equal,
    "subtract": np.subtract,
}

#: Every layer of a program except the recurrent ones.
LAYERS: dict[str, Callable[[Options, Weights, Sequence[Shape]], Layer]] = {
    **{name: _unary(function) for name, function in UNARY.items()},
    **{name: _joining(function) for name, function in JOINING.items()},
    "activation": activate,
    "affine": affine,
    "any": any_of,
    "attention_context": attention_context,
    "attention_mean": attention_mean,
    "attention_weights": attention_weights,
    "average": average,
    "concatenate": concatenate,
    "constant": constant,
    "dense": dense,
    "embedding": embedding,
    "expand_dims": expand_dims,
    "keep": keep,
    "layer_norm": layer_norm,
    "pick": pick,
    "prelu": prelu,
    "repeat": repeat,
    "reshape": reshape,
    "take": take,
    "unit_norm": unit_norm,
    "where": where,
}


def make_layer(op: str, options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Return the function of a layer, and the shape of its output.

    Raises:
        KeyError: the layer is unknown.
        ValueError: weights, options and inputs do not fit each other.
    """
    function, shape = LAYERS[op](options, weights, shapes)
    return function, tuple(int(length) for length in shape)

"""What stands between recurrent layers in a program: layers without a state, in NumPy.

Each entry of `LAYERS` takes the options, the weights and the shapes of its inputs (without the
batch axis), checks that they fit, and gives a function of arrays `(batch, ...)` and the shape that
it makes. Axes count from the end, so that they are the same with a time axis and without.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, TypeAlias

import numpy as np

from seqkeras._checks import check_one_of
from seqkeras.errors import DataError
from seqkeras.runtime._activations import Array, activation

Shape: TypeAlias = tuple[int, ...]
Function: TypeAlias = Callable[..., Array]
Options: TypeAlias = Mapping[str, Any]
Weights: TypeAlias = Mapping[str, Array]
Layer: TypeAlias = tuple[Function, Shape]

#: More numbers than all values of a model have for one row of a batch.
MAX_ELEMENTS = 2**24


def dense(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """x @ kernel + bias, and an activation."""
    (shape,), kernel, bias = shapes, weights["kernel"], weights.get("bias")
    _fits(kernel.ndim == 2 and shape[-1:] == kernel.shape[:1], "kernel", kernel.shape, shape)
    units = kernel.shape[1]
    _fits(bias is None or bias.shape == (units,), "bias", getattr(bias, "shape", None), shape)
    shown, made = activate(options, {}, [(*shape[:-1], units)])
    linear = options["activation"] == "linear"
    flat = len(shape) == 1
    row = None if bias is None else bias[np.newaxis]  # of one row, adding it broadcasts nothing

    def run(x: Array) -> Array:
        y = x.dot(kernel) if flat else x.reshape(-1, len(kernel)).dot(kernel)
        if row is not None:
            y = np.add(y, row)
        if not flat:
            y = y.reshape(*x.shape[:-1], units)
        return y if linear else shown(y)

    return run, made


def embedding(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Rows of a table by their number."""
    table = weights["embeddings"]
    _fits(table.ndim == 2, "embeddings", table.shape, shapes[0])
    count = len(table)

    def run(x: Array) -> Array:
        ids = x.astype(np.intp)
        if ids.size and not 0 <= ids.min() <= ids.max() < count:
            wrong = int(ids[(ids < 0) | (ids >= count)][0])
            raise DataError(
                f"An id must be in 0 .. {count - 1}, as in the embedding. Got: {wrong}."
            )
        return np.asarray(table[ids])

    return run, (*shapes[0], table.shape[1])


def activate(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """An activation function."""
    (shape,) = shapes
    function = activation(options["activation"], options.get("activation_options"))
    halved = options["activation"] == "glu"
    return function, (*shape[:-1], shape[-1] // 2) if halved else shape


def prelu(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """x above 0, a learned slope below."""
    slope = weights["alpha"]
    return lambda x: np.where(x > 0, x, slope * x), _broadcast([*shapes, slope.shape])


def affine(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """(x - center) * scale + offset: scalers, and normalization by numbers that are fixed."""
    center, scale, offset = weights["center"], weights["scale"], weights["offset"]
    shape = _broadcast([*shapes, center.shape, scale.shape, offset.shape])
    dtype = np.dtype(check_one_of("dtype", options["dtype"], ("float32", "float64")))

    def run(x: Array) -> Array:
        y = np.multiply(np.subtract(x, center), scale)
        return np.add(y, offset).astype(dtype, copy=False)

    return run, shape


def layer_norm(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Each row by its own mean and deviation (Ba et al. 2016, arXiv 1607.06450); RMS without."""
    (shape,), epsilon, centered = shapes, float(options["epsilon"]), not options["rms"]
    ones = {"gamma": np.ones(1, np.float32), "beta": np.zeros(1, np.float32)}
    gamma, beta = (weights.get(name, one) for name, one in ones.items())
    axes = tuple(range(-int(options["axes"]), 0))
    _fits(0 < len(axes) <= len(shape), "axes", axes, shape)

    def run(x: Array) -> Array:
        if centered:
            x = x - x.mean(axis=axes, keepdims=True)
        spread = np.sqrt(np.square(x).mean(axis=axes, keepdims=True) + epsilon)
        return x / spread * gamma + beta

    return run, _broadcast([shape, gamma.shape, beta.shape])


def unit_norm(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Each row brought to length 1."""
    return lambda x: x / np.sqrt(np.maximum(_sum(x * x), 1e-12)), shapes[0]


def concatenate(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Inputs side by side along an axis."""
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
        return lambda x: function(x), shape  # a second argument would be written into

    return make


def _joining(function: Callable[..., Any]) -> Callable[[Options, Weights, Any], Layer]:
    def make(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
        _fits(len(shapes) > 1, "inputs", len(shapes), shapes)
        return lambda first, *others: reduce(function, others, first), _broadcast(shapes)

    return make


def average(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """The mean of all inputs."""
    return lambda *xs: reduce(np.add, xs) / len(xs), _broadcast(shapes)


def constant(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Numbers that are part of the model."""
    value = weights["value"]
    return lambda: value[np.newaxis], value.shape


def reshape(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """The same numbers in another shape, one length of which may be -1: what is left."""
    given = [int(length) for length in options["shape"]]
    known = math.prod(length for length in given if length != -1)
    _fits(known > 0 and given.count(-1) <= 1, "shape", given, shapes[0])
    shape = tuple(math.prod(shapes[0]) // known if length == -1 else length for length in given)
    _fits(math.prod(shape) == math.prod(shapes[0]), "shape", given, shapes[0])
    return lambda x: x.reshape(len(x), *shape), shape


def pick(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """A slice `[start, stop, step]`, or one place, along each axis."""
    parts: list[Any] = [
        part if isinstance(part, int) else slice(*(None if n is None else int(n) for n in part))
        for part in options["parts"]
    ]
    _fits(len(parts) <= len(shapes[0]), "parts", parts, shapes[0])
    index = (slice(None), *parts)
    # An index beyond the end is found here: an IndexError, at loading.
    shape = np.broadcast_to(np.empty(1, bool), (1, *shapes[0]))[index].shape[1:]
    return lambda x: x[index], shape


def take(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """Places along an axis, by their numbers."""
    places, axis = weights["indices"].astype(np.int64), _axis(options["axis"], shapes[0])
    inside = places.size and -shapes[0][axis] <= places.min() <= places.max() < shapes[0][axis]
    _fits(bool(inside), "indices", places.tolist(), shapes[0])
    rest = len(shapes[0]) + axis
    shape = (*shapes[0][:rest], *places.shape, *shapes[0][rest + 1 :])
    return lambda x: np.take(x, places, axis=axis), shape


def expand_dims(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """One more axis, of length 1."""
    axis = _axis(options["axis"], (1, *shapes[0]))
    at = len(shapes[0]) + 1 + axis
    shape = (*shapes[0][:at], 1, *shapes[0][at:])
    return lambda x: np.expand_dims(x, axis), shape


def repeat(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """`(batch, features)` at each of `times` timesteps."""
    times = int(options["times"])
    _fits(times > 0, "times", times, shapes[0])
    shape = (times, *shapes[0])
    return lambda x: np.broadcast_to(x[:, np.newaxis], (len(x), *shape)), shape


def any_of(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """True where any place along an axis is."""
    axis, kept = _axis(options["axis"], shapes[0]), bool(options["keepdims"])
    at = len(shapes[0]) + axis
    shape = (*shapes[0][:at], *((1,) if kept else ()), *shapes[0][at + 1 :])
    return lambda x: x.any(axis=axis, keepdims=kept), shape


def keep(options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """x where the mask is True, else 0."""
    x, mask = shapes
    _fits(x[:-1] == mask, "mask", mask, x)
    return lambda x, mask: np.where(mask[..., np.newaxis], x, x.dtype.type(0)), x


def _axis(axis: Any, shape: Shape) -> int:
    _fits(isinstance(axis, int) and -len(shape) <= axis < 0, "axis", axis, shape)
    return int(axis)


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    return np.broadcast_shapes(*shapes)


def _sum(x: Array) -> Array:
    return np.asarray(x.sum(axis=-1, keepdims=True))


def _fits(right: bool, name: str, got: Any, shape: Any) -> None:
    if not right:
        raise ValueError(f"{name} {got} does not fit an input of {shape}")


#: Functions of one array, and of two or more.
UNARY: dict[str, Callable[..., Any]] = {
    "absolute": np.absolute,
    "exp": np.exp,
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

#: Every layer of a program but the recurrent ones.
LAYERS: dict[str, Callable[[Options, Weights, Sequence[Shape]], Layer]] = {
    **{name: _unary(function) for name, function in UNARY.items()},
    **{name: _joining(function) for name, function in JOINING.items()},
    "activation": activate,
    "affine": affine,
    "any": any_of,
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
}


def make_layer(op: str, options: Options, weights: Weights, shapes: Sequence[Shape]) -> Layer:
    """The function of a layer and the shape that it makes, both checked.

    Raises:
        KeyError: there is no such layer.
        ValueError: weights, options and inputs do not fit each other.
    """
    function, shape = LAYERS[op](options, weights, shapes)
    return function, tuple(int(length) for length in shape)

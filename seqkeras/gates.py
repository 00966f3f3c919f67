"""The order of the gates in each library's recurrent weights, and conversion between libraries.

The gates of a cell are concatenated in one kernel, in an order that differs between libraries.
Here each gate is a letter: for an LSTM `i` input, `f` forget, `o` output and `c` the candidate
(`g` in PyTorch); for a GRU `z` update, `r` reset and `h` the candidate (`n` in PyTorch).

===========  =================  ================  ===============  ================
library      LSTM               GRU, reset_after  GRU              kernel
===========  =================  ================  ===============  ================
Keras        i f c o, 1 bias    z r h, 2 biases   z r h, 1 bias    features x gates
ONNX         i o f c, 2 biases  z r h, 2 biases   z r h, 2 biases  gates x features
torch        i f c o, 2 biases  r z h, 2 biases   none             gates x features
cuDNN        i f c o, 2 biases  r z h, 2 biases   none             gates x features
keras_cudnn  i f c o, 2 biases  z r h, 2 biases   none             gates x features
===========  =================  ================  ===============  ================

The last row is for the layers CuDNNLSTM and CuDNNGRU of Keras 2, which fold the rows of each gate
into another shape; `seqkeras.conversion.from_cudnn` unfolds them.

The first of two biases is added to the product of the input, the second to that of the state. In a
GRU with `reset_after`, which ONNX calls `linear_before_reset`, the reset gate acts between the two,
so they cannot be merged; everywhere else only their sum matters.

Checkpoints of TensorFlow 1 (`tf.nn.rnn_cell`) hold one kernel for the input and the state together,
and the LSTM adds a forget bias when it runs: see `lstm_from_tensorflow_1`, `gru_from_tensorflow_1`.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, check_one_of


class Layout(NamedTuple):
    """The layout of the weights of a cell in a library.

    Attributes:
        gates: a letter for each gate, in order.
        biases: number of biases; if 2, the bias of the input comes before that of the state.
        transposed: True for kernels `(gates * units, features)`, False for
            `(features, gates * units)`.
    """

    gates: str
    biases: int
    transposed: bool


class Weights(NamedTuple):
    """The weights of a recurrent layer.

    Attributes:
        kernel: weights that multiply the input.
        recurrent_kernel: weights that multiply the state.
        bias: `(gates * units,)`, `(2, gates * units)` for two biases, or None.
    """

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None


#: The layout of each cell, by library.
LAYOUTS: dict[str, dict[str, Layout]] = {
    "keras": {
        "lstm": Layout("ifco", 1, False),
        "gru": Layout("zrh", 1, False),
        "gru_reset_after": Layout("zrh", 2, False),
        "simple_rnn": Layout("h", 1, False),
    },
    "onnx": {
        "lstm": Layout("iofc", 2, True),
        "gru": Layout("zrh", 2, True),
        "gru_reset_after": Layout("zrh", 2, True),
        "simple_rnn": Layout("h", 2, True),
    },
    "torch": {
        "lstm": Layout("ifco", 2, True),
        "gru_reset_after": Layout("rzh", 2, True),
        "simple_rnn": Layout("h", 2, True),
    },
    "cudnn": {
        "lstm": Layout("ifco", 2, True),
        "gru_reset_after": Layout("rzh", 2, True),
        "simple_rnn": Layout("h", 2, True),
    },
    "keras_cudnn": {
        "lstm": Layout("ifco", 2, True),
        "gru_reset_after": Layout("zrh", 2, True),
    },
}


def reorder(array: npt.ArrayLike, *, source: str, target: str, axis: int = -1) -> Array:
    """Change the order of gates.

    Args:
        array: an array of length `gates * units` along `axis`.
        source: the current order, a letter for each gate.
        target: the new order of the same letters.
        axis: axis of the gates, default -1.

    Raises:
        ArgumentError: the letters differ or repeat, the axis does not exist, or its length is not
            a multiple of the number of gates.

    Example:
        >>> reorder([1, 1, 2, 2, 3, 3, 4, 4], source="ifco", target="iofc")
        array([1, 1, 4, 4, 2, 2, 3, 3])
    """
    array = np.asarray(array)
    if sorted(source) != sorted(target) or len(set(source)) != len(source):
        raise bad_argument("target", target, f"the gates of source={source!r} in another order")
    if not -array.ndim <= axis < array.ndim or array.shape[axis] % len(source):
        expected = f"an array whose axis {axis} holds {len(source)} gates, {source!r}"
        raise bad_argument("array", Description(f"shape {array.shape}"), expected)
    parts = dict(zip(source, np.split(array, len(source), axis=axis), strict=True))
    return np.concatenate([parts[gate] for gate in target], axis=axis)


def convert(weights: Weights, *, cell: str, source: str, target: str) -> Weights:
    """Convert recurrent weights from the layout of one library to that of another.

    Args:
        weights: kernel, recurrent kernel and bias (or None), in the layout of `source`.
        cell: `"lstm"`, `"gru"`, `"gru_reset_after"` or `"simple_rnn"`.
        source: `"keras"`, `"onnx"`, `"torch"`, `"cudnn"` or `"keras_cudnn"`.
        target: one of the same names.

    Returns:
        The weights in the layout of `target`. If only `target` has a bias of the state, that bias
        is 0.

    Raises:
        ArgumentError: a library does not have the cell, or the shapes do not fit.

    Example:
        >>> ones = Weights(np.ones((3, 8)), np.ones((2, 8)), np.ones(8))
        >>> [array.shape for array in convert(ones, cell="lstm", source="keras", target="onnx")]
        [(8, 3), (8, 2), (2, 8)]
    """
    old = _layout(source, cell, "source")
    new = _layout(target, cell, "target")
    kernels = [np.asarray(kernel) for kernel in weights[:2]]
    if old.transposed:
        kernels = [kernel.T for kernel in kernels]
    _check(kernels, weights.bias, old)
    kernel, recurrent = (reorder(array, source=old.gates, target=new.gates) for array in kernels)
    bias = _biases(np.asarray(weights.bias), old, new) if weights.bias is not None else None
    if new.transposed:
        kernel = kernel.T.copy()
        recurrent = recurrent.T.copy()
    return Weights(kernel, recurrent, bias)


def lstm_from_tensorflow_1(
    kernel: npt.ArrayLike,
    bias: npt.ArrayLike,
    *,
    forget_bias: float = 1.0,
    num_proj: int | None = None,
) -> Weights:
    """Return the weights of an LSTM cell of TensorFlow 1 in the layout of Keras.

    For `BasicLSTMCell`, `LSTMCell` and `LSTMBlockCell`, whose gates are in the order i c f o, and
    which add the forget bias when they run. Peepholes and the kernel of a projection are arrays of
    their own in the checkpoint, in the layout of `seqkeras.layers.LSTM`. The state of TensorFlow 1
    is (c, h), that of Keras (h, c).

    Args:
        kernel: `(features + state, 4 * units)`, the variable `kernel` of the cell. The state is h:
            `units` wide, or `num_proj`.
        bias: `(4 * units,)`, the variable `bias`.
        forget_bias: the argument of the cell, default 1.
        num_proj: the argument of the cell, default None, no projection.

    Raises:
        ArgumentError: the shapes do not fit.

    Example:
        >>> weights = lstm_from_tensorflow_1(np.zeros((3 + 2, 8)), np.zeros(8))
        >>> weights.kernel.shape, weights.recurrent_kernel.shape, weights.bias.tolist()
        ((3, 8), (2, 8), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    """
    kernel, bias = np.asarray(kernel), np.asarray(bias)
    units = len(bias) // 4 if bias.ndim == 1 and len(bias) % 4 == 0 else 0
    state = num_proj if num_proj is not None else units
    if not units or kernel.ndim != 2 or kernel.shape[1] != 4 * units or kernel.shape[0] <= state:
        got = f"shapes {kernel.shape} and {bias.shape}"
        expected = "of shape (features + state, 4 * units), with a bias (4 * units,)"
        raise bad_argument("kernel", Description(got), expected)
    kernel, bias = (reorder(array, source="icfo", target="ifco") for array in (kernel, bias))
    bias[units : 2 * units] += forget_bias
    return Weights(kernel[:-state], kernel[-state:], bias)


def gru_from_tensorflow_1(
    gates_kernel: npt.ArrayLike,
    gates_bias: npt.ArrayLike,
    candidate_kernel: npt.ArrayLike,
    candidate_bias: npt.ArrayLike,
) -> Weights:
    """Return the weights of a `GRUCell` of TensorFlow 1 for a Keras GRU with `reset_after=False`.

    Args:
        gates_kernel: `(features + units, 2 * units)`, the variable `gates/kernel`, gates r z.
        gates_bias: `(2 * units,)`, the variable `gates/bias`.
        candidate_kernel: `(features + units, units)`, the variable `candidate/kernel`.
        candidate_bias: `(units,)`, the variable `candidate/bias`.

    Raises:
        ArgumentError: the shapes do not fit.

    Example:
        >>> arrays = np.zeros((5, 4)), np.zeros(4), np.zeros((5, 2)), np.zeros(2)
        >>> [array.shape for array in gru_from_tensorflow_1(*arrays)]
        [(3, 6), (2, 6), (6,)]
    """
    kernels = [np.asarray(gates_kernel), np.asarray(candidate_kernel)]
    biases = [np.asarray(gates_bias), np.asarray(candidate_bias)]
    units = len(biases[1]) if biases[1].ndim == 1 else 0
    rows = kernels[1].shape[0] if kernels[1].ndim == 2 else 0
    shapes = [array.shape for array in (*kernels, *biases)]
    if rows <= units or shapes != [(rows, 2 * units), (rows, units), (2 * units,), (units,)]:
        expected = (
            "of shapes (features + units, 2 * units) and (features + units, units), with biases "
            "(2 * units,) and (units,)"
        )
        actual = Description(f"shapes {shapes}")
        raise bad_argument("gates_kernel, candidate_kernel", actual, expected)
    kernel = reorder(np.concatenate(kernels, axis=1), source="rzh", target="zrh")
    bias = reorder(np.concatenate(biases), source="rzh", target="zrh")
    return Weights(kernel[:-units], kernel[-units:], bias)


def _layout(library: str, cell: str, argument: str) -> Layout:
    cells = LAYOUTS[check_one_of(argument, library, LAYOUTS)]
    if cell not in cells:
        fix = ""
        if cell == "gru":
            fix = f"The GRU of {library} resets after the product: pass cell='gru_reset_after'."
        raise bad_argument("cell", cell, f"one of {', '.join(cells)} for {library}", fix)
    return cells[cell]


def _check(kernels: list[Array], bias: Any, layout: Layout) -> None:
    """Check that the shapes of weights fit; kernels are `(features, gates * units)`."""
    shapes = [kernel.shape for kernel in kernels]
    units = shapes[1][0] if len(shapes[1]) == 2 else 0
    width = len(layout.gates) * units
    biases = [(width,)] if layout.biases == 1 else [(2, width), (2 * width,)]
    fit = len(shapes[0]) == 2 and shapes[0][1] == width and shapes[1] == (units, width)
    if not units or not fit or (bias is not None and np.shape(bias) not in biases):
        got = [*shapes, np.shape(bias) if bias is not None else None]
        expected = f"weights of {len(layout.gates)} gates, {layout.gates!r}, with matching shapes"
        raise bad_argument("weights", Description(f"shapes {got}"), expected)


def _biases(bias: Array, old: Layout, new: Layout) -> Array:
    parts = reorder(bias.reshape(old.biases, -1), source=old.gates, target=new.gates)
    if new.biases == 1:
        return parts.sum(axis=0)
    if old.biases == 2:
        return parts
    return np.concatenate([parts, np.zeros_like(parts)])

"""The order of gates in recurrent weights, library by library, and the way from one to another.

The gates of a cell stand side by side in one kernel, in an order that differs between libraries.
Here each gate is a letter: of an LSTM `i` input, `f` forget, `o` output and `c` the candidate
(`g` in PyTorch); of a GRU `z` update, `r` reset and `h` the candidate (`n` in PyTorch).

===========  =================  ================  ===============  ================
library      LSTM               GRU, reset_after  GRU              kernel
===========  =================  ================  ===============  ================
Keras        i f c o, 1 bias    z r h, 2 biases   z r h, 1 bias    features x gates
ONNX         i o f c, 2 biases  z r h, 2 biases   z r h, 2 biases  gates x features
torch        i f c o, 2 biases  r z h, 2 biases   none             gates x features
cuDNN        i f c o, 2 biases  r z h, 2 biases   none             gates x features
keras_cudnn  i f c o, 2 biases  z r h, 2 biases   none             gates x features
===========  =================  ================  ===============  ================

The last are the layers CuDNNLSTM and CuDNNGRU of Keras 2, which fold the rows of each gate into
another shape; `seqkeras.conversion.from_cudnn` unfolds them.

Of two biases the first is added to the input's product, the second to the state's. In a GRU with
`reset_after`, which ONNX calls `linear_before_reset`, the reset gate acts between the two, so there
they cannot be made one; everywhere else their sum is what counts.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, check_one_of


class Layout(NamedTuple):
    """How a library lays out the weights of a cell.

    Attributes:
        gates: a letter for each, in their order.
        biases: 1 or 2; of two, the input's is the first.
        transposed: kernels are `(gates * units, features)` in place of `(features, gates * units)`.
    """

    gates: str
    biases: int
    transposed: bool


class Weights(NamedTuple):
    """The weights of a recurrent layer.

    Attributes:
        kernel: for the input.
        recurrent_kernel: for the state.
        bias: `(gates * units,)`, or `(2, gates * units)` where there are two.
    """

    kernel: npt.NDArray[Any]
    recurrent_kernel: npt.NDArray[Any]
    bias: npt.NDArray[Any] | None


#: The layouts of each library, by cell.
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


def reorder(array: npt.ArrayLike, *, source: str, target: str, axis: int = -1) -> npt.NDArray[Any]:
    """Gates in another order.

    Args:
        array: with `gates * units` places along `axis`.
        source: the gates as they stand there, a letter for each.
        target: the same letters as they shall stand.
        axis: of the gates.

    Raises:
        ArgumentError: the letters are not the same, or the axis cannot be divided by their number.

    Example:
        >>> reorder([1, 1, 2, 2, 3, 3, 4, 4], source="ifco", target="iofc")
        array([1, 1, 4, 4, 2, 2, 3, 3])
    """
    array = np.asarray(array)
    if sorted(source) != sorted(target) or len(set(source)) != len(source):
        raise bad_argument("target", target, f"the gates of source={source!r} in another order")
    if not -array.ndim <= axis < array.ndim or array.shape[axis] % len(source):
        expected = f"an array whose axis {axis} holds {len(source)} gates, {source!r}"
        raise bad_argument("array", f"shape {array.shape}", expected)
    parts = dict(zip(source, np.split(array, len(source), axis=axis), strict=True))
    return np.concatenate([parts[gate] for gate in target], axis=axis)


def convert(weights: Weights, *, cell: str, source: str, target: str) -> Weights:
    """Weights of one library as those of another.

    Args:
        weights: kernel, recurrent kernel and bias (or None), as `source` has them.
        cell: `"lstm"`, `"gru"`, `"gru_reset_after"` or `"simple_rnn"`.
        source: `"keras"`, `"onnx"`, `"torch"`, `"cudnn"` or `"keras_cudnn"`.
        target: one of these too.

    Returns:
        Weights as `target` has them. Where it has a bias for the state as well, that is 0 if
        `source` has none.

    Raises:
        ArgumentError: one of the libraries has no such cell, or shapes do not fit.

    Example:
        >>> ones = Weights(np.ones((3, 8)), np.ones((2, 8)), np.ones(8))
        >>> [one.shape for one in convert(ones, cell="lstm", source="keras", target="onnx")]
        [(8, 3), (8, 2), (2, 8)]
    """
    old, new = _layout(source, cell, "source"), _layout(target, cell, "target")
    kernels = [np.asarray(kernel) for kernel in weights[:2]]
    if old.transposed:
        kernels = [kernel.T for kernel in kernels]
    _check(kernels, weights.bias, old)
    kernel, recurrent = (reorder(one, source=old.gates, target=new.gates) for one in kernels)
    bias = None if weights.bias is None else _biases(np.asarray(weights.bias), old, new)
    if new.transposed:
        kernel, recurrent = kernel.T.copy(), recurrent.T.copy()
    return Weights(kernel, recurrent, bias)


def _layout(library: str, cell: str, argument: str) -> Layout:
    cells = LAYOUTS[check_one_of(argument, library, LAYOUTS)]
    if cell not in cells:
        fix = "Its GRU resets after the product: 'gru_reset_after'." if cell == "gru" else ""
        raise bad_argument("cell", cell, f"one of {', '.join(cells)}, as {library} has them", fix)
    return cells[cell]


def _check(kernels: list[npt.NDArray[Any]], bias: Any, layout: Layout) -> None:
    """Refuses weights that do not fit one another; kernels are `(features, gates * units)`."""
    shapes = [kernel.shape for kernel in kernels]
    units = shapes[1][0] if len(shapes[1]) == 2 else 0
    width = len(layout.gates) * units
    biases = [(width,)] if layout.biases == 1 else [(2, width), (2 * width,)]
    right = len(shapes[0]) == 2 and shapes[0][1] == width and shapes[1] == (units, width)
    if not units or not right or (bias is not None and np.shape(bias) not in biases):
        got = [*shapes, None if bias is None else np.shape(bias)]
        expected = f"weights of {len(layout.gates)} gates, {layout.gates!r}, that fit one another"
        raise bad_argument("weights", f"shapes {got}", expected)


def _biases(bias: npt.NDArray[Any], old: Layout, new: Layout) -> npt.NDArray[Any]:
    parts = reorder(bias.reshape(old.biases, -1), source=old.gates, target=new.gates)
    if new.biases == 1:
        return parts.sum(axis=0)
    return np.concatenate([parts, np.zeros_like(parts)]) if old.biases == 1 else parts

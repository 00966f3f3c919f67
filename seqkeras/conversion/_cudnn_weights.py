"""Weights of the layers CuDNNLSTM and CuDNNGRU of Keras 2, and those of LSTM and GRU.

Both are lists as `get_weights` gives them: of a layer, or of a model or wrapper that has such
layers within. There the three arrays of each are found by their shapes:

===========  ====================  =====================  ===============
layer        kernel                recurrent kernel       bias
===========  ====================  =====================  ===============
CuDNNLSTM    (features, 4 units)   (units, 4 units)       (8 units,)
LSTM         (features, 4 units)   (units, 4 units)       (4 units,)
CuDNNGRU     (features, 3 units)   (units, 3 units)       (6 units,)
GRU          (features, 3 units)   (units, 3 units)       (2, 3 units)
===========  ====================  =====================  ===============
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.gates import Weights, convert

#: The gates of each cell, and the shape of its bias in units, by library.
_GATES = {"lstm": 4, "gru_reset_after": 3}
_BIASES: dict[str, dict[str, tuple[int, ...]]] = {
    "keras_cudnn": {"lstm": (8,), "gru_reset_after": (6,)},
    "keras": {"lstm": (4,), "gru_reset_after": (2, 3)},
}


def from_cudnn(weights: Sequence[npt.ArrayLike]) -> list[npt.NDArray[Any]]:
    """Weights of CuDNNLSTM and CuDNNGRU as LSTM and GRU have them.

    The two biases of an LSTM become their sum, which is all that counts. A GRU has to be one with
    `reset_after=True`, and both layers compute with `tanh` and `sigmoid`.

    Args:
        weights: as `get_weights` gave them: of such a layer, of a Bidirectional, or of a model
            that has such layers at any depth. Other arrays stay as they are.

    Returns:
        Weights for `set_weights`, in the same order.

    Raises:
        ArgumentError: no weights of these layers are among them.

    Example:
        >>> import numpy as np
        >>> old = [np.ones((3, 8)), np.ones((2, 8)), np.ones(16)]  # of CuDNNLSTM(2)
        >>> [one.shape for one in from_cudnn(old)]
        [(3, 8), (2, 8), (8,)]
    """
    return _converted(weights, "keras_cudnn", "keras", "a CuDNNLSTM or CuDNNGRU")


def to_cudnn(weights: Sequence[npt.ArrayLike]) -> list[npt.NDArray[Any]]:
    """Weights of LSTM and GRU as CuDNNLSTM and CuDNNGRU have them: the opposite of `from_cudnn`.

    The second bias of an LSTM is 0.

    Args:
        weights: as `get_weights` gives them, of layers with biases, at any depth. The layers have
            to compute with `tanh` and `sigmoid`, which cannot be seen in their weights.

    Returns:
        Weights for `set_weights` in Keras 2, in the same order.

    Raises:
        ArgumentError: none are of an LSTM, or of a GRU with `reset_after=True`.

    Example:
        >>> import keras
        >>> layer = keras.layers.GRU(2)
        >>> layer.build((None, 5, 3))
        >>> [one.shape for one in to_cudnn(layer.get_weights())]
        [(3, 6), (2, 6), (12,)]
    """
    return _converted(weights, "keras", "keras_cudnn", "an LSTM, or a GRU with reset_after=True,")


def places(shapes: Sequence[tuple[int, ...]], library: str) -> Iterator[tuple[int, str]]:
    """Where the three weights of a layer begin, and which cell it has."""
    start = 0
    while start < len(shapes) - 2:
        cell = _cell(shapes[start : start + 3], library)
        if cell:
            yield start, cell
        start += 3 if cell else 1


def _cell(shapes: Sequence[tuple[int, ...]], library: str) -> str:
    kernel, recurrent, bias = shapes
    if len(kernel) != 2 or len(recurrent) != 2 or not recurrent[0]:
        return ""
    units = recurrent[0]
    for cell, biases in _BIASES[library].items():
        width = _GATES[cell] * units
        expected = (*biases[:-1], biases[-1] * units)
        if kernel[1] == width and recurrent[1] == width and bias == expected:
            return cell
    return ""


def _converted(
    weights: Sequence[npt.ArrayLike], source: str, target: str, expected: str
) -> list[npt.NDArray[Any]]:
    arrays = [np.asarray(one) for one in weights]
    shapes = [one.shape for one in arrays]
    found = list(places(shapes, source))
    if not found:
        fix = "See seqkeras.conversion.from_cudnn for their shapes."
        raise bad_argument("weights", f"shapes {shapes}", f"those of {expected} with biases", fix)
    for start, cell in found:
        part = Weights(*arrays[start : start + 3])
        arrays[start : start + 3] = _one(part, cell, source, target)
    return arrays


def _one(weights: Weights, cell: str, source: str, target: str) -> list[Any]:
    gates = _GATES[cell]
    if source == "keras_cudnn":
        kernel, recurrent = (_as_matrices(one, gates) for one in weights[:2])
        weights = Weights(kernel, recurrent, weights.bias)
        return list(convert(weights, cell=cell, source=source, target=target))
    kernel, recurrent, bias = convert(weights, cell=cell, source=source, target=target)
    return [_as_kernel(kernel, gates), _as_kernel(recurrent, gates), np.asarray(bias).ravel()]


def _as_matrices(kernel: npt.NDArray[Any], gates: int) -> npt.NDArray[Any]:
    """What cuDNN reads, `(gates * units, features)`.

    Keras 2 stores the numbers of a gate in that order, but in an array `(features, units)`.
    """
    units = kernel.shape[1] // gates
    return np.vstack([gate.reshape(units, -1) for gate in np.hsplit(kernel, gates)])


def _as_kernel(matrices: npt.NDArray[Any], gates: int) -> npt.NDArray[Any]:
    features = matrices.shape[1]
    return np.hstack([gate.reshape(features, -1) for gate in np.vsplit(matrices, gates)])

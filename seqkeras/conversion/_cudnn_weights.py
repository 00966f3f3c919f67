"""Convert weights of Keras 2's CuDNNLSTM and CuDNNGRU to those of LSTM and GRU, and back."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import Description, bad_argument
from seqkeras.gates import Weights, convert

#: Number of gates of each cell.
_GATES = {"lstm": 4, "gru_reset_after": 3}
#: Shape of the bias of each cell by library, with the last axis in multiples of the units.
_BIASES: dict[str, dict[str, tuple[int, ...]]] = {
    "keras_cudnn": {"lstm": (8,), "gru_reset_after": (6,)},
    "keras": {"lstm": (4,), "gru_reset_after": (2, 3)},
}


def from_cudnn(weights: Sequence[npt.ArrayLike]) -> list[npt.NDArray[Any]]:
    """Convert weights of CuDNNLSTM and CuDNNGRU to those of LSTM and GRU.

    The two biases of an LSTM become their sum, which is equivalent. A GRU must have
    `reset_after=True`, and both layers must use `tanh` and `sigmoid`. The three weights of a layer
    are recognized by their shapes:

    ===========  ====================  =====================  ===============
    layer        kernel                recurrent kernel       bias
    ===========  ====================  =====================  ===============
    CuDNNLSTM    (features, 4 units)   (units, 4 units)       (8 units,)
    LSTM         (features, 4 units)   (units, 4 units)       (4 units,)
    CuDNNGRU     (features, 3 units)   (units, 3 units)       (6 units,)
    GRU          (features, 3 units)   (units, 3 units)       (2, 3 units)
    ===========  ====================  =====================  ===============

    Args:
        weights: the list that `get_weights` returned for a CuDNN layer, a Bidirectional, or a model
            with CuDNN layers at any depth. Arrays of other layers are returned unchanged.

    Returns:
        Weights for `set_weights`, in the same order.

    Raises:
        ArgumentError: `weights` contains none of a CuDNN layer.

    Example:
        >>> import numpy as np
        >>> old = [np.ones((3, 8)), np.ones((2, 8)), np.ones(16)]  # of CuDNNLSTM(2)
        >>> [array.shape for array in from_cudnn(old)]
        [(3, 8), (2, 8), (8,)]
    """
    return _convert_all(weights, "keras_cudnn", "keras", "a CuDNNLSTM or CuDNNGRU")


def to_cudnn(weights: Sequence[npt.ArrayLike]) -> list[npt.NDArray[Any]]:
    """Convert weights of LSTM and GRU to those of Keras 2's CuDNNLSTM and CuDNNGRU.

    The inverse of `from_cudnn`. The second bias of an LSTM is 0.

    Args:
        weights: the list that `get_weights` returns for a layer or model; the layers have biases.
            They must use `tanh` and `sigmoid`, which cannot be checked from the weights.

    Returns:
        Weights for `set_weights` in Keras 2, in the same order.

    Raises:
        ArgumentError: `weights` contains none of an LSTM, or of a GRU with `reset_after=True`.

    Example:
        >>> import keras
        >>> layer = keras.layers.GRU(2)
        >>> layer.build((None, 5, 3))
        >>> [array.shape for array in to_cudnn(layer.get_weights())]
        [(3, 6), (2, 6), (12,)]
    """
    expected = "an LSTM, or a GRU with reset_after=True,"
    return _convert_all(weights, "keras", "keras_cudnn", expected)


def places(shapes: Sequence[tuple[int, ...]], library: str) -> Iterator[tuple[int, str]]:
    """Find the weights of recurrent layers among the shapes of a library's weights.

    Yields:
        The position of the first of the three weights of a layer, and the name of its cell.
    """
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


def _convert_all(
    weights: Sequence[npt.ArrayLike], source: str, target: str, expected: str
) -> list[npt.NDArray[Any]]:
    arrays = [np.asarray(weight) for weight in weights]
    shapes = [array.shape for array in arrays]
    layers = list(places(shapes, source))
    if not layers:
        fix = "See seqkeras.conversion.from_cudnn for their shapes."
        raise bad_argument(
            "weights", Description(f"shapes {shapes}"), f"those of {expected} with biases", fix
        )
    for start, cell in layers:
        layer_weights = Weights(*arrays[start : start + 3])
        arrays[start : start + 3] = _convert_layer(layer_weights, cell, source, target)
    return arrays


def _convert_layer(weights: Weights, cell: str, source: str, target: str) -> list[Any]:
    gates = _GATES[cell]
    if source == "keras_cudnn":
        kernel, recurrent = (_as_matrices(kernel, gates) for kernel in weights[:2])
        weights = Weights(kernel, recurrent, weights.bias)
        return list(convert(weights, cell=cell, source=source, target=target))
    kernel, recurrent, bias = convert(weights, cell=cell, source=source, target=target)
    return [_as_kernel(kernel, gates), _as_kernel(recurrent, gates), np.asarray(bias).ravel()]


def _as_matrices(kernel: npt.NDArray[Any], gates: int) -> npt.NDArray[Any]:
    """Return a kernel as cuDNN reads it, `(gates * units, features)`.

    Keras 2 stores the numbers of each gate in this order, but in an array `(features, units)`.
    """
    units = kernel.shape[1] // gates
    return np.vstack([gate.reshape(units, -1) for gate in np.hsplit(kernel, gates)])


def _as_kernel(matrices: npt.NDArray[Any], gates: int) -> npt.NDArray[Any]:
    features = matrices.shape[1]
    return np.hstack([gate.reshape(features, -1) for gate in np.vsplit(matrices, gates)])

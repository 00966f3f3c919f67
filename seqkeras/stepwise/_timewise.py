"""Which layers treat each timestep alone, and why the others cannot be run one at a time."""

from typing import Any

import keras
from keras import tree

ATTENTION = "it looks at all timesteps at once"
CONVOLUTION = "it reads several timesteps at once"
POOLING = "it pools over timesteps"
LENGTH = "it changes the number of timesteps"
MOVED = "it moves or removes the time axis"
NORMALIZED = "it normalizes over timesteps"

# By name, for some are missing in some versions of Keras.
_REASONS = {
    "Bidirectional": "it also reads the sequence backwards, from an end that is not known yet",
    **dict.fromkeys(
        ["Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"], ATTENTION
    ),
    **dict.fromkeys(["Flatten", "Reshape", "RepeatVector"], MOVED),
    "GroupNormalization": NORMALIZED,
}
for _rank in ("1D", "2D", "3D"):
    for _kind in ("Conv", "SeparableConv", "DepthwiseConv"):
        _REASONS[_kind + _rank] = _REASONS[f"{_kind}{_rank}Transpose"] = CONVOLUTION
    for _kind in ("Average", "Max", "GlobalAverage", "GlobalMax"):
        _REASONS[f"{_kind}Pooling{_rank}"] = POOLING
    for _kind in ("AdaptiveAveragePooling", "AdaptiveMaxPooling"):
        _REASONS[_kind + _rank] = POOLING
    for _kind in ("UpSampling", "ZeroPadding", "Cropping"):
        _REASONS[_kind + _rank] = LENGTH

# Along which axis they work is looked at; on every other axis they treat each timestep alone.
_LAYERS_BY_AXIS = (
    "BatchNormalization Concatenate LayerNormalization Normalization RMSNormalization Softmax "
    "UnitNormalization"
)
_LAYERS_ALONE = (
    "Activation ActivityRegularization Add AlphaDropout Average Conv1D Dense Dropout ELU Embedding "
    "GaussianDropout GaussianNoise Identity LeakyReLU Masking Maximum Minimum Multiply PReLU "
    "Permute ReLU Rescaling SpatialDropout1D SpatialDropout2D SpatialDropout3D Subtract "
    "TimeDistributed"
)
_OPS_BY_AXIS = (
    "All Any Argmax Argmin ExpandDims LogSoftmax Logsumexp Max Mean Min Prod Softmax Squeeze Std "
    "Sum Var"
)
_OPS_ALONE = (
    "Absolute Add Cast Clip Concatenate Cos Divide Elu Equal Exp Expm1 Gelu GetItem Greater "
    "GreaterEqual LeakyRelu Less LessEqual Log Log1p LogicalAnd LogicalNot LogicalOr Maximum "
    "Minimum Multiply Negative NotEqual Power Relu Sigmoid Silu Sin Softplus Sqrt Square Subtract "
    "Tanh TrueDivide Where"
)


def why_not_stepwise(layer: Any, *, rank: int = 3) -> str | None:
    """Why a layer cannot be run on one timestep at a time.

    Args:
        layer: a Keras layer, or an operation of `keras.ops` as it stands in a functional model.
            What a nested model holds is not looked at.
        rank: number of axes of its input, batch and time included.

    Returns:
        The reason, to follow the name of the layer in a sentence; or None if none is known. That
        is no promise for what is not in Keras, see `is_known`.

    Example:
        >>> why_not_stepwise(keras.layers.GlobalMaxPooling1D())
        'it pools over timesteps'
        >>> why_not_stepwise(keras.layers.LSTM(8)) is None
        True
    """
    if isinstance(layer, keras.layers.RNN):
        return "it reads the sequence backwards" if layer.go_backwards else None
    if isinstance(layer, keras.layers.SpectralNormalization):
        return why_not_stepwise(layer.layer, rank=rank)
    if _reads_one_timestep(layer):
        return None
    names = [make.__name__ for make in type(layer).__mro__ if _is_keras(make)]
    reasons = (_REASONS.get(name) or _special(name, layer, rank) for name in names)
    return next(filter(None, reasons), None) or _along_time(layer, rank)


def is_known(layer: Any) -> bool:
    """Whether a layer that `why_not_stepwise` has no reason against is sure to have none."""
    if isinstance(layer, keras.layers.SpectralNormalization):
        return is_known(layer.layer)
    if isinstance(layer, keras.layers.RNN):
        module = type(layer).call.__module__
        return module.startswith(("keras.", "seqkeras.layers."))
    if not _is_keras(type(layer)):
        return False
    name = type(layer).__name__
    if isinstance(layer, keras.layers.Layer):
        return name in f"{_LAYERS_BY_AXIS} {_LAYERS_ALONE}".split()
    # Without an axis, those work along all of them.
    return name in _OPS_ALONE.split() or (name in _OPS_BY_AXIS.split() and layer.axis is not None)


def cuts_time(node: Any) -> str | None:
    """Why a call in the graph of a model cannot be run so, by the arguments that it is given."""
    if type(node.operation).__name__ != "GetItem" or not _is_keras(type(node.operation)):
        return None
    (sequence,) = node.input_tensors
    key = node.arguments.kwargs.get("key", node.arguments.args[-1])
    key = list(key) if isinstance(key, (list, tuple)) else [key]
    if Ellipsis in key:
        place = key.index(Ellipsis)
        missing = len(sequence.shape) - sum(one is not None for one in key) + 1
        key[place : place + 1] = [slice(None)] * missing
    kept = [one == slice(None) for one in [*key, slice(None), slice(None)][:2]]
    return None if all(kept) else "it cuts pieces out of the batch or out of the timesteps"


def _special(name: str, layer: Any, rank: int) -> str | None:
    if name == "Dense" and rank == 2:
        return "it reads the timesteps as features"
    if name == "Permute" and layer.dims[0] != 1:
        return MOVED
    if name == "PReLU" and 1 not in (layer.shared_axes or ()):
        return "it has weights for each timestep of its own; shared_axes=[1] shares them"
    if name == "TimeDistributed" and getattr(layer.layer, "stateful", False):
        return "it keeps a state from one timestep to the next"
    return None


def _along_time(layer: Any, rank: int) -> str | None:
    axes = getattr(layer, "axis", None)
    axes = getattr(layer, "axes", None) if axes is None else axes
    rank += type(layer).__name__ == "ExpandDims"  # counts in its output
    numbers = [one % rank for one in tree.flatten(axes) if isinstance(one, int)]
    return f"it works along the time axis (axis={axes})" if 1 in numbers else None


def _reads_one_timestep(layer: Any) -> bool:
    """Whether a convolution is nothing but a Dense layer for each timestep."""
    return (
        type(layer).__name__ == "Conv1D"
        and (*layer.kernel_size, *layer.strides) == (1, 1)
        and layer.data_format == "channels_last"
    )


def _is_keras(make: type) -> bool:
    return make.__module__.startswith("keras.")

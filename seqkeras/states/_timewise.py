"""Tell which layers treat each timestep separately, and why the others cannot be continued."""

from typing import Any

import keras
from keras import tree

from seqkeras.layers import TokenVectors

ATTENTION = "it looks at all timesteps at once"
CONVOLUTION = "it reads several timesteps at once"
POOLING = "it pools over timesteps"
LENGTH = "it changes the number of timesteps"
MOVED = "it moves or removes the time axis"
NORMALIZED = "it normalizes over timesteps"
BACKWARDS = "go_backwards=True starts at the end of a sequence, and cannot be continued"

# By class name, because some versions of Keras lack some of the classes.
_REASONS = {
    "Bidirectional": (
        "its backward direction starts at the end of a sequence, and cannot be continued"
    ),
    **dict.fromkeys(
        ["Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"], ATTENTION
    ),
    **dict.fromkeys(["Flatten", "Reshape", "RepeatVector"], MOVED),
    **dict.fromkeys(
        ["SeparableConv1D", "SeparableConv2D", "DepthwiseConv1D", "DepthwiseConv2D"], CONVOLUTION
    ),
    "GroupNormalization": NORMALIZED,
}
for _rank in ("1D", "2D", "3D"):
    for _kind in ("Conv{}", "Conv{}Transpose"):
        _REASONS[_kind.format(_rank)] = CONVOLUTION
    for _kind in ("Average", "Max", "GlobalAverage", "GlobalMax"):
        _REASONS[f"{_kind}Pooling{_rank}"] = POOLING
    for _kind in ("AdaptiveAveragePooling", "AdaptiveMaxPooling"):
        _REASONS[_kind + _rank] = POOLING
    for _kind in ("UpSampling", "ZeroPadding", "Cropping"):
        _REASONS[_kind + _rank] = LENGTH

# Layers with an `axis` argument: safe unless that axis is time, which `_along_time` checks.
_LAYERS_BY_AXIS = frozenset({
    "BatchNormalization", "Concatenate", "LayerNormalization", "Normalization",
    "RMSNormalization", "Softmax", "UnitNormalization",
})  # fmt: skip
_LAYERS_PER_TIMESTEP = frozenset({
    "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "Dense", "Dropout",
    "ELU", "Embedding", "GaussianDropout", "GaussianNoise", "Identity", "LeakyReLU", "Masking",
    "Maximum", "Minimum", "Multiply", "PReLU", "Permute", "ReLU", "Rescaling", "SpatialDropout1D",
    "SpatialDropout2D", "SpatialDropout3D", "Subtract", "TimeDistributed",
})  # fmt: skip
_OPS_BY_AXIS = frozenset({
    "All", "Any", "Argmax", "Argmin", "ExpandDims", "LogSoftmax", "Logsumexp", "Max", "Mean",
    "Min", "Prod", "Softmax", "Squeeze", "Std", "Sum", "Var",
})  # fmt: skip
_OPS_PER_TIMESTEP = frozenset({
    "Absolute", "Add", "Cast", "Clip", "Concatenate", "Cos", "Divide", "Elu", "Equal", "Exp",
    "Expm1", "Gelu", "GetItem", "Greater", "GreaterEqual", "LeakyRelu", "Less", "LessEqual", "Log",
    "Log1p", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum", "Multiply", "Negative",
    "NotEqual", "Power", "Relu", "Sigmoid", "Silu", "Sin", "Softplus", "Sqrt", "Square",
    "Subtract", "Tanh", "TrueDivide", "Where",
})  # fmt: skip


def why_not_stepwise(layer: Any, *, rank: int = 3) -> str | None:
    """Return why a layer cannot be run a few timesteps at a time.

    Args:
        layer: a Keras layer, or an operation of `keras.ops` in a functional model. The layers
            inside a nested model are not checked.
        rank: number of axes of its input, including batch and time.

    Returns:
        The reason, to follow the name of the layer in a sentence, or None if no reason is known.
        None is not a guarantee; see `is_known`.

    Example:
        >>> why_not_stepwise(keras.layers.GlobalMaxPooling1D())
        'it pools over timesteps'
        >>> why_not_stepwise(keras.layers.LSTM(8)) is None
        True
    """
    if isinstance(layer, keras.layers.RNN):
        return BACKWARDS if layer.go_backwards else None
    if isinstance(layer, keras.layers.SpectralNormalization):
        return why_not_stepwise(layer.layer, rank=rank)
    if keeps_timesteps_separate(layer):
        return None
    names = [kind.__name__ for kind in type(layer).__mro__ if _is_keras(kind)]
    reasons = (_REASONS.get(name) or _layer_specific_reason(name, layer, rank) for name in names)
    return next(filter(None, reasons), None) or _along_time(layer, rank)


def is_known(layer: Any) -> bool:
    """Return whether None from `why_not_stepwise` can be relied on for this layer."""
    if isinstance(layer, keras.layers.SpectralNormalization):
        return is_known(layer.layer)
    if isinstance(layer, keras.layers.RNN):
        module = type(layer).call.__module__
        return module.startswith(("keras.", "seqkeras.layers."))
    if isinstance(layer, TokenVectors):
        return True
    if not _is_keras(type(layer)):
        return False
    name = type(layer).__name__
    if keeps_timesteps_separate(layer):
        return True
    if isinstance(layer, keras.layers.Layer):
        return name in _LAYERS_BY_AXIS | _LAYERS_PER_TIMESTEP
    # With axis=None, these operations work along all axes, including time.
    return name in _OPS_PER_TIMESTEP or (name in _OPS_BY_AXIS and layer.axis is not None)


def why_index_cuts_time(call: Any) -> str | None:
    """Return why an indexing call needs several timesteps, or None if it does not."""
    key = _key_of(call)
    if key is None or all(isinstance(part, slice) and part == slice(None) for part in key[:2]):
        return None
    return "it cuts pieces out of the batch or out of the timesteps"


def takes_last_timestep(call: Any) -> bool:
    """Return whether a call takes the last timestep of a sequence, `x[:, -1]`."""
    key = _key_of(call)
    if key is None or not all(isinstance(part, (slice, int)) for part in key[:2]):
        return False
    return key[:2] == [slice(None), -1]


def _key_of(call: Any) -> list[Any] | None:
    """Return the key of a `GetItem` call as a list, or None for any other call.

    An `...` is expanded, and the list is padded to cover at least batch and time.
    """
    if type(call.operation).__name__ != "GetItem" or not _is_keras(type(call.operation)):
        return None
    sequence = call.input_tensors[0]
    key = call.arguments.kwargs.get("key", call.arguments.args[-1])
    key = list(key) if isinstance(key, (list, tuple)) else [key]
    place = next((place for place, part in enumerate(key) if part is Ellipsis), None)
    if place is not None:
        missing = len(sequence.shape) - sum(part is not None for part in key) + 1
        key[place : place + 1] = [slice(None)] * missing
    return [*key, slice(None), slice(None)]


def _layer_specific_reason(name: str, layer: Any, rank: int) -> str | None:
    if name == "Dense" and rank == 2:
        return "it reads the timesteps as features"
    if name == "Permute" and layer.dims[0] != 1:
        return MOVED
    if name == "PReLU" and 1 not in (layer.shared_axes or ()):
        return "it has separate weights for each timestep; shared_axes=[1] shares them"
    if name == "TimeDistributed" and getattr(layer.layer, "stateful", False):
        return "it keeps a state from one timestep to the next"
    return None


def _along_time(layer: Any, rank: int) -> str | None:
    axes = getattr(layer, "axis", None)
    axes = axes if axes is not None else getattr(layer, "axes", None)
    if type(layer).__name__ == "ExpandDims":
        rank += 1  # its axis is an axis of the output
    numbers = [axis % rank for axis in tree.flatten(axes) if isinstance(axis, int)]
    return f"it works along the time axis (axis={axes})" if 1 in numbers else None


def keeps_timesteps_separate(layer: Any) -> bool:
    """Return whether a convolution, pooling or similar layer leaves the time axis untouched.

    Time is the first axis it slides over. It is untouched if kernel, stride and scale there are 1,
    and padding and cropping 0.
    """
    if getattr(layer, "data_format", None) != "channels_last" or not _is_keras(type(layer)):
        return False
    if type(layer).__name__.startswith(("Global", "Adaptive")):
        return False
    spans = {"kernel_size": 1, "pool_size": 1, "strides": 1, "size": 1, "padding": 0, "cropping": 0}
    numbers_of = {
        option: tree.flatten(value)[: 2 if option in ("padding", "cropping") else 1]
        for option in spans
        if not isinstance(value := getattr(layer, option, None), (str, type(None)))
    }
    return bool(numbers_of) and all(
        number == spans[option] for option, numbers in numbers_of.items() for number in numbers
    )


def _is_keras(kind: type) -> bool:
    return kind.__module__.startswith("keras.")

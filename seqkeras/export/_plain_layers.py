"""Translate Keras layers that have no state."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from seqkeras.export._trace import Trace, Value, export_error
from seqkeras.runtime._activations import ACTIVATIONS

#: Layers that do nothing outside training.
IDENTITIES = (
    layers.ActivityRegularization, layers.AlphaDropout, layers.Dropout, layers.GaussianDropout,
    layers.GaussianNoise, layers.Identity, layers.SpatialDropout1D,
)  # fmt: skip

#: Merging layers, and their names in a program.
MERGES = {
    layers.Add: "add",
    layers.Average: "average",
    layers.Maximum: "maximum",
    layers.Minimum: "minimum",
    layers.Multiply: "multiply",
    layers.Subtract: "subtract",
}


def activation_of(layer: Any, function: Any) -> dict[str, Any]:
    """Return the options of a node for an activation function of Keras."""
    name = getattr(function, "__name__", type(function).__name__)
    if name not in ACTIVATIONS or function is not getattr(keras.activations, name, None):
        fix = f"Activations of Keras that can be exported: {', '.join(ACTIVATIONS)}."
        raise export_error(layer.name, f"its activation {name!r} is not one of Keras", fix)
    return {"activation": name}


def dense(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate Dense."""
    weights = {"kernel": layer.kernel}
    if layer.use_bias:
        weights["bias"] = layer.bias
    options = activation_of(layer, layer.activation)
    return trace.add("dense", [x], layer.name, weights=weights, **options)


def embedding(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate Embedding."""
    weights = {"embeddings": layer.embeddings}
    y = trace.add("embedding", [x], layer.name, weights=weights, rank=x.rank + 1)
    return _masked_zeros(trace, layer, x, y)


def token_vectors(trace: Trace, layer: Any, x: Value, *, reverse: bool) -> Value:
    """Translate TokenVectors: as an embedding, or as a dense layer if it computes logits."""
    if not reverse:
        y = trace.add(
            "embedding", [x], layer.name, weights={"embeddings": layer.vectors}, rank=x.rank + 1
        )
        return _masked_zeros(trace, layer, x, y)
    kernel = np.ascontiguousarray(ops.convert_to_numpy(layer.vectors).T)
    weights = {"kernel": kernel, "bias": layer.bias}
    return replace(
        trace.add("dense", [x], layer.name, weights=weights, activation="linear"), mask=x.mask
    )


def _masked_zeros(trace: Trace, layer: Any, x: Value, y: Value) -> Value:
    """Return the vectors of ids, with the mask of the ids that are not 0 if the layer makes one."""
    if not layer.mask_zero:
        return y
    return replace(y, mask=trace.add("not_equal", [x, trace.constant(0)], layer.name))


def layer_normalization(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate LayerNormalization and RMSNormalization."""
    rms = isinstance(layer, layers.RMSNormalization) or getattr(layer, "rms_scaling", False)
    layer_axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    axes = sorted(trace.axis(x, axis, layer.name) for axis in layer_axes)
    if axes != list(range(-len(axes), 0)):
        raise export_error(layer.name, f"it works along the axes {layer_axes}")
    names = {"gamma": "scale"} if isinstance(layer, layers.RMSNormalization) else {}
    weights = {role: getattr(layer, names.get(role, role), None) for role in ("gamma", "beta")}
    weights = {role: weight for role, weight in weights.items() if weight is not None}
    options: dict[str, Any] = {"epsilon": float(layer.epsilon), "axes": len(axes)}
    return trace.add("layer_norm", [x], layer.name, weights=weights, rms=bool(rms), **options)


def batch_normalization(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate BatchNormalization with the statistics that it learned."""
    if trace.axis(x, layer.axis, layer.name) != -1:
        raise export_error(layer.name, f"it works along the axis {layer.axis}")
    mean = _numbers(layer.moving_mean)
    variance = _numbers(layer.moving_variance)
    scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * _numbers(layer.gamma)
    offset = _numbers(layer.beta) if layer.center else np.zeros_like(scale)
    return _affine(trace, layer, x, mean, scale, offset)


def normalization(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate Normalization with the statistics that it was given or adapted to."""
    if layer.mean is None:
        raise export_error(layer.name, "it has no statistics", "Call its adapt(data) first.")
    if any(length != 1 for length in layer.mean.shape[:-1]):
        raise export_error(layer.name, "it works along axes other than the last")
    mean = _numbers(layer.mean).reshape(-1)
    spread = np.maximum(np.sqrt(_numbers(layer.variance).reshape(-1)), keras.config.epsilon())
    zero = np.zeros_like(mean)
    if layer.invert:
        return _affine(trace, layer, x, zero, spread, mean)
    return _affine(trace, layer, x, mean, 1 / spread, zero)


def rescaling(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate Rescaling."""
    scale, offset = (np.atleast_1d(_numbers(value)) for value in (layer.scale, layer.offset))
    return _affine(trace, layer, x, np.zeros(1), scale, offset)


def unit_normalization(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate UnitNormalization."""
    if trace.axis(x, layer.axis, layer.name) != -1:
        raise export_error(layer.name, f"it works along the axis {layer.axis}")
    return trace.add("unit_norm", [x], layer.name)


def activation(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate Activation, and layers that are activations."""
    if isinstance(layer, layers.Activation):
        return trace.add("activation", [x], layer.name, **activation_of(layer, layer.activation))
    names = {
        layers.ReLU: ("relu", ("negative_slope", "max_value", "threshold")),
        layers.LeakyReLU: ("leaky_relu", ("negative_slope",)),
        layers.ELU: ("elu", ("alpha",)),
        layers.Softmax: ("softmax", ()),
    }
    name, keys = names[type(layer)]
    if name == "softmax":
        axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
        if trace.axis(x, axis, layer.name) != -1:
            raise export_error(layer.name, f"it works along the axis {layer.axis}")
    options = {
        key: float(getattr(layer, key)) if getattr(layer, key) is not None else None for key in keys
    }
    return trace.add("activation", [x], layer.name, activation=name, activation_options=options)


def prelu(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate PReLU."""
    slope = _numbers(layer.alpha)
    if x.has_time_axis and trace.window is None:
        if slope.shape[0] != 1:
            raise export_error(layer.name, "it has a slope for each timestep")
        slope = slope[0]
    return trace.add("prelu", [x], layer.name, weights={"alpha": slope})


def masking(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate Masking; if the model's graph computes the same mask, `Trace.add` adds it once."""
    differs = trace.add("not_equal", [x, trace.constant(layer.mask_value)], layer.name)
    mask = trace.add("any", [differs], layer.name, axis=-1, keepdims=False, rank=x.rank - 1)
    return replace(trace.add("keep", [x, mask], layer.name, rank=x.rank), mask=mask)


def repeat_vector(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate RepeatVector; without a window, its input must not change over time."""
    if trace.window is not None:
        return trace.add("repeat", [x], layer.name, times=layer.n, rank=3, has_time_axis=True)
    if x.varies_over_time:
        raise export_error(layer.name, "it repeats what is known only at the end of the sequence")
    return replace(x, rank=3, has_time_axis=True)


def reshape(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate Reshape and Flatten."""
    if x.has_time_axis and trace.window is None:
        raise export_error(layer.name, "it combines timesteps")
    shape = [-1] if isinstance(layer, layers.Flatten) else [int(n) for n in layer.target_shape]
    rank = len(shape) + 1
    return trace.add(
        "reshape", [x], layer.name, shape=shape, rank=rank, has_time_axis=x.has_time_axis
    )


def _affine(trace: Trace, layer: Any, x: Value, center: Any, scale: Any, offset: Any) -> Value:
    weights = {"center": center, "scale": scale, "offset": offset}
    return trace.add("affine", [x], layer.name, weights=weights, dtype=trace.dtype)


def _numbers(values: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(values), dtype=np.float64)


#: The function for each layer, by its exact class, because a subclass may behave differently.
LAYERS: dict[type, Callable[[Trace, Any, Value], Value]] = {
    layers.Activation: activation,
    layers.BatchNormalization: batch_normalization,
    layers.Dense: dense,
    layers.ELU: activation,
    layers.Embedding: embedding,
    layers.Flatten: reshape,
    layers.LayerNormalization: layer_normalization,
    layers.LeakyReLU: activation,
    layers.Masking: masking,
    layers.Normalization: normalization,
    layers.PReLU: prelu,
    layers.ReLU: activation,
    layers.RepeatVector: repeat_vector,
    layers.Rescaling: rescaling,
    layers.Reshape: reshape,
    layers.RMSNormalization: layer_normalization,
    layers.Softmax: activation,
    layers.UnitNormalization: unit_normalization,
}

"""Translate the layers of a Keras model into nodes of a program."""

from dataclasses import replace
from functools import partial, reduce
from typing import Any

import keras
from keras import layers, tree

from seqkeras import layers as own
from seqkeras._keras_graph import ModelGraph, name_of, walk
from seqkeras.export._autoencoder_layers import LAYERS as AUTOENCODER_LAYERS
from seqkeras.export._operations import operation, same_times
from seqkeras.export._plain_layers import IDENTITIES, LAYERS, MERGES, token_vectors
from seqkeras.export._recurrent_layers import both_ways, recurrent
from seqkeras.export._trace import SEE_SUPPORTED_LAYERS, Trace, Value, export_error
from seqkeras.layers._keras_2_masks import KERAS_2_MASKS

RECURRENT = (
    *(layers.GRU, layers.LSTM, layers.RNN, layers.SimpleRNN),
    *(own.GRU, own.LSTM, own.RNN, own.SimpleRNN),
)

#: The Keras 3 layer for each merging layer that treats masks as Keras 2 did.
KERAS_2_MERGES = {
    own_kind: getattr(layers, name)
    for name, own_kind in KERAS_2_MASKS.items()
    if name != "TimeDistributed"
}

#: Layers that treat timesteps separately, and so can read a whole window inside TimeDistributed.
LAST_AXIS = (layers.Activation, layers.Dense, layers.LayerNormalization, *IDENTITIES)


def translate_model(trace: Trace, graph: ModelGraph, inputs: list[Value]) -> list[Value]:
    """Add the layers of a model to `trace`, and return its outputs.

    Raises:
        ArgumentError: a layer cannot be exported; the message names it with the reason.
    """

    def visit(call: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _translate(trace, call.operation, args, kwargs)

    outputs = walk(graph, inputs, visit, attach_mask=_with_mask)
    for tensor, value in zip(graph.outputs, outputs, strict=True):
        if value is None:
            fix = "Return its output only."
            raise export_error(name_of(tensor), "its state is an output of the model", fix)
    return outputs


def _with_mask(value: Any, mask: Any) -> Any:
    return replace(value, mask=mask) if isinstance(value, Value) else value


def _translate(trace: Trace, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if any(value is None for value in args):
        raise export_error(
            layer.name, "it reads the state of a recurrent layer", "Read its output."
        )
    if not isinstance(layer, keras.layers.Layer):
        return operation(trace, layer, args, kwargs)
    kind = type(layer)
    x = args[0] if args else kwargs["inputs"]
    if kind in RECURRENT:
        return recurrent(trace, layer, x, {**_positional(args), **kwargs})
    if issubclass(kind, layers.Bidirectional):
        return both_ways(trace, layer, x, {**_positional(args), **kwargs})
    if kind is layers.Concatenate or kind in MERGES or kind in KERAS_2_MERGES:
        return _merge(trace, layer, x)
    if kind in AUTOENCODER_LAYERS:
        return AUTOENCODER_LAYERS[kind](trace, layer, x)
    if kind in (layers.TimeDistributed, own.TimeDistributed):
        return _time_distributed(trace, layer, x)
    if kind in IDENTITIES:
        return x
    return _plain(trace, layer, x, kwargs)


def _plain(trace: Trace, layer: Any, x: Value, kwargs: dict[str, Any]) -> Value:
    """Translate a layer of one input that treats each timestep alike."""
    kind = type(layer)
    if kind is own.TokenVectors:
        return token_vectors(trace, layer, x, reverse=kwargs.get("reverse", False))
    _check_known(layer)
    y = LAYERS[kind](trace, layer, x)
    if layer.supports_masking and x.mask is not None and y.mask is None:
        return replace(y, mask=x.mask)
    return y


def _check_known(layer: Any) -> None:
    kind = type(layer)
    if kind not in LAYERS:
        raise export_error(layer.name, f"{kind.__name__} is not supported", SEE_SUPPORTED_LAYERS)
    if getattr(layer, "quantization_mode", None):
        raise export_error(
            layer.name, "its weights are quantized", "Export the model before you quantize it."
        )


def _positional(args: tuple[Any, ...]) -> dict[str, Any]:
    """Return positional arguments of a recurrent layer, after its input, by name."""
    return dict(zip(("initial_state", "mask"), args[1:], strict=False))


def _merge(trace: Trace, layer: Any, inputs: list[Value]) -> Value:
    same_times(trace, layer.name, inputs)
    masks = [value.mask for value in inputs if value.mask is not None]
    kind = KERAS_2_MERGES.get(type(layer), type(layer))
    if kind is layers.Concatenate:
        axis = trace.axis(inputs[0], layer.axis, layer.name)
        y = trace.add("concatenate", inputs, layer.name, axis=axis)
        rule = "logical_and"
    else:
        y = trace.add(MERGES[kind], inputs, layer.name)
        rule = "logical_and"
        if kind is type(layer):
            rule = "logical_or"
            masks = masks if len(masks) == len(inputs) else []
    if not masks:
        return y
    return replace(y, mask=reduce(partial(_join_masks, trace, rule, layer.name), masks))


def _join_masks(trace: Trace, rule: str, name: str, left: Value, right: Value) -> Value:
    return trace.add(rule, [left, right], name)


def _time_distributed(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate the layer or model inside, which with a window must be one of `LAST_AXIS`."""
    inner = layer.layer
    is_stepped = trace.window is None
    if not is_stepped and type(inner) not in LAST_AXIS:
        kinds = ", ".join(kind.__name__ for kind in LAST_AXIS)
        reason = f"with window=, it cannot hold {type(inner).__name__}"
        raise export_error(layer.name, reason, f"It can hold one of {kinds}.")
    timestep = replace(x, rank=x.rank - 1, has_time_axis=False) if is_stepped else x
    if isinstance(inner, keras.Model):
        (y,) = translate_model(trace, ModelGraph(inner), [timestep])
    else:
        (y,) = tree.flatten(_translate(trace, inner, (timestep,), {}))
    return replace(y, rank=y.rank + 1, has_time_axis=True) if is_stepped else y

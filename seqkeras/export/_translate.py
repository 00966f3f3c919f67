"""From a Keras model to the graph of a program."""

from dataclasses import replace
from functools import partial, reduce
from typing import Any

import keras
from keras import layers, tree

from seqkeras import layers as own
from seqkeras.export._operations import operation, same_times
from seqkeras.export._plain_layers import IDENTITIES, LAYERS, MERGES
from seqkeras.export._recurrent_layers import both_ways, recurrent
from seqkeras.export._trace import LISTED, Trace, Value, refused, walk

RECURRENT = (
    *(layers.GRU, layers.LSTM, layers.RNN, layers.SimpleRNN),
    *(own.GRU, own.LSTM, own.RNN, own.SimpleRNN),
)

#: Layers that do the same to all timesteps of a window and to one of them.
LAST_AXIS = (layers.Activation, layers.Dense, layers.LayerNormalization, *IDENTITIES)


def translate_model(trace: Trace, model: keras.Model, inputs: list[Value]) -> list[Value]:
    """Writes the layers of a model into `trace`, and gives its outputs.

    Raises:
        ArgumentError: a layer cannot be stepped; it is named, with the reason.
    """
    outputs = walk(model, inputs, partial(_translate, trace))
    for tensor, value in zip(model.outputs, outputs, strict=True):
        if value is None:
            name = tensor._keras_history.operation.name
            raise refused(name, "its state is an output of the model", "Give out its output alone.")
    return outputs


def _translate(trace: Trace, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if any(one is None for one in args):
        raise refused(layer.name, "it reads the state of a recurrent layer", "Read its output.")
    if not isinstance(layer, keras.layers.Layer):
        return operation(trace, layer, args, kwargs)
    kind, given = type(layer), args[0] if args else kwargs["inputs"]
    if kind in RECURRENT:
        return recurrent(trace, layer, given, {**_states(args), **kwargs})
    if issubclass(kind, layers.Bidirectional):
        return both_ways(trace, layer, given, {**_states(args), **kwargs})
    if kind is layers.Concatenate or kind in MERGES:
        return _merge(trace, layer, given)
    if kind is layers.TimeDistributed:
        return _time_distributed(trace, layer, given)
    if kind in IDENTITIES:
        return given
    _check_known(layer)
    y = LAYERS[kind](trace, layer, given)
    if layer.supports_masking and given.mask is not None and y.mask is None:
        return replace(y, mask=given.mask)
    return y


def _check_known(layer: Any) -> None:
    kind = type(layer)
    if kind not in LAYERS:
        reason = f"{kind.__name__} has no form without Keras that goes one timestep at a time"
        raise refused(layer.name, reason, LISTED)
    if getattr(layer, "quantization_mode", None):
        raise refused(layer.name, "its weights are quantized", "Export it before that.")


def _states(args: tuple[Any, ...]) -> dict[str, Any]:
    """Arguments of a recurrent layer that were given by their place."""
    return dict(zip(("initial_state", "mask"), args[1:], strict=False))


def _merge(trace: Trace, layer: Any, given: list[Value]) -> Value:
    same_times(trace, layer.name, given)
    masks = [one.mask for one in given if one.mask is not None]
    if type(layer) is layers.Concatenate:
        axis = trace.axis(given[0], layer.axis, layer.name)
        y, rule = trace.add("concatenate", given, layer.name, axis=axis), "logical_and"
    else:
        y, rule = trace.add(MERGES[type(layer)], given, layer.name), "logical_or"
        masks = masks if len(masks) == len(given) else []
    if not masks:
        return y
    join = partial(_join_masks, trace, rule, layer.name)
    return replace(y, mask=reduce(join, masks))


def _join_masks(trace: Trace, rule: str, name: str, one: Value, other: Value) -> Value:
    return trace.add(rule, [one, other], name)


def _time_distributed(trace: Trace, layer: Any, x: Value) -> Value:
    """A layer or a model at each timestep: in whole windows, one that takes the last axis."""
    inner, times = layer.layer, trace.window is None
    one = replace(x, rank=x.rank - 1, over_time=False) if times else x
    if not times and type(inner) not in LAST_AXIS:
        kinds = ", ".join(one.__name__ for one in LAST_AXIS)
        raise refused(layer.name, "within a window", f"There it can hold one of {kinds}.")
    if isinstance(inner, keras.Model):
        (y,) = translate_model(trace, inner, [one])
    else:
        (y,) = tree.flatten(_translate(trace, inner, (one,), {}))
    return replace(y, rank=y.rank + 1, over_time=True) if times else y

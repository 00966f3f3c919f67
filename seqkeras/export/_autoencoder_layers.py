"""Translate the layers of autoencoders, all of which need a whole window."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seqkeras import layers
from seqkeras.export._recurrent_layers import WEIGHTS, cell_options, cells_of
from seqkeras.export._trace import Trace, Value, export_error

_BACKWARDS: dict[str, Any] = {"parts": [[None, None, -1]]}


def repeat_like(trace: Trace, layer: Any, inputs: list[Value]) -> Value:
    """Translate RepeatLike; without a window, its vector must not change over time."""
    vector, sequence = inputs
    if trace.window is not None:
        times = trace.window
        y = trace.add("repeat", [vector], layer.name, times=times, rank=3, has_time_axis=True)
        return replace(y, mask=sequence.mask)
    if vector.varies_over_time:
        raise export_error(layer.name, "it repeats what is known only at the end of the sequence")
    return replace(vector, rank=3, has_time_axis=True, mask=sequence.mask)


def reverse_time(trace: Trace, layer: Any, x: Value) -> Value:
    """Translate ReverseTime."""
    if trace.window is None:
        raise export_error(layer.name, "it begins at the end of the sequence")
    mask = trace.add("pick", [x.mask], layer.name, **_BACKWARDS) if x.mask is not None else None
    return replace(trace.add("pick", [x], layer.name, **_BACKWARDS), mask=mask)


def gaussian_code(trace: Trace, layer: Any, inputs: list[Value]) -> Value:
    """Translate GaussianCode, which outside training returns the mean."""
    return inputs[0]


def conditional_decoder(trace: Trace, layer: Any, inputs: list[Value]) -> Value:
    """Translate ConditionalDecoder, which outside training reads its own outputs."""
    x = inputs[0]
    if trace.window is None:
        raise export_error(layer.name, "its outputs are also its inputs")
    options: list[dict[str, Any]] = []
    weights = {"head/kernel": layer.head.kernel, "head/bias": layer.head.bias}
    for recurrent in layer.layers:
        for cell in cells_of(recurrent):
            stored = {role: getattr(cell, role) for role in WEIGHTS}
            stored = {role: weight for role, weight in stored.items() if weight is not None}
            weights |= {f"{len(options)}/{role}": weight for role, weight in stored.items()}
            options.append(cell_options(recurrent, cell))
    read = [x, x.mask] if x.mask is not None else [x]
    return replace(
        trace.add("feedback", read, layer.name, weights=weights, rank=3, cells=options), mask=x.mask
    )


#: The function for each layer, which gets the inputs as they are: a value or a list of values.
LAYERS: dict[type, Callable[[Trace, Any, Any], Value]] = {
    layers.ConditionalDecoder: conditional_decoder,
    layers.GaussianCode: gaussian_code,
    layers.RepeatLike: repeat_like,
    layers.ReverseTime: reverse_time,
}

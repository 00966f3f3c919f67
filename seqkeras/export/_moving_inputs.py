"""Find out which inputs of a model change over time."""

from typing import Any

import keras
from keras import tree

from seqkeras._keras_graph import ModelGraph, walk


def inputs_over_time(graph: ModelGraph) -> list[bool]:
    """Return, for each input, whether it leads to a recurrent layer: those change over time."""
    moving: set[int] = set()

    def visit(call: Any, args: Any, kwargs: dict[str, Any]) -> list[frozenset[int]]:
        sources = [value for value in tree.flatten([args, kwargs]) if isinstance(value, frozenset)]
        origins = frozenset[int]().union(*sources)
        layer = call.operation
        if isinstance(layer, keras.layers.Bidirectional):
            layer = layer.forward_layer
        if isinstance(layer, keras.layers.RNN):
            moving.update(origins)
        if isinstance(layer, keras.layers.RepeatVector):
            origins = frozenset()  # the same at each timestep
        return [origins] * len(call.outputs)

    count = len(graph.inputs)
    walk(graph, [frozenset([number]) for number in range(count)], visit)
    return [number in moving for number in range(count)]

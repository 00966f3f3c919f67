"""Calls between the layers of a model, and where masks get lost on the way."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import keras
from keras import tree

from seqkeras._keras_graph._structure import is_graph, self_and_sublayers
from seqkeras.layers import Bidirectional, Resettable


def calls_in_order(graph: keras.Function) -> list[Any]:
    """Return the calls of a graph, each after the calls whose outputs it reads."""
    by_depth = graph._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [node for node in nodes if not node.is_input]


def calls_of(model: keras.Model) -> dict[int, list[Any]]:
    """Return the calls of each layer within a model, by the `id` of the layer.

    Calls from other models do not count. Calls inside a subclass of `keras.Model` are not visible.
    """
    calls = defaultdict(list)
    for layer in self_and_sublayers(model):
        if is_graph(layer):
            for operation, node in upstream(layer.outputs):
                calls[id(operation)].append(node)
    return calls


def upstream(tensors: Any) -> Iterator[tuple[Any, Any]]:
    """Yield operations and their calls, from tensors back to the inputs of their model."""
    waiting = list(tensors)
    seen = set()
    while waiting:
        operation, index, _ = waiting.pop()._keras_history
        node = operation._inbound_nodes[index]
        if id(node) not in seen:
            seen.add(id(node))
            waiting += tree.flatten(node.input_tensors)
            yield operation, node


def lost_masks(layer: Any, calls: list[Any]) -> Iterator[Any]:
    """Yield the operations that receive a mask, but do not pass it on to the layer."""
    unmasked = [node.input_tensors[0] for node in calls if not takes_mask(node)]
    reached = {id(tensor) for tensor in unmasked}
    for operation, node in upstream(unmasked):
        if not any(id(tensor) in reached for tensor in node.output_tensors):
            continue  # before the operation that dropped the mask
        before = tree.flatten(node.input_tensors)
        if any(is_masked(tensor) for tensor in before):
            yield operation
        reached |= {id(tensor) for tensor in before if not is_masked(tensor)}


def takes_mask(call: Any) -> bool:
    """Return whether a call has a mask, either as an argument or from its input."""
    return call.arguments.kwargs.get("mask") is not None or is_masked(call.input_tensors[0])


def drops_mask(call: Any) -> bool:
    """Return whether a call of a recurrent layer ignores the mask of its input.

    Keras' own layers ignore it if they are called with an initial state.
    """
    layer = call.operation
    arguments = call.arguments
    if not isinstance(layer, (keras.layers.RNN, keras.layers.Bidirectional)):
        return False
    if not is_masked(call.input_tensors[0]) or arguments.kwargs.get("mask") is not None:
        return False
    if keeps_masks(layer):
        return arguments.kwargs.get("sequences_mask") is False
    return has_initial_state(arguments.args, arguments.kwargs)


def same_mask(layer: Any, copy: Any, args: Any, kwargs: Any) -> Any:
    """Return keyword arguments with which the copy of a layer applies the same mask as the layer.

    Args:
        layer: a layer of Keras or seqkeras.
        copy: its copy, a layer of Keras or seqkeras.
        args, kwargs: arguments of the call, as tensors of the copied graph.
    """
    layer_keeps_masks = keeps_masks(layer)
    without = {name: value for name, value in kwargs.items() if name != "sequences_mask"}
    if layer_keeps_masks == keeps_masks(copy) or not has_initial_state(args, kwargs):
        return kwargs
    if not layer_keeps_masks:
        return {**kwargs, "sequences_mask": False}
    mask = getattr(args[0], "_keras_mask", None)
    passes_mask = kwargs.get("mask") is None and kwargs.get("sequences_mask") is not False
    return {**without, "mask": mask} if passes_mask and mask is not None else without


def keeps_masks(layer: Any) -> bool:
    """Return whether a layer applies the mask of its input even if it gets an initial state.

    Recurrent layers of seqkeras do, those of Keras do not.
    """
    return isinstance(layer, (Resettable, Bidirectional))


def has_initial_state(args: Any, kwargs: Any) -> bool:
    """Return whether a recurrent layer is called with an initial state."""
    return len(args) > 1 or kwargs.get("initial_state") is not None


def is_masked(tensor: Any) -> bool:
    """Return whether a tensor carries a mask."""
    return getattr(tensor, "_keras_mask", None) is not None

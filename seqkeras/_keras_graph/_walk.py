"""Run values of any kind through the graph of a model."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from keras import tree

from seqkeras._keras_graph._model_graph import ModelGraph
from seqkeras._keras_graph._structure import is_graph

#: `visit(call, args, kwargs)`, with values in place of tensors, returns the values of all outputs.
Visit: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

#: `attach_mask(value, mask)` returns the value of a nested model's input, carrying the mask.
AttachMask: TypeAlias = Callable[[Any, Any], Any]


def walk(
    graph: ModelGraph, inputs: Iterable[Any], visit: Visit, attach_mask: AttachMask | None = None
) -> list[Any]:
    """Run values through a model, visiting each call, including those of nested models.

    Args:
        graph: the model.
        inputs: a value for each of `graph.inputs`.
        visit: called for each call of a layer or an operation, in order.
        attach_mask: called for each input of a nested model whose call passes a mask. Default:
            None, which drops these masks.

    Returns:
        A value for each of `graph.outputs`.
    """
    values = {id(tensor): value for tensor, value in zip(graph.inputs, inputs, strict=True)}
    for call in graph.calls:
        args, kwargs = call.arguments.fill_in(values)
        if is_graph(call.operation):
            nested = graph.nested(call.operation)
            results = walk(nested, _nested_inputs(args, kwargs, attach_mask), visit, attach_mask)
        else:
            results = tree.flatten(visit(call, args, kwargs))
        for tensor, value in zip(call.outputs, results, strict=True):
            values[id(tensor)] = value
    return [values[id(tensor)] for tensor in graph.outputs]


def _nested_inputs(
    args: tuple[Any, ...], kwargs: dict[str, Any], attach_mask: AttachMask | None
) -> Sequence[Any]:
    inputs = tree.flatten(args[0] if args else kwargs.get("inputs"))
    masks = tree.flatten(kwargs.get("mask"))
    if attach_mask is None or all(mask is None for mask in masks):
        return inputs
    return [
        attach_mask(value, mask) if mask is not None else value
        for value, mask in zip(inputs, masks, strict=True)
    ]

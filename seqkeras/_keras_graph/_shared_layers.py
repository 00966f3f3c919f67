"""A second model over the layers of a first one."""

from collections.abc import Iterator
from typing import Any

import keras


def compile_alike(model: keras.Model, other: keras.Model) -> None:
    """Compile `other` with the loss, the metrics and the very optimizer of `model`.

    Args:
        model: compiled by `keras.Model.compile`.
        other: built of the same variables.
    """
    options = dict(model._compile_config.config)
    options["optimizer"] = model.optimizer
    # A loss that is to be scaled is scaled by the optimizer already.
    other.compile(**options, auto_scale_loss=False)


def remove_calls(models: list[keras.Model]) -> None:
    """Remove the calls that models are made of from the layers that were called.

    Without this, layers that a second model shares would stay called twice, and their `output`
    would be ambiguous.
    """
    nodes = [node for model in models for node in _calls(model)]
    for node in nodes:
        for tensor in node.input_tensors:
            tensor._keras_history.operation._outbound_nodes.remove(node)
    for node in nodes:
        node.operation._inbound_nodes.remove(node)


def _calls(model: keras.Model) -> Iterator[Any]:
    graph = model._functional if isinstance(model, keras.Sequential) else model
    for nodes in graph._nodes_by_depth.values():
        yield from (node for node in nodes if not node.is_input)

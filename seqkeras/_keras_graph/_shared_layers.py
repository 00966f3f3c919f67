"""Support for a model that shares the layers of another model."""

from collections.abc import Iterator
from typing import Any

import keras


def compile_alike(model: keras.Model, other: keras.Model) -> None:
    """Compile `other` with the loss and the metrics of `model`, and the same optimizer object.

    Args:
        model: compiled by `keras.Model.compile`.
        other: a model with the same variables.
    """
    options = dict(model._compile_config.config)
    options["optimizer"] = model.optimizer
    # Keras must not wrap the optimizer: if `model` scales its loss, this optimizer does so already.
    other.compile(**options, auto_scale_loss=False)


def remove_calls(models: list[keras.Model]) -> None:
    """Remove the calls that models consist of from the layers that were called.

    Otherwise, layers that a second model shares would keep two calls, and their `output` would be
    ambiguous.
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

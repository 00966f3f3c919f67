"""Check that the ids of a data set are in the vocabulary of the model that reads it.

TensorFlow raises an error of its own for ids out of range, PyTorch may stop the process, and JAX
reads zeros or NaN.
"""

from collections.abc import Mapping
from typing import Any

import keras

from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import ModelGraph, is_graph
from seqkeras.windows._targets import find_reader


def check_reader(inputs: Mapping[str, int], targets: int | None) -> None:
    """Check ids against the model whose `fit` or `evaluate` has called, if it is functional.

    Args:
        inputs: the largest id of each input; the name of a single input does not matter.
        targets: the largest id among the targets. None: the targets are not ids.

    Raises:
        ArgumentError: the model does not have as many ids.
    """
    reader = find_reader()
    if reader is None or not is_graph(reader.model):
        return
    graph = ModelGraph(reader.model)
    for name, largest in inputs.items():
        size = graph.embedded_ids(name if len(inputs) > 1 else None)
        if size is not None and largest >= size:
            actual = f"embeds {size} ids"
            fix = "Use len(vocabulary) of the vocabulary that made the ids."
            raise _too_small(reader.model, actual, f"{name} ids", largest, fix)
    width = _width(reader.model)
    if targets is not None and width is not None and targets >= width > 1:  # 1: two classes
        actual = f"returns {width} logits"
        fix = f"Build it for {targets + 1} tokens, tags or classes, counted from 0."
        raise _too_small(reader.model, actual, "targets", targets, fix)


def _width(model: keras.Model) -> int | None:
    outputs = model.outputs
    return outputs[0].shape[-1] if len(outputs) == 1 and len(outputs[0].shape) > 1 else None


def _too_small(model: keras.Model, actual: str, what: str, largest: int, fix: str) -> Any:
    expected = f"built for ids up to {largest}, the largest of the {what}"
    return bad_argument("model", Description(f"{model.name!r}, which {actual}"), expected, fix)

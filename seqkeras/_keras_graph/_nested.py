"""The recurrent layers of a model, at any depth."""

from typing import Any

import keras

from seqkeras._keras_graph._structure import sublayers


def recurrent_layers(layer: Any, path: str = "") -> dict[str, Any]:
    """Return all recurrent layers within a model by their path, such as `"encoder/lstm"`."""
    layers: dict[str, Any] = {}
    for part in sublayers(layer):
        name = f"{path}/{part.name}" if path else part.name
        is_recurrent = isinstance(part, keras.layers.RNN)
        inner = {name: part} if is_recurrent else recurrent_layers(part, name)
        for inner_name, recurrent in inner.items():
            if any(recurrent is other for other in layers.values()):
                continue  # shared, and listed under its first path already
            layers[_unused(inner_name, name, layers)] = recurrent
    return layers


def _unused(inner_name: str, name: str, layers: dict[str, Any]) -> str:
    unused = inner_name
    number = 2
    while unused in layers:
        unused = f"{name}_{number}"
        number += 1
    return unused

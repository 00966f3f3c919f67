"""The recurrent layers of a model, wherever they lie."""

from typing import Any

import keras


def recurrent_layers(layer: Any, path: str = "") -> dict[str, Any]:
    """All recurrent layers within a model, by the names of what each lies in and its own."""
    found: dict[str, Any] = {}
    for part in layer._flatten_layers(recursive=False, include_self=False):
        name = f"{path}/{part.name}" if path else part.name
        here = {name: part} if isinstance(part, keras.layers.RNN) else recurrent_layers(part, name)
        for one, recurrent in here.items():
            if any(recurrent is other for other in found.values()):
                continue  # shared: its first place names it
            number = 2
            while one in found:
                one, number = f"{name}_{number}", number + 1
            found[one] = recurrent
    return found

"""Layers that stand at several places within a model, and the same in its copy."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from seqkeras._keras_graph._structure import is_graph, self_and_sublayers, sublayers

#: Where Keras itself lists the layers within a layer.
_LISTS_OF_KERAS = ("_layers", "_operations", "_functional")


class Place(NamedTuple):
    """An attribute of a layer that is a layer, or a position in one that is a list of them."""

    name: str
    position: int | None = None

    def part_of(self, layer: Any) -> Any:
        """Return the layer at this place, or None."""
        value = vars(layer).get(self.name)
        if self.position is None:
            return value
        is_list = isinstance(value, (list, tuple)) and self.position < len(value)
        return value[self.position] if is_list else None

    def put(self, layer: Any, part: Any) -> None:
        """Put a layer there, in the order that Keras had."""
        old = self.part_of(layer)
        if old is part:
            return
        order = layer._layers.index(old)
        layer._tracker.unlock()
        value = part
        if self.position is not None:
            value = list(getattr(layer, self.name))
            value[self.position] = part
        layer._tracker.untrack(old)
        setattr(layer, self.name, value)
        if layer._layers[-1] is part:
            layer._layers.insert(order, layer._layers.pop())


def places(layer: Any) -> Iterator[tuple[Place, Any]]:
    """Yield the layers directly within a layer that is no graph, with their places."""
    for name, value in vars(layer).items():
        if name in _LISTS_OF_KERAS:
            continue
        if isinstance(value, keras.layers.Layer):
            yield Place(name), value
        elif isinstance(value, (list, tuple)):
            for position, part in enumerate(value):
                if isinstance(part, keras.layers.Layer):
                    yield Place(name, position), part


def shared_parts(model: keras.Model) -> set[int]:
    """Return the `id` of each layer that stands at several places, one of them within a layer."""
    counts: Counter[int] = Counter()
    for layer in self_and_sublayers(model):
        parts = sublayers(layer) if is_graph(layer) else [part for _, part in places(layer)]
        counts.update(map(id, parts))
    return {number for number, count in counts.items() if count > 1}

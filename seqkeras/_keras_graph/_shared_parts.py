"""Find layers that are used in several places of a model, so that a copy can share them too."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from seqkeras._keras_graph._structure import is_graph, self_and_sublayers, sublayers

#: Attributes in which Keras itself keeps the layers within a layer.
_KERAS_BOOKKEEPING = ("_layers", "_operations", "_functional")


class Place(NamedTuple):
    """Where a layer holds a sublayer: an attribute, or a position in a list attribute."""

    name: str
    position: int | None = None

    def part_of(self, layer: Any) -> Any:
        """Return the layer at this place, or None."""
        value = vars(layer).get(self.name)
        if self.position is None:
            return value
        has_position = isinstance(value, (list, tuple)) and self.position < len(value)
        return value[self.position] if has_position else None

    def put(self, layer: Any, part: Any) -> None:
        """Replace the layer at this place, keeping its position in Keras' list of sublayers."""
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
    """Yield the layers directly within a layer, with their places; `layer` is not a graph."""
    for name, value in vars(layer).items():
        if name in _KERAS_BOOKKEEPING:
            continue
        if isinstance(value, keras.layers.Layer):
            yield Place(name), value
        elif isinstance(value, (list, tuple)):
            for position, part in enumerate(value):
                if isinstance(part, keras.layers.Layer):
                    yield Place(name, position), part


def shared_parts(model: keras.Model) -> set[int]:
    """Return the ids of the layers held in more than one place, by different layers or by one."""
    counts: Counter[int] = Counter()
    for layer in self_and_sublayers(model):
        parts = sublayers(layer) if is_graph(layer) else [part for _, part in places(layer)]
        counts.update(map(id, parts))
    return {layer_id for layer_id, count in counts.items() if count > 1}

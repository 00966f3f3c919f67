"""The step function of a model and the loops compiled for it, kept with the model."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

#: Largest number of compiled loops of one kind that are kept with a model.
MOST_LOOPS = 8

Step = TypeVar("Step")


class CompiledLoops(Generic[Step]):
    """A step function, and the loops that were compiled for it.

    Attributes:
        step: the step function.
        verified: whether the step function was compared with the model; false at first.
    """

    def __init__(self, model: Any, step: Step) -> None:
        self.step = step
        self.verified = False
        self._outputs = [id(tensor) for tensor in model.outputs]
        self._loops: OrderedDict[Hashable, Any] = OrderedDict()

    @classmethod
    def of(cls, model: Any, name: str, step: Callable[[Any], Step]) -> "CompiledLoops[Step]":
        """Return those that are kept with a model under a name, or new ones around `step(model)`.

        Layers that were added to the model since make new ones too.
        """
        # Stored in `__dict__`, because Keras would track the loops as layers of the model if they
        # were set as an attribute. Stored there, they are freed together with the model, even if
        # functions that they call refer to it.
        attributes = getattr(model, "__dict__", {})
        loops: CompiledLoops[Step] | None = attributes.get(name)
        if loops is None or loops._outputs != [id(tensor) for tensor in model.outputs]:
            loops = cls(model, step(model))
            attributes[name] = loops
        return loops

    def loop(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the loop that was made for a key, or make it; the oldest loops are dropped."""
        loop = self._loops.pop(key, None) or make()
        self._loops[key] = loop
        if len(self._loops) > MOST_LOOPS:
            self._loops.popitem(last=False)
        return loop

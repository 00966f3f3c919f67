"""A copy of a model for other batches and with other states."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from seqkeras._keras_graph._rebuild import (
    Rebuild,
    class_of,
    inputs_of,
    is_graph,
    name_of,
    new_input,
    refusal,
)
from seqkeras.states._recurrent_states import Recurrent, reads_time


@dataclass(frozen=True)
class Form:
    """What a copy is to be.

    Attributes:
        recurrent: how recurrent layers are copied.
        batch_size: of all inputs, or None.
        flags: whether the model takes reset flags.
        opened: which inputs, by number, take any number of timesteps.
    """

    recurrent: Recurrent
    batch_size: int | None
    flags: bool
    opened: frozenset[int] = frozenset()


class Reform(Rebuild):
    """One copy of one model, in another form."""

    def __init__(self, model: keras.Model, form: Form) -> None:
        super().__init__(model)
        self._form = form
        self._called: set[int] = set()

    def _shapes(self) -> list[Any]:
        shapes = []
        for number, tensor in enumerate(self._root.inputs):
            shape = [self._form.batch_size, *tensor.shape[1:]]
            if number in self._form.opened:
                shape[1] = None
            shapes.append(shape)
        return shapes

    def _flags(self, model: keras.Model) -> bool:
        return self._form.flags and bool(reads_time(model))

    def _stays_sequential(self, model: keras.Sequential) -> bool:
        return not self._flags(model) and not any(map(is_graph, model.layers))

    def _sequential(self, model: keras.Sequential, shape: Any) -> keras.Sequential:
        self._check_calls(model.layers)
        return super()._sequential(model, shape)

    def _functional(self, model: keras.Model, shapes: list[Any]) -> keras.Model:
        flags, old = self._flags(model), model.inputs
        named = {name_of(tensor): shape for tensor, shape in zip(old, shapes, strict=True)}
        alone = model is self._root and flags and len(named.keys() - {"reset"}) == 1
        new = {}
        for name, tensor in zip(named, old, strict=True):
            # Named as the builders do where it is the only one.
            renamed = alone and name != "reset"
            new[name] = new_input(tensor, named[name], "inputs" if renamed else name)
        added = []
        if flags and "reset" not in new:
            shape = (self._form.batch_size, None)
            added = [keras.Input(batch_shape=shape, name="reset", dtype="bool", optional=True)]
        reset = (added[0] if added else new["reset"]) if flags else None
        outputs = self._through(model, list(new.values()), reset)
        inputs = tree.map_structure(lambda tensor: new[name_of(tensor)], inputs_of(model))
        if added:
            inputs = {**{name_of(tensor): tensor for tensor in new.values()}, "reset": reset}
        elif not flags and "reset" in new:
            inputs = _without_reset(inputs)
        return class_of(model)(inputs, outputs, name=model.name)

    def _call(self, layer: Any, args: Any, kwargs: Any, reset: Any = None) -> Any:
        """The copy of a layer, called as the layer was, but for the flags."""
        if is_graph(layer):
            copy, args = self._nested(layer, args, reset)
        else:
            copy = self._layer(layer)
        if isinstance(layer, keras.layers.RNN):
            self._form.recurrent.check_call(self._root, layer, args, kwargs)
            kwargs.pop("reset", None)
            if reset is not None:
                kwargs["reset"] = reset
        self._check_calls([layer])
        return self._run(layer, copy, args, kwargs)

    def _nested(self, model: keras.Model, args: Any, reset: Any) -> tuple[keras.Model, Any]:
        """The copy of a model within the model, and what it is called on."""
        given = dict(
            zip((name_of(tensor) for tensor in model.inputs), tree.flatten(args[0]), strict=True)
        )
        if id(model) not in self._copies:
            self._copies[id(model)] = self._graph(
                model, [_fitting(tensor, given[name_of(tensor)]) for tensor in model.inputs]
            )
        copy = self._copies[id(model)]
        values = {**given, "reset": reset}
        return copy, (
            tree.map_structure(lambda tensor: values[name_of(tensor)], inputs_of(copy)),
            *args[1:],
        )

    def _new(self, layer: Any) -> Any:
        self._form.recurrent.check(self._root, layer)
        return self._form.recurrent.copy(layer)

    def _check_calls(self, layers: list[Any]) -> None:
        """A state that two calls share would be carried from the one into the other."""
        for layer in layers:
            if self._form.recurrent.stateful and reads_time(layer) and id(layer) in self._called:
                reason = "it is called more than once, and would carry its state between the calls."
                raise refusal(self._root, "without shared recurrent layers", layer, reason)
            self._called.add(id(layer))


def _fitting(tensor: Any, value: Any) -> list[int | None]:
    """The shape of an input of a model within the model, where it is called on `value`."""
    if value is None:
        return list(tensor.shape)
    dims = zip(tensor.shape[1:], value.shape[1:], strict=True)
    return [value.shape[0], *(now if before is not None else None for before, now in dims)]


def _without_reset(inputs: Any) -> Any:
    if isinstance(inputs, dict):
        rest: Any = {name: one for name, one in inputs.items() if name_of(one) != "reset"}
        return rest if len(rest) > 1 else next(iter(rest.values()))
    rest = [one for one in tree.flatten(inputs) if name_of(one) != "reset"]
    return rest if len(rest) > 1 else rest[0]

"""Copy a model for another batch size, as a stateful or a stateless one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from seqkeras._keras_graph._calls import calls_of
from seqkeras._keras_graph._rebuild import (
    Rebuild,
    class_for_copy,
    conversion_error,
    inputs_of,
    is_graph,
    name_of,
    new_input,
)
from seqkeras._keras_graph._shared_layers import remove_calls
from seqkeras.layers import Resettable
from seqkeras.states._named import rows_of, stateful_layers
from seqkeras.states._recurrent_states import Recurrent, reads_time, within


@dataclass(frozen=True)
class Form:
    """The form of a copy.

    Attributes:
        recurrent: how recurrent layers are copied.
        batch_size: batch size of all inputs, or None for any.
        flags: whether the model takes reset flags.
        opened: numbers of the inputs that will take any number of timesteps.
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
        flags = self._flags(model)
        names = [name_of(tensor) for tensor in model.inputs]
        is_only_input = model is self._root and flags and len({*names} - {"reset"}) == 1
        new = {}
        for name, tensor, shape in zip(names, model.inputs, shapes, strict=True):
            # The only input is renamed to "sequence", its name in the models of the builders.
            new_name = "sequence" if is_only_input and name != "reset" else name
            new[name] = new_input(tensor, shape, new_name)
        reset = None
        if flags:
            reset = new["reset"] if "reset" in new else self._reset_input()
        outputs = self._through(model, list(new.values()), reset)
        inputs = tree.map_structure(lambda tensor: new[name_of(tensor)], inputs_of(model))
        if flags and "reset" not in new:
            inputs = {**{name_of(tensor): tensor for tensor in new.values()}, "reset": reset}
        elif is_only_input and isinstance(inputs, dict):
            inputs = {name_of(tensor): tensor for tensor in inputs.values()}
        elif not flags and "reset" in new:
            inputs = _without_reset(inputs)
        return class_for_copy(model)(inputs, outputs, name=model.name)

    def _reset_input(self) -> Any:
        shape = (self._form.batch_size, None)
        return keras.Input(batch_shape=shape, name="reset", dtype="bool", optional=True)

    def _call_copy(self, layer: Any, args: Any, kwargs: Any, reset: Any = None) -> Any:
        """Call the copy of a layer with the arguments of the layer, except for the flags."""
        if is_graph(layer):
            copy, args = self._nested(layer, args, reset)
        else:
            copy = self._layer(layer)
        if isinstance(layer, keras.layers.RNN):
            kwargs.pop("reset", None)
            if reset is not None and copy.stateful:
                kwargs["reset"] = reset
        self._check_calls([layer])
        return self._run(layer, copy, args, kwargs)

    def _nested(self, model: keras.Model, args: Any, reset: Any) -> tuple[keras.Model, Any]:
        """Return the copy of a nested model, and the arguments to call it with."""
        names = [name_of(tensor) for tensor in model.inputs]
        tensors = dict(zip(names, tree.flatten(args[0]), strict=True))
        if id(model) not in self._copies:
            self._copies[id(model)] = self._graph(
                model, [_fitting(tensor, tensors[name_of(tensor)]) for tensor in model.inputs]
            )
        copy = self._copies[id(model)]
        tensors["reset"] = reset
        inputs = tree.map_structure(lambda tensor: tensors[name_of(tensor)], inputs_of(copy))
        return copy, (inputs, *args[1:])

    def _new(self, layer: Any) -> Any:
        self._form.recurrent.check(self._root, layer)
        return self._form.recurrent.copy(layer)

    def _share(self, layer: Any, copy: Any) -> None:
        """Share the layers inside a copy; refuse a shared recurrent layer, which has one state."""
        if self._form.recurrent.stateful:
            for part in within(layer):
                if id(part) in self._shared:
                    reason = "it is used in several places, and would carry its state between them."
                    expected = "without shared recurrent layers"
                    raise conversion_error(self._root, expected, part, reason)
        super()._share(layer, copy)

    def _check_calls(self, layers: list[Any]) -> None:
        """Refuse two calls of one recurrent layer: each would continue the state of the other."""
        for layer in layers:
            if self._form.recurrent.stateful and reads_time(layer) and id(layer) in self._called:
                reason = "it is called more than once, and would carry its state between the calls."
                raise conversion_error(self._root, "without shared recurrent layers", layer, reason)
            self._called.add(id(layer))


class _WithFlags(Reform):
    """Calls the layers of a stateful model again with reset flags, instead of copying them."""

    def __init__(self, model: keras.Model) -> None:
        rows = rows_of(next(iter(stateful_layers(model).values())))
        super().__init__(model, Form(Recurrent(True, flags=True), rows, flags=True))
        #: The new models: one for the model itself, and one for each nested model.
        self.made: list[keras.Model] = []

    def _graph(self, model: keras.Model, shapes: list[Any]) -> keras.Model:
        made = super()._graph(model, shapes)
        self.made.append(made)
        return made

    def _layer(self, layer: Any) -> Any:
        return layer


def takes_flags(model: keras.Model) -> bool:
    """Return whether `with_flags` can give a stateful model a reset input."""
    if not is_graph(model) or len(model.inputs) != 1:
        return False
    calls = calls_of(model)
    return all(
        isinstance(layer, Resettable) and len(calls.get(id(layer), [])) == 1
        for layer in stateful_layers(model).values()
    )


@contextmanager
def with_flags(model: keras.Model) -> Iterator[keras.Model]:
    """Give a stateful model a reset input for the duration of the block.

    Args:
        model: a model that passes `takes_flags`.

    Yields:
        A model of the same layers and variables, with the inputs `"sequence"` and `"reset"`. The
        end of the block removes its calls from the layers; do not use it after that.

    Raises:
        ArgumentError: a nested model is called more than once.
    """
    reform = _WithFlags(model)
    try:
        yield reform.run()
    finally:
        remove_calls(reform.made)


def _fitting(tensor: Any, value: Any) -> list[int | None]:
    """Return the shape of an input of a nested model that is called on `value`."""
    if value is None:
        return list(tensor.shape)
    sizes = zip(tensor.shape[1:], value.shape[1:], strict=True)
    return [value.shape[0], *(new if old is not None else None for old, new in sizes)]


def _without_reset(inputs: Any) -> Any:
    rest: Any
    if isinstance(inputs, dict):
        rest = {name: tensor for name, tensor in inputs.items() if name_of(tensor) != "reset"}
        return rest if len(rest) > 1 else next(iter(rest.values()))
    rest = [tensor for tensor in tree.flatten(inputs) if name_of(tensor) != "reset"]
    return rest if len(rest) > 1 else rest[0]

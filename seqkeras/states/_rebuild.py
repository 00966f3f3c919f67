"""A copy of a model, layer by layer along its graph, for other batches and with other states."""

import inspect
import tempfile
import types
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError
from seqkeras.layers import Resettable
from seqkeras.states._recurrent import Recurrent, reads_time


def name_of(tensor: Any) -> str:
    """The name of an input."""
    return str(tensor._keras_history.operation.name)


class CannotBuildError(Exception):
    """A layer cannot be called on shapes that were tried."""


def is_graph(layer: Any) -> bool:
    """Whether this is a model whose layers, and the calls between them, can be seen."""
    if isinstance(layer, keras.Sequential):
        return layer.built and getattr(layer, "_functional", None) is not None
    return isinstance(layer, keras.Model) and isinstance(layer, keras.Function)


def refusal(model: keras.Model, expected: str, layer: Any, reason: str) -> ArgumentError:
    """The error for a model with a layer that cannot be converted."""
    fix = f"Layer {layer.name!r} ({type(layer).__name__}): {reason}"
    return bad_argument("model", model.name, expected, fix)


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


class Rebuild:
    """One copy of one model. Weights are copied; neither variables nor layers are shared."""

    def __init__(self, model: keras.Model, form: Form) -> None:
        self._root, self._form = model, form
        self._copies: dict[int, Any] = {}
        self._pairs: list[tuple[Any, Any]] = []
        self._called: set[int] = set()

    def run(self) -> keras.Model:
        """The copy.

        Raises:
            ArgumentError: a layer cannot be converted.
            CannotBuildError: a layer cannot be called on these shapes.
        """
        shapes = []
        for number, tensor in enumerate(self._root.inputs):
            shape = [self._form.batch_size, *tensor.shape[1:]]
            if number in self._form.opened:
                shape[1] = None
            shapes.append(shape)
        with keras.saving.custom_object_scope(_objects_of(self._root)):
            copy = self._graph(self._root, shapes, top=True)
        for pair in self._pairs:
            _copy_values(*pair)
        if not self._root.trainable:
            copy.trainable = False
        return copy

    def _graph(self, model: keras.Model, shapes: list[Any], *, top: bool = False) -> keras.Model:
        flags = self._form.flags and bool(reads_time(model))
        if (
            isinstance(model, keras.Sequential)
            and not flags
            and not any(map(is_graph, model.layers))
        ):
            return self._sequential(model, shapes[0])
        old = model.inputs
        named = {name_of(tensor): shape for tensor, shape in zip(old, shapes, strict=True)}
        alone = top and flags and len(named.keys() - {"reset"}) == 1
        new = {name_of(tensor): _input(tensor, named[name_of(tensor)], alone) for tensor in old}
        added = []
        if flags and "reset" not in new:
            shape = (self._form.batch_size, None)
            added = [keras.Input(batch_shape=shape, name="reset", dtype="bool", optional=True)]
        reset = (added[0] if added else new["reset"]) if flags else None

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            return self._call(layer, args, kwargs, reset)

        if isinstance(model, keras.Sequential):
            (outputs,) = new.values()
            for layer in model.layers:
                outputs = call(layer, outputs)
        else:
            # What clone_model does, but for inputs that come or go, and the compiling.
            outputs = model._run_through_graph(
                list(new.values()), operation_fn=lambda layer: layer, call_fn=call
            )
        inputs = tree.map_structure(lambda tensor: new[name_of(tensor)], _inputs_of(model))
        if added:
            inputs = {**{name_of(tensor): tensor for tensor in new.values()}, "reset": reset}
        elif not flags and "reset" in new:
            inputs = _without_reset(inputs)
        return _class_of(model)(inputs, outputs, name=model.name)

    def _sequential(self, model: keras.Sequential, shape: Any) -> keras.Sequential:
        copies = [self._layer(layer) for layer in model.layers]
        self._check_calls(model.layers)
        try:
            return keras.Sequential([_input(model.inputs[0], shape), *copies], name=model.name)
        except Exception as error:
            raise CannotBuildError(str(error)) from error

    def _call(self, layer: Any, args: Any, kwargs: Any, reset: Any) -> Any:
        """The copy of a layer, called as the layer was."""
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
        try:
            return copy(*args, **kwargs)
        except Exception as error:
            raise CannotBuildError(f"layer {layer.name!r}: {error}") from error

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
            tree.map_structure(lambda tensor: values[name_of(tensor)], _inputs_of(copy)),
            *args[1:],
        )

    def _layer(self, layer: Any) -> Any:
        """The copy of a layer, the same at every call, so that shared layers stay shared."""
        if id(layer) not in self._copies:
            self._form.recurrent.check(self._root, layer)
            try:
                copy = self._form.recurrent.copy(layer)
            except Exception as error:
                reason = f"it cannot be made again from its config: {error}"
                raise refusal(self._root, "made of layers with a config", layer, reason) from error
            self._copies[id(layer)] = copy
            self._pairs.append((layer, copy))
        return self._copies[id(layer)]

    def _check_calls(self, layers: list[Any]) -> None:
        """A state that two calls share would be carried from the one into the other."""
        for layer in layers:
            if self._form.recurrent.stateful and reads_time(layer) and id(layer) in self._called:
                reason = "it is called more than once, and would carry its state between the calls."
                raise refusal(self._root, "without shared recurrent layers", layer, reason)
            self._called.add(id(layer))


def _inputs_of(model: keras.Model) -> Any:
    """The inputs in the structure that the model is called with."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _input(tensor: Any, shape: Any, alone: bool = False) -> Any:
    """An input as it was, of another shape; named as the builders do where it is the only one."""
    config = tensor._keras_history.operation.get_config()
    name = "inputs" if alone and name_of(tensor) != "reset" else name_of(tensor)
    config.update(batch_shape=tuple(shape), name=name)
    return keras.layers.InputLayer.from_config(config).output


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


def _class_of(model: keras.Model) -> Any:
    """The class of the copy: a class of the user's own, if it is made of inputs and outputs."""
    if isinstance(model, keras.Sequential):
        return keras.Model
    kinds = inspect.signature(type(model).__init__).parameters.values()
    named = {"inputs", "outputs"} <= {one.name for one in kinds}
    anything = {one.VAR_POSITIONAL for one in kinds} <= {one.kind for one in kinds}
    return type(model) if named or anything else keras.Model


def _objects_of(model: keras.Model) -> dict[str, Any]:
    """Classes and functions of a model, by name: not all that its configs name is registered."""
    found: list[Any] = []
    for layer in model._flatten_layers():
        functions = (one for one in vars(layer).values() if isinstance(one, types.FunctionType))
        found += [type(layer), *(one for one in functions if one.__name__ != "<lambda>")]
    return {one.__name__: one for one in found if one.__module__.split(".")[0] != "keras"}


def _copy_values(old: Any, new: Any) -> None:
    """All weights, vocabularies and the like of a layer and of those within it."""
    if not isinstance(old, keras.layers.Layer):
        return
    for source, target in zip(old._flatten_layers(), new._flatten_layers(), strict=True):
        values: dict[str, Any] = {}
        source.save_own_variables(values)
        weights = {
            name: ops.convert_to_numpy(value)
            for name, value in values.items()
            if not (isinstance(source, Resettable) and name.startswith("state_"))
        }
        target.load_own_variables(weights)
        if hasattr(source, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                source.save_assets(folder)
                target.load_assets(folder)

"""A copy of a model, layer by layer along its graph."""

import inspect
import tempfile
import types
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError
from seqkeras.layers._resettable import Resettable


class CannotBuildError(Exception):
    """A layer cannot be called on shapes that were tried."""


def is_graph(layer: Any) -> bool:
    """Whether this is a model whose layers, and the calls between them, can be seen."""
    if isinstance(layer, keras.Sequential):
        return layer.built and getattr(layer, "_functional", None) is not None
    return isinstance(layer, keras.Model) and isinstance(layer, keras.Function)


def check_graph(model: Any) -> None:
    """Refuses what is no model, and models whose graph cannot be seen."""
    if not isinstance(model, keras.Model):
        raise bad_argument("model", type(model).__name__, "a keras.Model")
    if is_graph(model):
        return
    if isinstance(model, keras.Sequential):
        fix = "Give it an Input as its first layer."
        raise bad_argument("model", model.name, "built", fix)
    fix = "What its call() does cannot be seen from outside. Make it of keras.Input and "
    fix += "keras.Model(inputs, outputs), or write the layers that you want into its class."
    raise bad_argument("model", type(model).__name__, "functional or Sequential", fix)


def name_of(tensor: Any) -> str:
    """The name of an input."""
    return str(tensor._keras_history.operation.name)


def refusal(model: keras.Model, expected: str, layer: Any, reason: str) -> ArgumentError:
    """The error for a model with a layer that cannot be converted."""
    fix = f"Layer {layer.name!r} ({type(layer).__name__}): {reason}"
    return bad_argument("model", model.name, expected, fix)


class Rebuild:
    """One copy of one model. Weights are copied; neither variables nor layers are shared.

    As it is, the copy is equal; a subclass says what else it is to be.
    """

    def __init__(self, model: keras.Model) -> None:
        self._root = model
        self._copies: dict[int, Any] = {}
        self._graphs: list[tuple[Any, Any]] = []
        self._pairs: list[tuple[Any, Any]] = []

    def run(self) -> keras.Model:
        """The copy.

        Raises:
            ArgumentError: a layer cannot be converted.
            CannotBuildError: a layer cannot be called on these shapes.
        """
        with keras.saving.custom_object_scope(_objects_of(self._root)):
            copy = self._graph(self._root, self._shapes())
        for pair in self._pairs:
            _copy_values(*pair)
        # From the outside in, for a flag that is set is set on all within.
        for old, new in [*reversed(self._graphs), *self._pairs]:
            _copy_trainable(old, new)
        return copy

    def _shapes(self) -> list[Any]:
        """The shapes of the inputs of the copy."""
        return [tensor.shape for tensor in self._root.inputs]

    def _graph(self, model: keras.Model, shapes: list[Any]) -> keras.Model:
        if isinstance(model, keras.Sequential) and self._stays_sequential(model):
            copy = self._sequential(model, shapes[0])
        else:
            copy = self._functional(model, shapes)
        self._graphs.append((model, copy))
        return copy

    def _stays_sequential(self, model: keras.Sequential) -> bool:
        return True

    def _sequential(self, model: keras.Sequential, shape: Any) -> keras.Sequential:
        copies = [copy for layer in model.layers for copy in self._parts(layer)]
        try:
            return keras.Sequential([new_input(model.inputs[0], shape), *copies], name=model.name)
        except Exception as error:
            raise CannotBuildError(str(error)) from error

    def _functional(self, model: keras.Model, shapes: list[Any]) -> keras.Model:
        new = {
            name_of(tensor): new_input(tensor, shape)
            for tensor, shape in zip(model.inputs, shapes, strict=True)
        }
        outputs = self._through(model, list(new.values()))
        inputs = tree.map_structure(lambda tensor: new[name_of(tensor)], inputs_of(model))
        return class_of(model)(inputs, outputs, name=model.name)

    def _through(self, model: keras.Model, inputs: list[Any], *context: Any) -> Any:
        """The outputs of the copies of its layers; `context` goes to each call."""

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            return self._call(layer, args, kwargs, *context)

        if isinstance(model, keras.Sequential):
            (outputs,) = inputs
            for layer in model.layers:
                outputs = call(layer, outputs)
            return outputs
        # What clone_model does, but for inputs that come or go, and the compiling.
        return model._run_through_graph(inputs, operation_fn=lambda layer: layer, call_fn=call)

    def _call(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """The copy of a layer, called as the layer was."""
        outputs, *rest = args
        for copy in self._parts(layer):
            outputs = self._run(layer, copy, (outputs, *rest), kwargs)
        return outputs

    def _run(self, layer: Any, copy: Any, args: Any, kwargs: Any) -> Any:
        try:
            return copy(*args, **kwargs)
        except Exception as error:
            raise CannotBuildError(f"layer {layer.name!r}: {error}") from error

    def _parts(self, layer: Any) -> list[Any]:
        """The copies of a layer that run one after the other: it has one, as a rule."""
        if not is_graph(layer):
            return [self._layer(layer)]
        if id(layer) not in self._copies:
            shapes = [tensor.shape for tensor in layer.inputs]
            self._copies[id(layer)] = self._graph(layer, shapes)
        return [self._copies[id(layer)]]

    def _layer(self, layer: Any) -> Any:
        """The copy of a layer, the same at every call, so that shared layers stay shared."""
        if id(layer) not in self._copies:
            try:
                copy = self._new(layer)
            except ArgumentError:
                raise
            except Exception as error:
                reason = f"it cannot be made again from its config: {error}"
                raise refusal(self._root, "made of layers with a config", layer, reason) from error
            self._copies[id(layer)] = copy
            self._pairs.append((layer, copy))
        return self._copies[id(layer)]

    def _new(self, layer: Any) -> Any:
        """A new layer, or operation, of the same config and name, without weights yet."""
        return new_layer(layer)


def new_layer(layer: Any) -> Any:
    """A new layer, or operation, of the same config and name, without weights yet."""
    if not isinstance(layer, keras.layers.Lambda):
        return type(layer).from_config(layer.get_config())
    # From its config its function would come back without the names that it uses.
    config = {name: layer.get_config()[name] for name in ("name", "trainable", "dtype")}
    return type(layer)(
        layer.function,
        output_shape=layer._output_shape,
        mask=layer.mask,
        arguments=layer.arguments,
        **config,
    )


def new_input(tensor: Any, shape: Any, name: str | None = None) -> Any:
    """An input as it was, of another shape or name."""
    config = tensor._keras_history.operation.get_config()
    config.update(batch_shape=tuple(shape), name=name or name_of(tensor))
    return keras.layers.InputLayer.from_config(config).output


def inputs_of(model: keras.Model) -> Any:
    """The inputs in the structure that the model is called with."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def class_of(model: keras.Model) -> Any:
    """The class of the copy: a class of the user's own, if it is made of inputs and outputs."""
    if isinstance(model, keras.Sequential):
        return keras.Model
    kinds = inspect.signature(type(model).__init__).parameters.values()
    named = {"inputs", "outputs"} <= {one.name for one in kinds}
    anything = {one.VAR_POSITIONAL for one in kinds} <= {one.kind for one in kinds}
    return type(model) if named or anything else keras.Model


def parts_of(old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    """A layer and those within it, each with its copy, the outer before the inner."""
    if isinstance(old, keras.layers.Layer):
        yield from zip(old._flatten_layers(), new._flatten_layers(), strict=True)


def _objects_of(model: keras.Model) -> dict[str, Any]:
    """Classes and functions of a model, by name: not all that its configs name is registered."""
    found: list[Any] = []
    for layer in model._flatten_layers():
        functions = (one for one in vars(layer).values() if isinstance(one, types.FunctionType))
        found += [type(layer), *(one for one in functions if one.__name__ != "<lambda>")]
    return {one.__name__: one for one in found if one.__module__.split(".")[0] != "keras"}


def _copy_values(old: Any, new: Any) -> None:
    """All weights, vocabularies and the like of a layer and of those within it."""
    for source, target in parts_of(old, new):
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


def _copy_trainable(old: Any, new: Any) -> None:
    parts = [(old, new)] if is_graph(old) else parts_of(old, new)
    for source, target in parts:
        if target.trainable != source.trainable:
            target.trainable = source.trainable

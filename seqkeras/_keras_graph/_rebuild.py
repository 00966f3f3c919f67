"""Copy a model layer by layer along its graph."""

import tempfile
import types
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops, tree

from seqkeras._keras_graph._calls import same_mask
from seqkeras._keras_graph._shared_parts import places, shared_parts
from seqkeras._keras_graph._structure import check_graph as check_graph
from seqkeras._keras_graph._structure import class_for_copy as class_for_copy
from seqkeras._keras_graph._structure import conversion_error as conversion_error
from seqkeras._keras_graph._structure import input_layer, self_and_sublayers
from seqkeras._keras_graph._structure import inputs_of as inputs_of
from seqkeras._keras_graph._structure import is_graph as is_graph
from seqkeras._keras_graph._structure import name_of as name_of
from seqkeras.errors import ArgumentError
from seqkeras.layers._resettable import Resettable


class CannotBuildError(Exception):
    """A copy cannot be built: a layer cannot be called, or its config omits sublayers."""


class Rebuild:
    """A copy of a model, which shares neither layers nor variables with it; weights are copied.

    The copy equals the model, except where a subclass of `Rebuild` overrides a method.
    """

    def __init__(self, model: keras.Model) -> None:
        self._root = model
        self._copies: dict[int, Any] = {}
        self._graphs: list[tuple[Any, Any]] = []
        self._pairs: list[tuple[Any, Any]] = []
        self._shared = shared_parts(model)

    def run(self) -> keras.Model:
        """Return the copy.

        Raises:
            ArgumentError: a layer cannot be converted.
            CannotBuildError: a layer cannot be called on the shapes of the copy.
        """
        with keras.saving.custom_object_scope(_objects_of(self._root)):
            copy = self._graph(self._root, self._shapes())
        for pair in self._pairs:
            _copy_values(*pair)
        # Outer layers first, because setting `trainable` on a layer sets it on all layers within.
        for old, new in [*reversed(self._graphs), *self._pairs]:
            _copy_trainable(old, new)
        return copy

    def _shapes(self) -> list[Any]:
        """Return the shapes of the inputs of the copy."""
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
        return class_for_copy(model)(inputs, outputs, name=model.name)

    def _through(self, model: keras.Model, inputs: list[Any], *context: Any) -> Any:
        """Call the copied layers, and return the outputs; each `_call_copy` gets `context`."""

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            return self._call_copy(layer, args, kwargs, *context)

        if isinstance(model, keras.Sequential):
            (outputs,) = inputs
            for layer in model.layers:
                outputs = call(layer, outputs)
            return outputs
        # As in keras.models.clone_model, except that inputs may be added or removed and nothing is
        # compiled.
        return model._run_through_graph(inputs, operation_fn=lambda layer: layer, call_fn=call)

    def _call_copy(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """Call the copy of a layer as the layer was called."""
        outputs, *rest = args
        for copy in self._parts(layer):
            outputs = self._run(layer, copy, (outputs, *rest), kwargs)
        return outputs

    def _run(self, layer: Any, copy: Any, args: Any, kwargs: Any) -> Any:
        try:
            return copy(*args, **same_mask(layer, copy, args, kwargs))
        except Exception as error:
            raise CannotBuildError(f"layer {layer.name!r}: {error}") from error

    def _parts(self, layer: Any) -> list[Any]:
        """Return the layers that replace a layer, in the order in which they run; usually one."""
        if not is_graph(layer):
            return [self._layer(layer)]
        if id(layer) not in self._copies:
            shapes = [tensor.shape for tensor in layer.inputs]
            self._copies[id(layer)] = self._graph(layer, shapes)
        return [self._copies[id(layer)]]

    def _layer(self, layer: Any) -> Any:
        """Return the copy of a layer, created only once, so that shared layers stay shared."""
        if id(layer) not in self._copies:
            try:
                copy = self._new(layer)
            except ArgumentError:
                raise
            except Exception as error:
                reason = f"it cannot be recreated from its config: {error}"
                raise conversion_error(
                    self._root, "made of layers that a config describes", layer, reason
                ) from error
            self._copies[id(layer)] = copy
            self._pairs.append((layer, copy))
            self._share(layer, copy)
        return self._copies[id(layer)]

    def _share(self, layer: Any, copy: Any) -> None:
        """Make copies share the sublayers that their originals share."""
        if not self._shared or not isinstance(layer, keras.layers.Layer) or is_graph(layer):
            return
        for place, part in places(layer):
            if is_graph(part) and self._shared & set(map(id, self_and_sublayers(part))):
                place.put(copy, self._parts(part)[0])
                continue
            copied_part = place.part_of(copy)
            if copied_part is None:  # created later, when the copy is built
                continue
            if id(part) in self._shared and id(part) in self._copies:
                place.put(copy, self._copies[id(part)])
                continue
            if id(part) in self._shared:
                self._copies[id(part)] = copied_part
            self._share(part, copied_part)

    def _new(self, layer: Any) -> Any:
        return new_layer(layer)


def new_layer(layer: Any) -> Any:
    """Return a new layer or operation with the same config and name, still without weights."""
    if not isinstance(layer, keras.layers.Lambda):
        return type(layer).from_config(layer.get_config())
    # Pass the function itself, because a config omits the globals that it uses.
    config = {name: layer.get_config()[name] for name in ("name", "trainable", "dtype")}
    return type(layer)(
        layer.function,
        output_shape=layer._output_shape,
        mask=layer.mask,
        arguments=layer.arguments,
        **config,
    )


def new_input(tensor: Any, shape: Any, name: str | None = None) -> Any:
    """Return a new input like `tensor`, with another shape or name."""
    config = input_layer(tensor).get_config()
    config["batch_shape"] = tuple(shape)
    config["name"] = name or name_of(tensor)
    return keras.layers.InputLayer.from_config(config).output


def parts_of(old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a layer and the layers within it, each with its copy, outer before inner."""
    if not isinstance(old, keras.layers.Layer):
        return
    parts = self_and_sublayers(old)
    copies = self_and_sublayers(new)
    if len(parts) != len(copies):
        raise CannotBuildError(
            f"layer {old.name!r} ({type(old).__name__}) has {len(parts) - 1} layers within it, and "
            f"its copy {len(copies) - 1}; its config must describe every layer that it creates"
        )
    yield from zip(parts, copies, strict=True)


def _objects_of(model: keras.Model) -> dict[str, Any]:
    """Return the classes and functions that configs of a model may name without registration."""
    objects: list[Any] = []
    for layer in self_and_sublayers(model):
        functions = [
            value for value in vars(layer).values() if isinstance(value, types.FunctionType)
        ]
        objects.append(type(layer))
        objects += [function for function in functions if function.__name__ != "<lambda>"]
    return {value.__name__: value for value in objects if value.__module__.split(".")[0] != "keras"}


def _copy_values(old: Any, new: Any) -> None:
    """Copy weights, vocabularies and other saved values of a layer and the layers within it."""
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

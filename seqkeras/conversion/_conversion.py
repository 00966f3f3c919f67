"""Copy models with other classes of layers."""

from typing import Any, TypeVar

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument
from seqkeras._keras_graph._compiled import copy_compiled
from seqkeras._keras_graph._layer_parts import random_states
from seqkeras._keras_graph._rebuild import CannotBuildError, Rebuild, check_graph, parts_of


class Conversion(Rebuild):
    """A copy of a model with other classes of layers, which continues from the model's state."""

    def run(self) -> keras.Model:
        """Return the copy, with the random seeds, states and optimizer of the model."""
        copy = super().run()
        for old, new in self._pairs:
            for source, target in parts_of(old, new):
                copy_attributes(source, target)
                assign(random_states(source), random_states(target))
                _copy_states(source, target)
        copy_compiled(self._root, copy, self._copied_weights())
        return copy

    def exchange(self, kind: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the class and config of the layer that replaces one of this class and config."""
        raise NotImplementedError

    def _copied_weights(self) -> dict[int, Any] | None:
        """Return the weight of the copy for the `id` of each weight; None if some have none."""
        return {
            id(old_weight): new_weight
            for old, new in self._pairs
            if isinstance(old, keras.layers.Layer)
            for old_weight, new_weight in zip(old.weights, new.weights, strict=True)
        }

    def _new(self, layer: Any) -> Any:
        config = layer.get_config() if isinstance(layer, keras.layers.Layer) else {}
        kind, new_config = self.exchange(type(layer), config)
        new_config = self._exchange_within(new_config)
        if kind is type(layer) and new_config == config:
            return super()._new(layer)
        return kind.from_config(new_config)

    def _exchange_within(self, item: Any) -> Any:
        """Exchange the layers that are serialized within a config."""
        if isinstance(item, (list, tuple)):
            return type(item)(self._exchange_within(element) for element in item)
        if not isinstance(item, dict):
            return item
        item = {key: self._exchange_within(value) for key, value in item.items()}
        kind = class_in(item)
        if kind is not None:
            new_kind, config = self.exchange(kind, item["config"])
            if new_kind is not kind:
                item = {**item, **class_entries(new_kind), "config": config}
        return item


ConversionT = TypeVar("ConversionT", bound=Conversion)


def convert(model: keras.Model, kind: type[ConversionT]) -> tuple[keras.Model, ConversionT]:
    """Check and convert a model.

    Returns:
        The copy, and the conversion that made it.

    Raises:
        ArgumentError: the model cannot be copied.
    """
    check_graph(model)
    conversion = kind(model)
    try:
        copy = conversion.run()
    except CannotBuildError as error:
        expected = "one that can be called again"
        raise bad_argument("model", model.name, expected, str(error)) from error
    return copy, conversion


def is_from_seqkeras(layer: Any) -> bool:
    """Return whether a layer, or a class of layers, belongs to seqkeras."""
    kind = layer if isinstance(layer, type) else type(layer)
    return bool(kind.__module__.split(".")[0] == "seqkeras")


def class_in(item: dict[str, Any]) -> Any:
    """Return the class of a serialized Keras or registered layer; None for anything else."""
    if not isinstance(item.get("config"), dict) or not isinstance(item.get("class_name"), str):
        return None
    if item.get("registered_name"):
        return keras.saving.get_registered_object(item["registered_name"])
    if item.get("module") == "keras.layers":
        return getattr(keras.layers, item["class_name"], None)
    return None


def class_entries(kind: Any) -> dict[str, Any]:
    """Return the entries of a serialized layer that name its class."""
    if not is_from_seqkeras(kind):
        return {"module": "keras.layers", "class_name": kind.__name__, "registered_name": None}
    name = keras.saving.get_registered_name(kind)
    return {"module": kind.__module__, "class_name": kind.__name__, "registered_name": name}


def copy_attributes(source: Any, target: Any) -> None:
    """Copy the attributes of a layer that Keras configs omit."""
    if hasattr(source, "use_cudnn") and hasattr(target, "use_cudnn"):
        target.use_cudnn = source.use_cudnn
    if getattr(source, "activity_regularizer", None) is not None:
        target.activity_regularizer = source.activity_regularizer


def _copy_states(source: Any, target: Any) -> None:
    if isinstance(source, keras.layers.RNN) and source.states is not None:
        assign(source.states, target.states)
    if getattr(source, "last_output", None) is not None:
        assign(source.last_output, target.last_output)


def assign(source: Any, target: Any) -> None:
    """Copy the values of variables into others of the same structure."""
    # Copy through NumPy, because JAX may free a buffer that two variables share.
    for old, new in zip(tree.flatten(source), tree.flatten(target), strict=True):
        new.assign(ops.convert_to_numpy(old))

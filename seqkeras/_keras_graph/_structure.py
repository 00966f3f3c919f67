"""What a Keras model consists of: its layers, its inputs, and the class of a copy."""

import inspect
from typing import Any

import keras

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError


def is_graph(layer: Any) -> bool:
    """Return whether a layer is a model whose layers, and the calls between them, are visible."""
    if isinstance(layer, keras.Sequential):
        return layer.built and getattr(layer, "_functional", None) is not None
    return isinstance(layer, keras.Model) and isinstance(layer, keras.Function)


def check_graph(model: Any) -> None:
    """Check that `model` is a model whose graph is visible.

    Raises:
        ArgumentError: it is not a model, it is not built, or it is a subclass with its own `call`.
    """
    if not isinstance(model, keras.Model):
        raise bad_argument("model", type(model).__name__, "a keras.Model")
    if is_graph(model):
        return
    if isinstance(model, keras.Sequential):
        fix = "Give it an Input as its first layer."
        raise bad_argument("model", model.name, "built", fix)
    fix = (
        "What its call() does cannot be seen from outside. Build it from keras.Input and "
        "keras.Model(inputs, outputs), or use the layers that you want inside its class."
    )
    raise bad_argument("model", type(model).__name__, "functional or Sequential", fix)


def refusal(model: keras.Model, expected: str, layer: Any, reason: str) -> ArgumentError:
    """Return the error for a model with a layer that cannot be converted."""
    fix = f"Layer {layer.name!r} ({type(layer).__name__}): {reason}"
    return bad_argument("model", model.name, expected, fix)


def layers_within(layer: Any) -> list[Any]:
    """Return a layer and all layers within it, at any depth, outer before inner."""
    return list(layer._flatten_layers())


def sublayers(layer: Any) -> list[Any]:
    """Return the layers directly within a layer."""
    return list(layer._flatten_layers(recursive=False, include_self=False))


def input_layer(tensor: Any) -> Any:
    """Return the `InputLayer` of a symbolic input."""
    return tensor._keras_history.operation


def name_of(tensor: Any) -> str:
    """Return the name of a symbolic input."""
    return str(input_layer(tensor).name)


def inputs_of(model: keras.Model) -> Any:
    """Return the symbolic inputs in the structure that the model is called with."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def class_of(model: keras.Model) -> Any:
    """Return the class of a copy: the model's own class if that takes inputs and outputs."""
    if isinstance(model, keras.Sequential):
        return keras.Model
    parameters = inspect.signature(type(model).__init__).parameters.values()
    names = {parameter.name for parameter in parameters}
    kinds = {parameter.kind for parameter in parameters}
    takes_both = {"inputs", "outputs"} <= names
    takes_anything = inspect.Parameter.VAR_POSITIONAL in kinds
    return type(model) if takes_both or takes_anything else keras.Model

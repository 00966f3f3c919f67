"""What a Keras model consists of: its layers, its inputs, and the class of a copy.

Like the other modules of this package, this one uses private names of Keras, because Keras has no
public equivalents. They are kept here so that other packages do not depend on them.
"""

import inspect
from typing import Any

import keras

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError


def is_graph(layer: Any) -> bool:
    """Return whether `layer` is a functional or built Sequential model.

    The layers of these models, and the calls between them, can be traversed.
    """
    if isinstance(layer, keras.Sequential):
        return layer.built and getattr(layer, "_functional", None) is not None
    return isinstance(layer, keras.Model) and isinstance(layer, keras.Function)


def check_graph(model: Any) -> None:
    """Check that `model` is a functional or built Sequential model.

    Raises:
        ArgumentError: `model` is not a Keras model, is not built, or is a subclass with its own
            `call`.
    """
    if not isinstance(model, keras.Model):
        raise bad_argument("model", type(model).__name__, "a keras.Model")
    if is_graph(model):
        return
    if isinstance(model, keras.Sequential):
        fix = "Give it an Input as its first layer."
        raise bad_argument("model", model.name, "built", fix)
    fix = (
        "The call() of a subclass cannot be inspected. Build the model with "
        "keras.Model(inputs, outputs), or replace the layers inside the class instead: "
        "seqkeras.layers.LSTM takes the arguments and weights of keras.layers.LSTM, and so on."
    )
    raise bad_argument("model", type(model).__name__, "functional or Sequential", fix)


def conversion_error(model: keras.Model, expected: str, layer: Any, reason: str) -> ArgumentError:
    """Return the error for a model that cannot be converted or copied because of one layer.

    Args:
        model: the model.
        expected: what the model must be.
        layer: the layer that causes the error.
        reason: what is wrong with the layer, as a sentence after "Layer NAME (CLASS):".
    """
    detail = f"Layer {layer.name!r} ({type(layer).__name__}): {reason}"
    return bad_argument("model", model.name, expected, detail)


def self_and_sublayers(layer: Any) -> list[Any]:
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


def class_for_copy(model: keras.Model) -> Any:
    """Return the class for a functional copy of `model`.

    It is the class of the model if its constructor takes `inputs` and `outputs`, or `*args`, which
    it is assumed to pass on to `keras.Model`. Otherwise, and for a Sequential model, it is
    `keras.Model`.
    """
    if isinstance(model, keras.Sequential):
        return keras.Model
    parameters = inspect.signature(type(model).__init__).parameters.values()
    names = {parameter.name for parameter in parameters}
    kinds = {parameter.kind for parameter in parameters}
    takes_both = {"inputs", "outputs"} <= names
    takes_varargs = inspect.Parameter.VAR_POSITIONAL in kinds
    return type(model) if takes_both or takes_varargs else keras.Model

"""Translate the config of a Keras 2 model to Keras 3.

Keras 2 names a layer by its class, Keras 3 by its module as well. Keras 2 writes a call as a list
of tensors, `[layer, node, output, arguments]`, Keras 3 as `args` and `kwargs`.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import keras

from seqkeras import layers
from seqkeras.conversion._conversion import class_entries
from seqkeras.conversion._keras2_operations import CALLS, translate_operation
from seqkeras.layers._keras_2_masks import KERAS_2_MASKS

#: Layers that have another name in Keras 3, and the options that they need there.
_RENAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "BatchNormalizationV1": ("BatchNormalization", {}),
    "CuDNNGRU": ("GRU", {"recurrent_activation": "sigmoid", "reset_after": True}),
    "CuDNNLSTM": ("LSTM", {"recurrent_activation": "sigmoid"}),
    "ThresholdedReLU": ("ReLU", {}),
}
#: Options that have another name in Keras 3, by layer and old name.
_RENAMED_OPTIONS = {
    ("InputLayer", "batch_input_shape"): "batch_shape",
    ("LeakyReLU", "alpha"): "negative_slope",
    ("ReLU", "theta"): "threshold",
}
#: Options that Keras 3 lacks, with the values that can be dropped; None stands for any value.
_DROPPED: dict[str, tuple[Any, ...] | None] = {
    "batch_input_shape": None,
    "function_type": None,
    "groups": (1,),
    "implementation": None,
    "input_dtype": None,
    "input_length": None,
    "kernel_constraint": None,
    "kernel_initializer": None,
    "kernel_regularizer": None,
    "key_shape": None,
    "module": None,
    "noise_shape": (None,),
    "output_shape_module": None,
    "output_shape_type": None,
    "query_shape": None,
    "ragged": (False,),
    "softmax_robust_masking": (False,),
    "time_major": (False,),
    "trainable": None,
    "value_shape": None,
    "vocabulary_size": None,
}
#: Layers that become those of seqkeras if called with states, because Keras 3 then loses the mask.
_WITH_STATES = (
    *("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"),
    *("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"),
)
_MODELS = ("Functional", "Model", "Sequential")
#: Options that hold layers or cells.
_LAYERS = ("layer", "backward_layer", "cell", "cells")
#: Endings of the names of options that hold serialized objects other than layers.
_NOT_LAYERS = ("_initializer", "_regularizer", "_constraint")


class CannotTranslateError(ValueError):
    """A model of Keras 2 has a layer or an option that Keras 3 does not have."""


def translate_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a model for `keras.saving.deserialize_keras_object`.

    Raises:
        CannotTranslateError: Keras 3 lacks a layer or an option; the message names the layer.
        AttributeError, LookupError, TypeError, ValueError: the config is damaged.
    """
    return _Translation(config).layer(config)


class _Translation:
    def __init__(self, root: dict[str, Any]) -> None:
        self._has_masks = any(_may_mask(item) for item in _layers_in(root))

    def layer(self, item: dict[str, Any], has_states: bool = False) -> dict[str, Any]:
        """Translate a serialized layer or model; `has_states` if it is called with states."""
        name, config = item["class_name"], item["config"]
        if isinstance(config, list):  # a Sequential before Keras 2.2.3
            config = {"name": item.get("name", "sequential"), "layers": config}
        name, options = _RENAMED.get(name, (name, {}))
        config = {**config, **options}
        if "layers" in config and "output_layers" in config:
            return {**_model_entries("Model", item), "config": self._graph(config)}
        if name == "Sequential" and "layers" in config:
            return {**_model_entries("Sequential", item), "config": self._sequential(config)}
        if _is_built_in(item):
            entries = self._class_for_masks(name, has_states) or _entries("keras.layers", name)
            config = _known_options(name, config)
        elif _registered(item) is None:
            raise CannotTranslateError(
                f"layer {config.get('name')!r} is a {name}, which Keras 3 does not have. If it is "
                "yours, load the file within keras.saving.custom_object_scope."
            )
        else:
            entries = _registered_entries(item)
            config = _without_recurrent_options(config)
        return {**entries, "config": self._values(config)}

    def _class_for_masks(self, name: str, has_states: bool) -> dict[str, Any] | None:
        """Return the entries of a class that treats masks as Keras 2 did, or None if not needed."""
        if self._has_masks and name in KERAS_2_MASKS:
            return class_entries(KERAS_2_MASKS[name])
        if self._has_masks and has_states and name in _WITH_STATES:
            return class_entries(getattr(layers, name))
        return None

    def _values(self, config: dict[str, Any]) -> dict[str, Any]:
        """Translate the values of a layer's options."""
        return {key: self._value(key, value) for key, value in config.items()}

    def _value(self, key: str, value: Any) -> Any:
        if key == "dtype" and isinstance(value, dict):  # a dtype policy
            return value["config"]["name"]
        if key in ("activation", "recurrent_activation") and value == "hard_sigmoid":
            return keras.activations.serialize(layers.keras_2_hard_sigmoid)
        if key == "axis" and isinstance(value, list) and len(value) == 1:
            return value[0]
        if key.endswith(_NOT_LAYERS):
            return _without_dtype(value)
        return self._within(value, are_layers=key in _LAYERS)

    def _within(self, value: Any, are_layers: bool = False) -> Any:
        """Translate the layers in a value; `are_layers` if all serialized objects are layers."""
        if isinstance(value, list):
            return [self._within(element, are_layers) for element in value]
        if _is_layer(value) and (are_layers or _is_known(value)):
            return self.layer(value)
        if isinstance(value, dict):
            return {key: self._within(element) for key, element in value.items()}
        return value

    def _sequential(self, config: dict[str, Any]) -> dict[str, Any]:
        items = config["layers"]
        translated = [self.layer(item) for item in items]
        shape = _input_shape(items[0]) if items else None
        if shape is not None and items[0]["class_name"] != "InputLayer":
            options = {"batch_shape": shape, "name": f"{items[0]['config']['name']}_input"}
            translated.insert(0, {**_entries("keras.layers", "InputLayer"), "config": options})
        build_shape = None if shape is not None else config.get("build_input_shape")
        return {"name": config["name"], "layers": translated, "build_input_shape": build_shape}

    def _graph(self, config: dict[str, Any]) -> dict[str, Any]:
        tensors = _Tensors(config)
        return {
            "name": config["name"],
            "trainable": config.get("trainable", True),
            "layers": [self._in_graph(item, tensors) for item in config["layers"]],
            "input_layers": tensors.ends(config["input_layers"]),
            "output_layers": tensors.ends(config["output_layers"]),
        }

    def _in_graph(self, item: dict[str, Any], tensors: "_Tensors") -> dict[str, Any]:
        """Translate a layer and its calls."""
        calls = [tensors.call(node) for node in item["inbound_nodes"]]
        if item["class_name"] in CALLS:
            entries, nodes = _operation(item, calls)
        else:
            takes_states = _takes_states(item)
            has_states = takes_states and any(isinstance(inputs, list) for inputs, _ in calls)
            entries = self.layer(item, has_states)
            nodes = [_node(item, *call, takes_states=takes_states) for call in calls]
        return {**entries, "name": item["name"], "inbound_nodes": nodes}


class _Tensors:
    """The tensors of a graph, and how they are named in Keras 3."""

    def __init__(self, config: dict[str, Any]) -> None:
        items = {item["name"]: item for item in config["layers"]}
        self._names = items.keys()
        self._models = {name for name, item in items.items() if "output_layers" in item["config"]}
        # Keras 2 may number the calls of a nested model from 1. The graph refers to every call, so
        # the smallest number is that of the first.
        self._first_call: dict[str, int] = {}
        nodes = [item["inbound_nodes"] for item in config["layers"]]
        for name, call, *_ in self._in([nodes, config["input_layers"], config["output_layers"]]):
            self._first_call[name] = min(call, self._first_call.get(name, call))

    def call(self, node: Any) -> tuple[Any, dict[str, Any]]:
        """Return the first argument of a call, and the others by name."""
        arguments: dict[str, Any] = {}
        for _, _, _, *rest in self._in(node, with_constants=True):
            arguments.update(*rest)
        inputs = self._translated(node)
        if isinstance(inputs, list) and len(inputs) == 1:
            inputs = inputs[0]
        used = {key: value for key, value in arguments.items() if value is not None}
        return inputs, self._translated(used)

    def ends(self, tensors: Any) -> Any:
        """Translate the inputs or outputs of the graph; a single tensor is not put in a list."""
        if self._is_tensor(tensors):
            name, call, output = tensors[:3]
            # Here Keras 3 numbers the calls of a model from 1, but in arguments of calls from 0.
            return [name, self._call(name, call) + (name in self._models), output]
        if isinstance(tensors, dict):
            return {key: self.ends(value) for key, value in tensors.items()}
        translated = [self.ends(value) for value in tensors]
        return translated[0] if len(translated) == 1 else translated

    def _call(self, name: str, call: int) -> int:
        return call - self._first_call[name]

    def _is_tensor(self, value: Any) -> bool:
        is_reference = isinstance(value, list) and len(value) in (3, 4)
        return is_reference and isinstance(value[0], str) and value[0] in self._names

    def _in(self, value: Any, with_constants: bool = False) -> Iterator[list[Any]]:
        """Yield the references to tensors in a value, including those in the arguments of calls."""
        if self._is_tensor(value) or (with_constants and _is_constant(value)):
            yield value
            value = value[3:]
        if isinstance(value, (list, dict)):
            for element in value.values() if isinstance(value, dict) else value:
                yield from self._in(element, with_constants)

    def _translated(self, value: Any) -> Any:
        if self._is_tensor(value):
            name, call, output = value[:3]
            # Keras only uses the history to find the tensor, not the shape or the dtype.
            history = [name, self._call(name, call), output]
            config = {"shape": [], "dtype": "float32", "keras_history": history}
            return {"class_name": "__keras_tensor__", "config": config}
        if _is_constant(value):
            return value[2]
        if isinstance(value, list):
            return [self._translated(element) for element in value]
        if isinstance(value, dict):
            return {key: self._translated(element) for key, element in value.items()}
        return value


def _is_constant(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (3, 4) and value[0] == "_CONSTANT_VALUE"


def _node(
    item: dict[str, Any], inputs: Any, arguments: dict[str, Any], takes_states: bool
) -> dict[str, Any]:
    if takes_states and isinstance(inputs, list):
        if item["config"].get("num_constants"):
            raise _lacks(item, "constants in addition to its states")
        inputs, *states = inputs
        arguments = {**arguments, "initial_state": states}
    return {"args": [inputs], "kwargs": arguments}


def _operation(
    item: dict[str, Any], calls: list[tuple[Any, dict[str, Any]]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    function = item["config"]["function"]
    translated = [translate_operation(function, item["name"], *call) for call in calls]
    operations = [part for part in translated if part is not None]
    if len(operations) < len(translated) or not operations:
        raise _lacks(item, f"the TensorFlow function {function!r}")
    return operations[0][0], [node for _, node in operations]


def _lacks(item: dict[str, Any], what: str) -> CannotTranslateError:
    name = item["config"].get("name")
    return CannotTranslateError(f"layer {name!r} has {what}, which Keras 3 does not have.")


def _entries(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": name, "registered_name": None}


def _registered_name(item: dict[str, Any]) -> str:
    return str(item.get("registered_name") or item["class_name"])


def _registered_entries(item: dict[str, Any]) -> dict[str, Any]:
    return {**_entries("", item["class_name"]), "registered_name": _registered_name(item)}


def _registered(item: dict[str, Any]) -> Any:
    return keras.saving.get_registered_object(_registered_name(item))


def _model_entries(name: str, item: dict[str, Any]) -> dict[str, Any]:
    own = item["class_name"] not in _MODELS
    return _registered_entries(item) if own else _entries("keras", name)


def _is_built_in(item: dict[str, Any]) -> bool:
    name = _RENAMED.get(item["class_name"], (item["class_name"],))[0]
    return hasattr(keras.layers, name) and _registered(item) is None


def _is_known(item: dict[str, Any]) -> bool:
    return item["class_name"] in _MODELS or _is_built_in(item) or _registered(item) is not None


def _takes_states(item: dict[str, Any]) -> bool:
    kind = _registered(item)
    own = isinstance(kind, type) and issubclass(
        kind, (keras.layers.RNN, keras.layers.Bidirectional)
    )
    name = _RENAMED.get(item["class_name"], (item["class_name"],))[0]
    return own or name in _WITH_STATES


def _is_layer(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("class_name"), str)
        and isinstance(value.get("config"), (dict, list))
    )


def _layers_in(value: Any) -> Iterator[dict[str, Any]]:
    if _is_layer(value):
        yield value
    if isinstance(value, (list, dict)):
        for element in value.values() if isinstance(value, dict) else value:
            yield from _layers_in(element)


def _may_mask(item: dict[str, Any]) -> bool:
    """Return whether a layer makes a mask, or is of a custom class that may."""
    if item["class_name"] == "Masking" or "mask_zero" in item["config"]:
        return item["class_name"] == "Masking" or bool(item["config"]["mask_zero"])
    return _registered(item) is not None


def _input_shape(item: dict[str, Any]) -> Any:
    """Return the input shape of the first layer of a Sequential, or None if the file lacks it."""
    config = item["config"]
    if isinstance(config, list) or ("layers" in config and "input_layers" not in config):
        items = config if isinstance(config, list) else config["layers"]
        return _input_shape(items[0]) if items else None
    if "input_layers" in config:
        inputs = {inner["name"]: inner for inner in config["layers"]}
        ends = config["input_layers"]
        name = ends[0] if isinstance(ends[0], str) else ends[0][0]
        return _input_shape(inputs[name])
    return config.get("batch_input_shape", config.get("batch_shape"))


def _known_options(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a layer under their names in Keras 3."""
    if name in ("GRU", "GRUCell"):
        config = {"reset_after": False, **config}
    if name == "Lambda":
        _check_function(config)
    accepted = _accepted(getattr(keras.layers, name))
    options: dict[str, Any] = {}
    for key, value in config.items():
        new_key = _RENAMED_OPTIONS.get((name, key), key)
        if new_key in accepted:
            options[new_key] = value
        elif not _is_dropped(key, value):
            raise _lacks({"config": config}, f"{key}={value!r}")
    return options


def _is_dropped(key: str, value: Any) -> bool:
    """Return whether an option is one that Keras 3 lacks and that can be dropped at this value."""
    if key not in _DROPPED:
        return False
    values = _DROPPED[key]
    return values is None or value in values


def _check_function(config: dict[str, Any]) -> None:
    """Raise CannotTranslateError unless the function of a Lambda is registered."""
    function, name = config["function"], config["name"]
    if isinstance(function, dict) and function.get("class_name") == "function":
        function = function["config"]
    if not isinstance(function, str) or config.get("output_shape_type") == "lambda":
        raise CannotTranslateError(
            f"layer {name!r} is a Lambda with code in the file, which is not run."
        )
    if keras.saving.get_registered_object(function) is None:
        raise CannotTranslateError(
            f"layer {name!r} is a Lambda of a function {function!r}. "
            f"Load the file within keras.saving.custom_object_scope({{{function!r}: ...}})."
        )


def _accepted(kind: type) -> set[str]:
    """Return the names of the arguments of a constructor, including those for its bases."""
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
            names |= {parameter.name for parameter in parameters}
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
                break
    return names


def _without_recurrent_options(config: dict[str, Any]) -> dict[str, Any]:
    """Drop the options that Keras 2 added to the config of a custom recurrent layer."""
    # The values are those of Keras 2: a custom layer may have such an option of its own.
    dropped = {"time_major": (False,), "implementation": (0, 1, 2)}
    return {
        key: value
        for key, value in config.items()
        if key != "batch_input_shape" and value not in dropped.get(key, ())
    }


def _without_dtype(value: Any) -> Any:
    """Return an initializer without the dtype that TensorFlow 1 wrote into it."""
    if not isinstance(value, dict) or not isinstance(value.get("config"), dict):
        return value
    config = {key: element for key, element in value["config"].items() if key != "dtype"}
    return {**value, "config": config}

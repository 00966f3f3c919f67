"""TensorFlow functions within models of Keras 2, such as `y[:, -1]`, as operations of Keras 3."""

from typing import Any, NamedTuple

#: Classes of the layers that call such a function.
CALLS = ("TFOpLambda", "SlicingOpLambda")

_NUMPY = "keras.src.ops.numpy"
_NN = "keras.src.ops.nn"
_CORE = "keras.src.ops.core"


class _Operation(NamedTuple):
    """An operation of Keras 3.

    Attributes:
        module: the module that Keras writes into its own files.
        name: the class.
        tensors: arguments of the TensorFlow function, after the first, that are operands.
        options: arguments of the TensorFlow function that are options, with their names in Keras 3.
    """

    module: str
    name: str
    tensors: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


def _pair(name: str) -> _Operation:
    return _Operation(_NUMPY, name, ("y",))


def _reduction(name: str) -> _Operation:
    return _Operation(_NUMPY, name, (), (("axis", "axis"), ("keepdims", "keepdims")))


_AXIS = (("axis", "axis"),)

_OPERATIONS = {
    "__operators__.add": _pair("Add"),
    "math.add": _pair("Add"),
    "math.subtract": _pair("Subtract"),
    "math.multiply": _pair("Multiply"),
    "math.truediv": _pair("TrueDivide"),
    "math.divide": _pair("TrueDivide"),
    "math.pow": _pair("Power"),
    "math.maximum": _pair("Maximum"),
    "math.minimum": _pair("Minimum"),
    "math.abs": _Operation(_NUMPY, "Absolute"),
    "math.exp": _Operation(_NUMPY, "Exp"),
    "math.log": _Operation(_NUMPY, "Log"),
    "math.negative": _Operation(_NUMPY, "Negative"),
    "math.sigmoid": _Operation(_NN, "Sigmoid"),
    "math.sqrt": _Operation(_NUMPY, "Sqrt"),
    "math.square": _Operation(_NUMPY, "Square"),
    "math.tanh": _Operation(_NUMPY, "Tanh"),
    "nn.relu": _Operation(_NN, "Relu"),
    "nn.sigmoid": _Operation(_NN, "Sigmoid"),
    "nn.softmax": _Operation(_NN, "Softmax", (), _AXIS),
    "math.reduce_max": _reduction("Max"),
    "math.reduce_mean": _reduction("Mean"),
    "math.reduce_min": _reduction("Min"),
    "math.reduce_sum": _reduction("Sum"),
    "cast": _Operation(_CORE, "Cast", (), (("dtype", "dtype"),)),
    "compat.v1.squeeze": _Operation(_NUMPY, "Squeeze", (), _AXIS),
    "compat.v1.transpose": _Operation(_NUMPY, "Transpose", (), (("perm", "axes"),)),
    "concat": _Operation(_NUMPY, "Concatenate", (), _AXIS),
    "expand_dims": _Operation(_NUMPY, "ExpandDims", (), _AXIS),
    "linalg.matmul": _Operation(_NUMPY, "Matmul", ("b",)),
    "reshape": _Operation(_NUMPY, "Reshape", (), (("shape", "newshape"),)),
    "squeeze": _Operation(_NUMPY, "Squeeze", (), _AXIS),
    "stack": _Operation(_NUMPY, "Stack", (), _AXIS),
}
_SLICE = "__operators__.getitem"


def translate_operation(
    function: str, name: str, inputs: Any, arguments: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Translate a call of a TensorFlow function.

    Args:
        function: name of the function, such as `"math.add"`.
        name: name of the layer.
        inputs: first argument of the call.
        arguments: the other arguments, by name.

    Returns:
        The serialized operation, and its call; None if Keras 3 has no such operation, or if it
        lacks an argument.
    """
    if function == _SLICE:
        keys = [_key(part) for part in _as_list(arguments["slice_spec"])]
        return _serialized(_Operation(_NUMPY, "GetItem"), name, {}), _call(inputs, keys)
    if function not in _OPERATIONS:
        return None
    operation = _OPERATIONS[function]
    names = dict(operation.options)
    options = {names[key]: value for key, value in arguments.items() if key in names}
    operands = [arguments[key] for key in operation.tensors]
    others = arguments.keys() - names.keys() - {*operation.tensors, "name"}
    if any(arguments[key] not in (None, False) for key in others):
        return None
    return _serialized(operation, name, options), _call(inputs, *operands)


def _serialized(operation: _Operation, name: str, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "module": operation.module,
        "class_name": operation.name,
        "config": {"name": name, **options},
        "registered_name": None,
    }


def _call(*arguments: Any) -> dict[str, Any]:
    return {"args": list(arguments), "kwargs": {}}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _key(part: Any) -> Any:
    """Translate a part of an index: a number, a slice or an ellipsis."""
    if not isinstance(part, dict):
        return part
    if "start" in part:
        return {"class_name": "__slice__", "config": part}
    return {"class_name": "__ellipsis__", "config": {}}

"""From a Keras model to a program file that NumPy alone can run."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import tree

from seqkeras._archive import write_archive
from seqkeras._checks import bad_argument, check_integer, check_one_of
from seqkeras.export._scalers import affine_of
from seqkeras.export._trace import (
    Trace,
    Value,
    compute_dtypes,
    graph_of,
    inputs_over_time,
    refused,
)
from seqkeras.export._translate import translate_model
from seqkeras.export._verify import verify
from seqkeras.runtime._program import KIND, VERSION, Program
from seqkeras.states import as_stateless

#: Layers that read whole sequences: the model has one, or it is no sequence model.
_SEQUENCE = (keras.layers.RNN, keras.layers.Bidirectional)


def save_program(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    window: int | None = None,
    features: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    scaler: Any = None,
    target_scaler: Any = None,
    storage: Literal["float32", "float16"] = "float32",
) -> None:
    """Writes a model as a program that goes one timestep at a time, with NumPy alone.

    Before the file is written the program is run beside the model, on random numbers, and has to
    give the same. The file is a JSON header and raw arrays, in the safetensors layout; it holds no
    code. `runtime.load` reads it.

    Args:
        model: functional or Sequential, with recurrent layers; stateful or not.
        path: of the file; one that is there is replaced, when the new one is complete.
        window: without it, each step goes on from the state of all steps before. With it, each
            answer is what `model.predict` gives for the newest `window` timesteps, which the
            program keeps: for models that were trained on windows and are to see no more, and for
            layers that must see a window whole, such as Bidirectional. It costs `window` times as
            much. Until as many timesteps were read, answers are NaN.
        features: names of the features that it reads, kept in the file; for several inputs a dict.
        scaler: how the inputs were scaled in training: the program then takes raw numbers. A
            fitted StandardScaler, MinMaxScaler, MaxAbsScaler or RobustScaler of scikit-learn, a
            `windows.StandardScaler` of one series, or a pair `(center, scale)`; for several inputs
            a dict.
        target_scaler: how the targets were scaled: the program then gives raw numbers; for
            several outputs a dict.
        storage: of the weights; `"float16"` halves the file and rounds them.

    Raises:
        ArgumentError: a layer cannot be stepped (it is named, with the reason), or an argument
            does not fit the model.

    Example:
        >>> from seqkeras import many_to_one, runtime
        >>> save_program(many_to_one(2, units=8), "pump.program", features=["flow", "pressure"])
        >>> runtime.load("pump.program").inputs[0].features
        ('flow', 'pressure')
    """
    check_one_of("storage", storage, ("float32", "float16"))
    header, arrays = verified_program(model, window, features, scaler, target_scaler)
    with np.errstate(over="ignore"):
        arrays = _stored(arrays, storage)
    Program(header, arrays, "")
    write_archive(path, header, arrays, kind=KIND, version=VERSION)


def verified_program(
    model: keras.Model, window: int | None, features: Any, scaler: Any, target_scaler: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a program that gives what its model gives; see `save_program`."""
    window = None if window is None else check_integer("window", window)
    plain = plain_of(model)
    header, arrays = program_of(plain, window)
    verify(plain, Program(header, arrays, "", "propagate"))
    if scaler is None and target_scaler is None and features is None:
        return header, arrays
    return program_of(plain, window, features, scaler, target_scaler)


def plain_of(model: Any) -> keras.Model:
    """The model without states of its own."""
    graph_of(model)
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, _SEQUENCE)]
    if not layers:
        raise bad_argument("model", model.name, "a model with a recurrent layer")
    return as_stateless(model) if any(layer.stateful for layer in layers) else model


def program_of(
    model: keras.Model,
    window: int | None,
    features: Any = None,
    scaler: Any = None,
    target_scaler: Any = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a program."""
    graph = graph_of(model)
    dtype = "float64" if "float64" in compute_dtypes(model) else "float32"
    trace = Trace(window, dtype)
    structure = graph._inputs_struct
    names = _names(structure, [tensor._keras_history.operation.name for tensor in graph.inputs])
    moving = inputs_over_time(model)
    named = _by_name("features", features, names)
    scalers = _by_name("scaler", scaler, names)
    ports, values = [], []
    for name, tensor, moves in zip(names, graph.inputs, moving, strict=True):
        port = _port(trace, name, tensor, moves, named.get(name))
        value = Value(trace.unique(name), len(tensor.shape), moves, moves)
        if name in scalers:
            center, scale = affine_of("scaler", scalers[name], port["shape"])
            port["dtype"] = "float64"
            value = _affine(trace, value, center, 1 / scale, 0 * center, dtype)
        ports.append(port)
        values.append(value)
    outputs = translate_model(trace, model, values)
    shown = _names(graph._outputs_struct, list(graph.output_names))
    targets = _by_name("target_scaler", target_scaler, shown)
    kinds = dict.fromkeys(shown, dtype)
    for number, name in enumerate(shown):
        if name in targets:
            shape = tuple(graph.outputs[number].shape[-1:])
            center, scale = affine_of("target_scaler", targets[name], shape)
            kinds[name] = "float64"
            outputs[number] = _affine(trace, outputs[number], 0 * center, scale, center, "float64")
    header = {
        "name": model.name,
        "dtype": dtype,
        "window": window,
        "inputs": ports,
        "outputs": [{"name": name, "dtype": kinds[name]} for name in shown],
        "outputs_as": _structure(graph._outputs_struct),
        "graph": {"nodes": trace.nodes, "outputs": [value.name for value in outputs]},
        "made_with": {"keras": keras.__version__},
    }
    for name, array in trace.arrays.items():
        if not np.isfinite(array).all():
            fix = "Its training has failed, or has not come to an end."
            raise bad_argument("model", f"weights {name!r} with NaN or infinity", "finite", fix)
    return header, trace.arrays


def _port(trace: Trace, name: str, tensor: Any, moves: bool, features: Any) -> dict[str, Any]:
    shape, window = list(tensor.shape[1:]), trace.window
    if moves:
        timesteps, *shape = shape
        if window is not None and timesteps not in (None, window):
            fix = f"The model reads {timesteps} timesteps."
            raise bad_argument("window", window, f"{timesteps}", fix)
    if None in shape:
        raise refused(name, f"its shape {tuple(tensor.shape)} is not known", "Give it a shape.")
    if features is not None:
        if isinstance(features, str) or not isinstance(features, Sequence):
            raise bad_argument("features", features, "a list of names")
        features = [str(one) for one in features]
        if not shape or len(features) != shape[-1] or len(set(features)) != len(features):
            expected = f"{shape[-1] if shape else 0} different names for {name!r}"
            raise bad_argument("features", features, expected)
    readers = [node.operation for node in tensor._keras_history.operation._outbound_nodes]
    tables = [one.input_dim for one in readers if isinstance(one, keras.layers.Embedding)]
    dtype = "bool" if tensor.dtype == "bool" else trace.dtype
    return {
        "name": name,
        "shape": shape,
        "dtype": "int32" if tables else dtype,
        "features": features,
        "each_step": moves,
        "below": min(tables, default=None),
    }


def _affine(trace: Trace, value: Value, center: Any, scale: Any, offset: Any, dtype: str) -> Value:
    """Scaling in float64, because raw numbers may be large beside their spread."""
    weights = {"center": center, "scale": scale, "offset": offset}
    return trace.add("affine", [value], "scale", weights=weights, dtype=dtype, wide=True)


def _names(structure: Any, names: list[str]) -> list[str]:
    if not isinstance(structure, Mapping):
        return [f"{name}_{i}" if name in names[:i] else name for i, name in enumerate(names)]
    return [str(path[-1]) for path, _ in tree.flatten_with_path(structure)]


def _structure(structure: Any) -> str:
    if isinstance(structure, Mapping):
        return "dict"
    return "list" if isinstance(structure, (list, tuple)) and len(structure) > 1 else "single"


def _by_name(argument: str, given: Any, names: list[str]) -> dict[str, Any]:
    """What was given for each input or output."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        if not set(given) <= set(names):
            raise bad_argument(argument, sorted(given), f"a dict with names of {names}")
        return dict(given)
    if len(names) != 1:
        fix = "There are several: say which one it is for."
        raise bad_argument(argument, given, f"a dict with names of {names}", fix)
    return {names[0]: given}


def _stored(arrays: Mapping[str, np.ndarray], storage: str) -> dict[str, np.ndarray]:
    """The arrays as they stand in the file; of matrices alone the dtype changes."""
    double = any(one.ndim > 1 and one.dtype == np.float64 for one in arrays.values())
    if storage == "float16" and double:
        raise bad_argument("storage", storage, "'float32' for a model in double precision")
    narrow = {
        name: array.astype(storage)
        for name, array in arrays.items()
        if array.ndim > 1 and array.dtype == np.float32 and storage == "float16"
    }
    for name, array in narrow.items():
        if not np.array_equal(np.isfinite(array), np.isfinite(arrays[name])):
            fix = f"The weights {name!r} reach {np.abs(arrays[name]).max():.3g}."
            raise bad_argument("storage", storage, "'float32' for this model", fix)
    return {**arrays, **narrow}

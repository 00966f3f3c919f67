"""Translate a model into the header and the arrays of a program."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import tree

from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import ModelGraph
from seqkeras.export._scalers import Affine, affine_of
from seqkeras.export._trace import Trace, Value, export_error
from seqkeras.export._translate import translate_model
from seqkeras.layers import TokenVectors
from seqkeras.states._continuation import inputs_over_time


class ProgramParts(NamedTuple):
    """The contents of a program file, and the variables and scalers that they come from.

    Attributes:
        header: everything but the arrays.
        arrays: weights and other constants, by name.
        variables: for each array that is a copy of a variable of the model, this variable, by the
            name of the array.
        input_scaling: scaling of inputs that are read in raw units, by name.
        output_scaling: scaling of outputs that are returned in raw units, by name.
    """

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]
    variables: dict[str, keras.Variable]
    input_scaling: dict[str, Affine]
    output_scaling: dict[str, Affine]


def translate(
    graph: ModelGraph, window: int | None, features: Any, scaler: Any, target_scaler: Any
) -> ProgramParts:
    """Translate a stateless model; the arguments are those of `save_program`.

    Raises:
        ArgumentError: a layer cannot be exported, or an argument does not fit the model.
    """
    dtype = "float64" if "float64" in graph.compute_dtypes else "float32"
    trace = Trace(window, dtype)
    ports, values, input_scaling = _inputs(trace, graph, features, scaler)
    outputs = translate_model(trace, graph, values)
    names = _names(graph.output_structure, list(graph.output_names))
    output_scaling = _output_scaling(graph, names, target_scaler)
    for number, name in enumerate(names):
        if name in output_scaling:
            outputs[number] = _to_raw(trace, outputs[number], output_scaling[name])
    header = {
        "name": graph.model.name,
        "dtype": dtype,
        "window": window,
        "inputs": ports,
        "outputs": [
            {"name": name, "dtype": "float64" if name in output_scaling else dtype}
            for name in names
        ],
        "outputs_as": _structure(graph.output_structure),
        "graph": {"nodes": trace.nodes, "outputs": [value.name for value in outputs]},
        "made_with": {"keras": keras.__version__},
    }
    check_finite(trace.arrays)
    return ProgramParts(header, trace.arrays, trace.variables, input_scaling, output_scaling)


def _inputs(
    trace: Trace, graph: ModelGraph, features: Any, scaler: Any
) -> tuple[list[dict[str, Any]], list[Value], dict[str, Affine]]:
    names = _names(graph.input_structure, graph.input_names)
    moving = inputs_over_time(graph)
    features_of = _by_name("features", features, names)
    scalers = _by_name("scaler", scaler, names)
    scaling: dict[str, Affine] = {}
    ports = []
    values = []
    for name, tensor, moves in zip(names, graph.inputs, moving, strict=True):
        port = _port(trace, graph, name, tensor, moves, features_of.get(name))
        value = Value(trace.reserve_name(name), len(tensor.shape), moves, moves)
        is_rounded = port["dtype"] == "float32" and trace.dtype == "float64"
        if name in scalers:
            scaling[name] = affine_of("scaler", scalers[name], port["shape"])
            port["dtype"] = "float64"
            dtype = "float32" if is_rounded else trace.dtype
            value = _from_raw(trace, value, scaling[name], dtype)
        if is_rounded:
            value = _affine(trace, value, np.zeros(()), np.ones(()), np.zeros(()), trace.dtype)
        ports.append(port)
        values.append(value)
    return ports, values, scaling


def _output_scaling(graph: ModelGraph, names: list[str], target_scaler: Any) -> dict[str, Affine]:
    scalers = _by_name("target_scaler", target_scaler, names)
    return {
        name: affine_of("target_scaler", scalers[name], tuple(tensor.shape[-1:]))
        for name, tensor in zip(names, graph.outputs, strict=True)
        if name in scalers
    }


def _port(
    trace: Trace, graph: ModelGraph, name: str, tensor: Any, moves: bool, features: Any
) -> dict[str, Any]:
    shape = list(tensor.shape[1:])
    window = trace.window
    if moves:
        timesteps, *shape = shape
        if window is not None and timesteps not in (None, window):
            fix = f"The model reads {timesteps} timesteps."
            raise bad_argument("window", window, f"{timesteps}", fix)
    if None in shape:
        raise export_error(
            name, f"its shape {tuple(tensor.shape)} is not fixed", "Give it a fixed shape."
        )
    embeddings = [
        layer
        for layer in graph.readers(tensor)
        if isinstance(layer, (keras.layers.Embedding, TokenVectors))
    ]
    # A model rounds its input to float32 even if all of its layers compute in float64.
    dtype = tensor.dtype if tensor.dtype in ("bool", "float32") else trace.dtype
    return {
        "name": name,
        "shape": shape,
        "dtype": "int32" if embeddings else dtype,
        "features": _checked_features(name, features, shape) if features is not None else None,
        "each_step": moves,
        "below": min((layer.input_dim for layer in embeddings), default=None),
    }


def _checked_features(name: str, features: Any, shape: list[int]) -> list[str]:
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise bad_argument("features", features, "a list of names")
    names = [str(feature) for feature in features]
    if not shape or len(names) != shape[-1] or len(set(names)) != len(names):
        expected = f"{shape[-1] if shape else 0} different names for {name!r}"
        raise bad_argument("features", names, expected)
    return names


def _from_raw(trace: Trace, value: Value, scaling: Affine, dtype: str) -> Value:
    center, scale = scaling
    return _affine(trace, value, center, 1 / scale, 0 * center, dtype)


def _to_raw(trace: Trace, value: Value, scaling: Affine) -> Value:
    center, scale = scaling
    return _affine(trace, value, 0 * center, scale, center, "float64")


def _affine(trace: Trace, value: Value, center: Any, scale: Any, offset: Any, dtype: str) -> Value:
    """Add scaling in float64, because raw numbers may be large compared with their spread."""
    weights = {"center": center, "scale": scale, "offset": offset}
    return trace.add("affine", [value], "scale", weights=weights, dtype=dtype, wide=True)


def _names(structure: Any, names: list[str]) -> list[str]:
    if not isinstance(structure, Mapping):
        return [
            f"{name}_{number}" if name in names[:number] else name
            for number, name in enumerate(names)
        ]
    return [str(path[-1]) for path, _ in tree.flatten_with_path(structure)]


def _structure(structure: Any) -> str:
    if isinstance(structure, Mapping):
        return "dict"
    return "list" if isinstance(structure, (list, tuple)) and len(structure) > 1 else "single"


def _by_name(argument: str, value: Any, names: list[str]) -> dict[str, Any]:
    """Return an argument of `save_program` as a dict by the names of inputs or outputs."""
    if value is None:
        return {}
    expected = f"a dict with names of {names}"
    if isinstance(value, Mapping):
        if not set(value) <= set(names):
            raise bad_argument(argument, sorted(value), expected)
        return dict(value)
    if len(names) != 1:
        fix = "Pass a dict, because there are several names."
        raise bad_argument(argument, value, expected, fix)
    return {names[0]: value}


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            actual = Description(f"weights {name!r} with NaN or infinity")
            fix = "Train it again with a lower learning rate or with clipped gradients."
            raise bad_argument("model", actual, "one with finite weights", fix)

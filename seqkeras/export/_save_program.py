"""Save a Keras model as a program file that needs only NumPy."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from seqkeras._archive import write_archive
from seqkeras._checks import bad_argument, check_integer, check_one_of
from seqkeras._keras_graph import ModelGraph
from seqkeras.export._program_parts import ProgramParts, translate
from seqkeras.export._trace import export_error
from seqkeras.export._verify import verify
from seqkeras.runtime._program import KIND, VERSION
from seqkeras.states import as_stateless
from seqkeras.states._continuation import CannotContinueError, judge_model

#: Layers that read whole sequences; a sequence model has at least one.
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
    """Save a model as a program that runs one timestep at a time, with NumPy only.

    Before the file is written, its exact contents are run on random numbers and compared with the
    model. The file is a JSON header and raw arrays in the safetensors layout, without code.
    `runtime.load` reads it.

    Args:
        model: functional or Sequential, with recurrent layers; stateful or not.
        path: path of the file. An existing file is replaced once the new one is complete.
        window: number of timesteps that each output depends on. Each output is then what
            `model.predict` returns for the newest `window` timesteps, which the program stores. Use
            it for models that were trained on windows of this length, and for layers that need a
            whole window, such as Bidirectional. Each step then takes `window` times as long, and
            outputs are NaN until `window` timesteps have been read. Default: None, each step
            continues from the state after the step before.
        features: names of the input features, kept in the file; for several inputs a dict.
        scaler: the scaler of the inputs in training; the program then takes raw numbers. A
            fitted StandardScaler, MinMaxScaler, MaxAbsScaler or RobustScaler of scikit-learn, a
            `windows.StandardScaler` of one series, or a pair `(center, scale)`; for several inputs
            a dict.
        target_scaler: the scaler of the targets; the program then returns raw numbers. For
            several outputs a dict.
        storage: dtype of the stored matrices. `"float16"` rounds them, and halves the file.

    Raises:
        ArgumentError: a layer cannot be exported (the message names it with the reason), or an
            argument does not fit the model.

    Example:
        >>> from seqkeras import many_to_one, runtime
        >>> save_program(many_to_one(2, units=8), "pump.program", features=["flow", "pressure"])
        >>> runtime.load("pump.program").inputs[0].features
        ('flow', 'pressure')
    """
    check_one_of("storage", storage, ("float32", "float16"))
    parts = verified_parts(model, window, features, scaler, target_scaler, storage)
    write_archive(path, parts.header, parts.arrays, kind=KIND, version=VERSION)


def verified_parts(
    model: Any,
    window: int | None,
    features: Any,
    scaler: Any,
    target_scaler: Any,
    storage: str = "float32",
) -> ProgramParts:
    """Translate a model, and compare the result with it; the arguments are `save_program`'s."""
    window = check_integer("window", window) if window is not None else None
    graph = _stateless_graph(model)
    if window is None:
        _check_continues(graph)
    parts = translate(graph, window, features, scaler, target_scaler)
    if storage == "float16":
        parts = parts._replace(arrays=_in_half_precision(parts.arrays))
    verify(graph, parts)
    return parts


def _check_continues(graph: ModelGraph) -> None:
    try:
        judge_model(graph)
    except CannotContinueError as error:
        raise export_error(error.layer.name, error.reason) from error


def _stateless_graph(model: Any) -> ModelGraph:
    graph = ModelGraph(model)
    layers = [layer for layer in graph.layers if isinstance(layer, _SEQUENCE)]
    if not layers:
        raise bad_argument("model", model.name, "a model with a recurrent layer")
    if any(layer.stateful for layer in layers):
        return ModelGraph(as_stateless(model))
    return graph


def _in_half_precision(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays with matrices rounded to float16; vectors stay as they are."""
    matrices = {name: array for name, array in arrays.items() if array.ndim > 1}
    if any(array.dtype == np.float64 for array in matrices.values()):
        raise bad_argument("storage", "float16", "'float32' for a model in double precision")
    rounded = dict(arrays)
    for name, array in matrices.items():
        if array.dtype != np.float32:
            continue
        with np.errstate(over="ignore"):
            rounded[name] = array.astype(np.float16)
        if not np.isfinite(rounded[name]).all():
            fix = (
                f"float16 ends at 65504, and the weights {name!r} reach {np.abs(array).max():.3g}."
            )
            raise bad_argument("storage", "float16", "'float32' for this model", fix)
    return rounded

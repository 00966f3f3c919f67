"""Save a Keras model as an ONNX file that runs single timesteps or whole sequences."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras

from seqkeras._checks import bad_argument, check_one_of
from seqkeras._files import whole_file
from seqkeras._lazy import import_optional
from seqkeras.export._save_program import verified_parts
from seqkeras.export.onnx._model_file import onnx_bytes
from seqkeras.export.onnx._onnx_graph import write_graph
from seqkeras.export.onnx._verify_onnx import compare
from seqkeras.runtime import Program


def save_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    form: Literal["step", "sequence"] = "step",
    window: int | None = None,
    features: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    scaler: Any = None,
    target_scaler: Any = None,
) -> None:
    """Save a model as an ONNX file, for ONNX Runtime in any language.

    The graph uses standard operators only (opset 17). It reads the inputs of the model, then its
    states, and returns its outputs, then the new states; a new state has the name of the state plus
    `/new`. The first axis, the batch, has any length. The file is run and compared with the model
    before it replaces a file at `path`. `runtime.load_onnx` reads it.

    Args:
        model: functional or Sequential, with recurrent layers; stateful or not.
        path: path of the file. An existing file is replaced once the new one is complete.
        form: `"step"`: inputs are one timestep, `(batch, features)`. `"sequence"`: inputs and
            outputs have any number of timesteps, `(batch, timesteps, features)`; the state carries
            over from one part of a long sequence to the next.
        window: as in `save_program`: each output is that of the model for the newest `window`
            timesteps. Those timesteps, and the number of timesteps read so far, form the state.
        features: names of the input features, kept in the file; for several inputs a dict.
        scaler: the scaler of the inputs, as in `save_program`; the graph then takes raw numbers, in
            float64.
        target_scaler: the scaler of the targets; the graph then returns raw numbers, in float64.

    Raises:
        ArgumentError: a layer cannot be exported (the message names it with the reason), or an
            argument does not fit the model.
        MissingDependencyError: onnx or onnxruntime is not installed.

    Example:
        >>> from seqkeras import many_to_one, runtime
        >>> save_onnx(many_to_one(2, units=8), "pump.onnx", features=["flow", "pressure"])
        >>> program = runtime.load_onnx("pump.onnx")
        >>> program.inputs[0].features, [state.name for state in program.states]
        (('flow', 'pressure'), ['recurrent_1/h', 'recurrent_1/c'])
    """
    check_one_of("form", form, ("step", "sequence"))
    for package in ("onnx", "onnxruntime"):
        import_optional(package, extra="onnx")
    program_parts = verified_parts(model, window, features, scaler, target_scaler)
    header = program_parts.header
    program = Program(header, program_parts.arrays, fingerprint="", nan="propagate")
    is_sequence = form == "sequence"
    if is_sequence and not any(port.each_step for port in program.inputs):
        fix = 'No input of this model changes over time: pass form="step".'
        raise bad_argument("form", form, "'step'", fix)
    graph = write_graph(program, header, program_parts.arrays, sequence=is_sequence)
    data = onnx_bytes(graph, _header(header, program, form))
    with whole_file(path) as temp_path:
        Path(temp_path).write_bytes(data)
        compare(program, program_parts, Path(temp_path))


def _header(header: Mapping[str, Any], program: Program, form: str) -> dict[str, Any]:
    """Return what `runtime.load_onnx` needs to know in addition to the graph."""
    zeros = program.initial_state(1)
    return {
        **{key: value for key, value in header.items() if key != "graph"},
        "form": form,
        "outputs": [
            {"name": port.name, "dtype": port.dtype.name, "shape": list(port.shape)}
            for port in program.outputs
        ],
        "states": [
            {"name": state.name, "dtype": zero.dtype.name, "shape": list(state.shape)}
            for state, zero in zip(program.states, zeros, strict=True)
        ],
    }

"""From a Keras model to an ONNX file that goes step by step, or over whole sequences."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras

from seqkeras._checks import bad_argument, check_one_of
from seqkeras._files import whole_file
from seqkeras._lazy import optional
from seqkeras.export._save_program import verified_program
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
    """Writes a model as an ONNX file, for ONNX Runtime in any language.

    The graph has standard operators alone (opset 17). It reads the inputs of the model, then its
    states, and gives its outputs, then the new states; these have the names of the states, and
    `/new`. The first axis, the batch, is of any length. Before the file is written it is run beside
    the model, and has to give the same. `runtime.load_onnx` reads it.

    Args:
        model: functional or Sequential, with recurrent layers; stateful or not.
        path: of the file; one that is there is replaced, when the new one is complete.
        form: `"step"`: inputs are one timestep, `(batch, features)`. `"sequence"`: they are as
            many as are given, `(batch, timesteps, features)`, and so are the outputs; the state
            goes from one part of a long sequence to the next.
        window: as in `save_program`: each answer is that of the model for the newest `window`
            timesteps, which are the state, together with how many were read.
        features: names of the features that it reads, kept in the file; for several inputs a dict.
        scaler: how the inputs were scaled in training, as in `save_program`: the graph then takes
            raw numbers, in float64.
        target_scaler: how the targets were scaled: it then gives raw numbers, in float64.

    Raises:
        ArgumentError: a layer cannot be stepped (it is named, with the reason), or an argument
            does not fit the model.
        MissingDependencyError: onnx or onnxruntime is not installed.

    Example:
        >>> from seqkeras import many_to_one, runtime
        >>> save_onnx(many_to_one(2, units=8), "pump.onnx", features=["flow", "pressure"])
        >>> program = runtime.load_onnx("pump.onnx")
        >>> program.inputs[0].features, [one.name for one in program.states]
        (('flow', 'pressure'), ['recurrent_1/h', 'recurrent_1/c'])
    """
    check_one_of("form", form, ("step", "sequence"))
    for package in ("onnx", "onnxruntime"):
        optional(package, extra="onnx")
    header, arrays = verified_program(model, window, features, scaler, target_scaler)
    program = Program(header, arrays, "", "propagate")
    if form == "sequence" and not any(port.each_step for port in program.inputs):
        fix = 'None of the inputs of this model changes over time: form="step" steps its state.'
        raise bad_argument("form", form, "'step'", fix)
    graph = write_graph(program, header, arrays, sequence=form == "sequence")
    data = onnx_bytes(graph, _header(header, program, form))
    with whole_file(path) as part:
        Path(part).write_bytes(data)
        compare(program, header, arrays, Path(part))


def _header(header: Mapping[str, Any], program: Program, form: str) -> dict[str, Any]:
    """What `runtime.load_onnx` must know beside the graph."""
    zeros = program.initial_state(1)
    return {
        **{key: value for key, value in header.items() if key != "graph"},
        "form": form,
        "outputs": [
            {"name": port.name, "dtype": port.dtype.name, "shape": list(port.shape)}
            for port in program.outputs
        ],
        "states": [
            {"name": one.name, "dtype": zero.dtype.name, "shape": list(one.shape)}
            for one, zero in zip(program.states, zeros, strict=True)
        ],
    }

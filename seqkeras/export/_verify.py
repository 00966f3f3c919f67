"""Compare a program with the model that it was made from."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import ModelGraph
from seqkeras.errors import SeqkerasError
from seqkeras.export._program_parts import ProgramParts
from seqkeras.export._scalers import Affine
from seqkeras.runtime import Port, Program
from seqkeras.runtime._graph import TooLargeError

#: Number of timesteps that are compared if the model takes any number.
TIMESTEPS = 12

#: Largest difference, relative to the largest output, by the dtype that the model computes in.
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}

#: The same where weights or computations are rounded to 16 bits.
HALF_TOLERANCE = 0.05


def verify(graph: ModelGraph, parts: ProgramParts) -> None:
    """Compare a program with its model on random numbers, in raw units if the program reads those.

    For the comparison, the model uses the same rounded weights as the program.

    Raises:
        ArgumentError: the program would be larger than `runtime.load` accepts.
        SeqkerasError: the outputs of the program and the model differ.
    """
    program = _program(parts)
    lengths = {
        tensor.shape[1]
        for tensor, port in zip(graph.inputs, program.inputs, strict=True)
        if port.each_step
    }
    timesteps = program.window or max((length or TIMESTEPS for length in lengths), default=1)
    rows = graph.inputs[0].shape[0] or 2
    random = np.random.default_rng(0)
    inputs = [
        random_input(random, port, rows, timesteps, parts.input_scaling.get(port.name))
        for port in program.inputs
    ]
    rounded = {name: array for name, array in parts.arrays.items() if array.dtype == np.float16}
    expected = _model_outputs(graph, parts, inputs, rounded)
    allowed = max(TOLERANCE.get(dtype, HALF_TOLERANCE) for dtype in graph.compute_dtypes)
    if not rounded.keys() <= parts.variables.keys():
        allowed = HALF_TOLERANCE
    if lengths:
        outputs, _ = program.scan(_as_arguments(inputs), program.initial_state(rows))
    else:  # no input changes over time, so step with the same inputs
        outputs = _repeat(program, inputs, rows, steps=expected[0].shape[1])
    for port, actual, model_output in zip(program.outputs, as_list(outputs), expected, strict=True):
        if actual.ndim != model_output.ndim or program.window is not None:
            actual = actual[:, -1]
        scaling = parts.output_scaling.get(port.name)
        target = scaling.undo(model_output) if scaling is not None else model_output
        difference = largest_difference(actual, target, allowed, scaling)
        if difference is not None:
            raise SeqkerasError(
                f"The program does not return what the model returns: output {port.name!r} differs "
                f"by {difference:.3g}. Nothing was written. If the model returns the same outputs "
                "for the same inputs, this is a bug in seqkeras: please report it."
            )


def _program(parts: ProgramParts) -> Program:
    try:
        return Program(parts.header, parts.arrays, fingerprint="", nan="propagate")
    except TooLargeError as error:
        window = parts.header["window"]
        actual = f"window={window}" if window is not None else repr(parts.header["name"])
        name = "window" if window is not None else "model"
        expected = "small enough for a program"
        raise bad_argument(name, Description(f"{actual}, where {error}"), expected) from error


def random_input(
    random: np.random.Generator, port: Port, rows: int, timesteps: int, scaling: Affine | None
) -> np.ndarray:
    """Return random numbers for an input of a program.

    Some timesteps are 0 in the units of the model, because a model may mask them.

    Args:
        random: source of random numbers.
        port: the input.
        rows: number of rows.
        timesteps: number of timesteps, if the input has a time axis.
        scaling: scaling of an input that is read in raw units.
    """
    shape = (rows, timesteps, *port.shape) if port.each_step else (rows, *port.shape)
    if port.dtype.kind in "ib" or port.below is not None:
        x = random.integers(0, 2, shape).astype(port.dtype)
    else:
        x = random.normal(size=shape).astype(port.dtype)
        if port.each_step:
            x[0, timesteps // 2] = 0
            x[-1, -1] = 0
    return scaling.undo(x) if scaling is not None else x


def largest_difference(
    actual: np.ndarray, expected: np.ndarray, allowed: float, scaling: Affine | None
) -> float | None:
    """Return the largest difference between outputs, or None if all are within the tolerance.

    Args:
        actual: output of a program.
        expected: the output to compare it with.
        allowed: largest difference relative to the largest output, in the units of the model.
        scaling: scaling of the output, if both arrays are in raw units.
    """
    scaled = scaling.apply(expected) if scaling is not None else expected
    size = np.abs(scaled[np.isfinite(scaled)]).max(initial=1)
    tolerance = np.full(expected.shape, allowed * size)
    if scaling is not None:
        tolerance = tolerance * np.abs(scaling.scale) + 4 * np.spacing(np.abs(expected))
    both_nan = np.isnan(actual) & np.isnan(expected)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        difference = np.abs(np.subtract(actual, expected, dtype=np.float64))
    is_close = (difference <= tolerance) | (actual == expected) | both_nan
    return None if is_close.all() else float(difference[~is_close].max())


def as_list(outputs: Any) -> list[np.ndarray]:
    """Return the outputs of a program as a list, whatever their structure is."""
    if isinstance(outputs, dict):
        return list(outputs.values())
    return [outputs] if isinstance(outputs, np.ndarray) else list(outputs)


def _model_outputs(
    graph: ModelGraph,
    parts: ProgramParts,
    inputs: Sequence[np.ndarray],
    rounded: dict[str, np.ndarray],
) -> list[np.ndarray]:
    scaled = []
    for port, x in zip(parts.header["inputs"], inputs, strict=True):
        scaling = parts.input_scaling.get(port["name"])
        scaled.append(scaling.apply(x).astype(parts.header["dtype"]) if scaling is not None else x)
    values = [
        (parts.variables[name], array) for name, array in rounded.items() if name in parts.variables
    ]
    if values:
        with keras.StatelessScope(state_mapping=values):
            outputs = graph.model(graph.pack_inputs(scaled))
    else:
        outputs = graph.model(graph.pack_inputs(scaled))
    return [
        keras.ops.convert_to_numpy(keras.ops.cast(output, port["dtype"]))
        for output, port in zip(tree.flatten(outputs), parts.header["outputs"], strict=True)
    ]


def _as_arguments(inputs: Sequence[np.ndarray]) -> Any:
    return inputs if len(inputs) > 1 else inputs[0]


def _repeat(program: Program, inputs: Sequence[np.ndarray], rows: int, steps: int) -> list[Any]:
    state = program.initial_state(rows)
    outputs = []
    for _ in range(steps):
        output, state = program.step(_as_arguments(inputs), state)
        outputs.append(as_list(output))
    return [np.stack(series, axis=1) for series in zip(*outputs, strict=True)]

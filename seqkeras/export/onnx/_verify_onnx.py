"""Compare an ONNX file with the program that it was made from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seqkeras.errors import ArgumentError, FileFormatError, SeqkerasError
from seqkeras.export._program_parts import ProgramParts
from seqkeras.export._verify import TOLERANCE, as_list, largest_difference, random_input
from seqkeras.runtime import Program, load_onnx
from seqkeras.runtime._base import StepFunction

#: Number of timesteps to read after a window is full.
TIMESTEPS = 5

#: Number of timesteps in the first of the two parts of the sequence.
FIRST_PART = 3


def compare(program: Program, parts: ProgramParts, path: Path) -> None:
    """Compare a file with its program on a random sequence, which both read in two parts.

    Raises:
        ArgumentError: ONNX Runtime cannot run the file.
        SeqkerasError: the outputs or states of file and program differ.
    """
    try:
        other = load_onnx(path, nan="propagate")
    except FileFormatError as error:
        reason = f"ONNX Runtime does not run {program.name!r}: {error.__cause__}"
        expected = "one that ONNX Runtime can run"
        fix = "Use save_program instead."
        raise ArgumentError(f"model must be {expected}. Got: {reason}. {fix}") from error
    random = np.random.default_rng(0)
    timesteps = (program.window or 0) + TIMESTEPS
    inputs = [
        random_input(random, port, 2, timesteps, parts.input_scaling.get(port.name))
        for port in program.inputs
    ]
    names = [port.name for port in program.outputs] + [state.name for state in program.states]
    allowed = TOLERANCE[parts.header["dtype"]]
    for number, (expected, actual) in enumerate(
        zip(_results(program, inputs), _results(other, inputs), strict=True)
    ):
        is_output = number < len(program.outputs)
        scaling = parts.output_scaling.get(names[number]) if is_output else None
        difference = largest_difference(actual, expected, allowed, scaling)
        if difference is not None:
            raise SeqkerasError(
                f"The ONNX file does not return what the model returns: {names[number]!r} differs "
                f"by {difference:.3g}. Nothing was written. This is a bug in seqkeras or in ONNX "
                "Runtime: please report it."
            )


def _results(stepper: StepFunction, inputs: list[Any]) -> Iterator[Any]:
    """Yield all outputs, then the last state, after reading the inputs in two parts."""
    state = stepper.initial_state(len(inputs[0]))
    moving = [port.each_step for port in stepper.inputs]
    has_time = any(moving)
    outputs = []
    for part in (slice(None, FIRST_PART), slice(FIRST_PART, None)):
        arrays = [x[:, part] if moves else x for x, moves in zip(inputs, moving, strict=True)]
        argument = arrays if len(arrays) > 1 else arrays[0]
        read = stepper.scan if has_time else stepper.step
        result, state = read(argument, state)
        outputs.append(as_list(result))
    for pair in zip(*outputs, strict=True):
        yield np.concatenate(pair, axis=1 if has_time else 0)
    yield from state

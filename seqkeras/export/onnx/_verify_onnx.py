"""Running an ONNX file beside the program that it was made of."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqkeras.errors import ArgumentError, FileFormatError, SeqkerasError
from seqkeras.export._verify import TOLERANCE, as_list, numbers
from seqkeras.runtime import Program, load_onnx
from seqkeras.runtime._base import StepFunction

#: Timesteps that are read after a window is full, and those of them that are read first.
TIMESTEPS, FIRST = 5, 3


def compare(
    program: Program, header: Mapping[str, Any], arrays: Mapping[str, Any], path: Path
) -> None:
    """Runs a file beside its program, on random numbers, in two parts.

    Raises:
        ArgumentError: ONNX Runtime cannot run it.
        SeqkerasError: its outputs or its states are others.
    """
    try:
        other = load_onnx(path, nan="propagate")
    except FileFormatError as error:
        reason = f"ONNX Runtime does not run {program.name!r}: {error.__cause__}"
        expected = "one that ONNX Runtime can run"
        fix = "save_program has a form for it."
        raise ArgumentError(f"model must be {expected}. Got: {reason}. {fix}") from error
    allowed = TOLERANCE[header["dtype"]]
    feed = _feed(program, header, arrays)
    for name, expected, got in zip(
        _names(program), _answers(program, feed), _answers(other, feed), strict=True
    ):
        size = np.abs(expected[np.isfinite(expected)]).max(initial=1)
        if not np.allclose(got, expected, rtol=0, atol=allowed * size, equal_nan=True):
            raise SeqkerasError(
                f"The ONNX file does not give what the model gives: {name!r} differs by "
                f"{np.nanmax(np.abs(got - expected)):.3g}. Nothing was written. This is a fault "
                "of seqkeras or of ONNX Runtime; please report it."
            )


def _feed(program: Program, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[Any]:
    """Numbers for each input; those of raw inputs lie about their center."""
    raw = {
        node["inputs"][0]: [arrays[node["weights"][role]] for role in ("center", "scale")]
        for node in header["graph"]["nodes"]
        if node["op"] == "affine" and node["options"].get("wide")
    }
    random, feed = np.random.default_rng(0), []
    for port in program.inputs:
        x = numbers(random, port, 2, (program.window or 0) + TIMESTEPS)
        if port.name in raw:
            center, scale = raw[port.name]
            x = x / scale + center
        feed.append(x)
    return feed


def _names(program: Program) -> list[str]:
    return [*(port.name for port in program.outputs), *(one.name for one in program.states)]


def _answers(stepper: StepFunction, feed: list[Any]) -> Iterator[Any]:
    """All outputs, then the last state, after the feed was read in two parts."""
    state, moving = stepper.initial_state(len(feed[0])), [one.each_step for one in stepper.inputs]
    parts = []
    for part in (slice(None, FIRST), slice(FIRST, None)):
        if any(moving):
            xs = [x[:, part] if moves else x for x, moves in zip(feed, moving, strict=True)]
            shown, state = stepper.scan(xs if len(xs) > 1 else xs[0], state)
        else:
            shown, state = stepper.step(feed if len(feed) > 1 else feed[0], state)
        parts.append(as_list(shown))
    axis = 1 if any(moving) else 0
    yield from (np.concatenate(pair, axis=axis) for pair in zip(*parts, strict=True))
    yield from state

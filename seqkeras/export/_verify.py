"""Running a program beside the model that it was made of."""

from typing import Any

import keras
import numpy as np
from keras import tree

from seqkeras.errors import SeqkerasError
from seqkeras.export._trace import compute_dtypes, graph_of
from seqkeras.runtime import Port, Program

#: Timesteps that are compared where the model takes any number.
TIMESTEPS = 12

#: Largest difference, as a share of the largest output.
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


def verify(model: keras.Model, program: Program) -> None:
    """Raises SeqkerasError where a program gives something else than its model."""
    graph = graph_of(model)
    lengths = {tensor.shape[1] for tensor, port in zip(graph.inputs, program.inputs, strict=True)
               if port.each_step}  # fmt: skip
    timesteps = program.window or max((length or TIMESTEPS for length in lengths), default=1)
    rows = graph.inputs[0].shape[0] or 2
    random = np.random.default_rng(0)
    feed = [numbers(random, port, rows, timesteps) for port in program.inputs]
    given = tree.pack_sequence_as(graph._inputs_struct, feed)
    expected = [
        keras.ops.convert_to_numpy(keras.ops.cast(one, program.outputs[number].dtype.name))
        for number, one in enumerate(tree.flatten(model(given)))
    ]
    allowed = max(TOLERANCE.get(dtype, 0.05) for dtype in compute_dtypes(model))
    state = program.initial_state(rows)
    if lengths:
        shown, _ = program.scan(feed if len(feed) > 1 else feed[0], state)
    else:  # what changes over time is the state alone
        shown = _repeat(program, feed, state, expected)
    for name, one, other in zip(program.outputs, as_list(shown), expected, strict=True):
        one = one if one.ndim == other.ndim and program.window is None else one[:, -1]
        tolerance = allowed * max(1.0, np.abs(other).max())
        if not np.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True):
            raise SeqkerasError(
                f"The program does not give what the model gives: output {name.name!r} differs by "
                f"{np.abs(one - other).max():.3g}. Nothing was written. This is a fault of "
                "seqkeras, or of a model that does not give the same twice; please report it."
            )


def numbers(random: Any, port: Port, rows: int, timesteps: int) -> Any:
    """Random numbers for an input, one timestep of them 0."""
    shape = (rows, timesteps, *port.shape) if port.each_step else (rows, *port.shape)
    if port.dtype.kind in "ib":
        return random.integers(0, 2, shape).astype(port.dtype)
    x = random.normal(size=shape).astype(port.dtype)
    if port.each_step:
        x[0, timesteps // 2] = 0  # what is masked, if anything is
        x[-1, -1] = 0
    return x


def _repeat(program: Program, feed: list[Any], state: Any, expected: list[Any]) -> list[Any]:
    x, steps = feed if len(feed) > 1 else feed[0], []
    for _ in range(expected[0].shape[1]):
        y, state = program.step(x, state)
        steps.append(as_list(y))
    return [np.stack(one, axis=1) for one in zip(*steps, strict=True)]


def as_list(given: Any) -> list[Any]:
    """Outputs as a list, whatever the model gives them as."""
    if isinstance(given, dict):
        return list(given.values())
    return [given] if isinstance(given, np.ndarray) else list(given)

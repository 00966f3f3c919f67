"""Test whether a stateful model returns the same for a sequence in chunks as for the whole."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from seqkeras._arrays import Array
from seqkeras._keras_graph import ModelGraph, name_of
from seqkeras.states._continuation import Kind, KindOrNone, inputs_over_time
from seqkeras.states._named import clear_rows, rows_of, stateful_layers
from seqkeras.states._recurrent_states import reads_time

#: Lengths in timesteps of the chunks that are tried.
CHUNKS = (1, 2, 3)
#: Size that is tried for any other axis of open size.
OPEN_SIZE = 3


def why_chunks_differ(model: keras.Model, output_kinds: Sequence[KindOrNone]) -> str | None:
    """Return how the outputs for chunks differ from those for whole sequences, or None.

    Args:
        model: a stateful model with cleared states, which are cleared again afterwards. It is not
            tried if an unrolled loop fixes its number of timesteps.
        output_kinds: the kind of each output.
    """
    graph = ModelGraph(model)
    moving = inputs_over_time(graph)
    fixed = [
        tensor.shape[1]
        for tensor, moves in zip(graph.inputs, moving, strict=True)
        if moves and tensor.shape[1] is not None
    ]
    if fixed:
        unrolled = any(layer.unroll for layer in reads_time(model))
        return None if unrolled else f"it can only read {fixed[0]} timesteps at once"
    inputs = _inputs(graph, moving)
    try:
        whole = _outputs(graph, inputs)
        _clear(model)
        ends = np.cumsum(CHUNKS).tolist()
        chunks = [
            _outputs(graph, _cut(inputs, moving, end - length, end))
            for end, length in zip(ends, CHUNKS, strict=True)
        ]
    except Exception as error:  # of a user's own layer
        return f"on a few timesteps it fails with {type(error).__name__}: {error}"
    finally:
        _clear(model)
    for number, kind in enumerate(output_kinds):
        parts = [outputs[number] for outputs in chunks]
        actual = np.concatenate(parts, axis=1) if kind is Kind.SEQUENCE else parts[-1]
        if not agree(actual, whole[number], tolerance_of(graph.layers)):
            return "in chunks of timesteps it returns other values than on the whole sequence"
    return None


def agree(actual: Array, expected: Array, tolerance: float) -> bool:
    """Return whether arrays are equal up to `tolerance` times their largest number, at least 1."""
    tolerance *= max(1.0, float(np.nanmax(np.abs(expected), initial=0.0)))
    return actual.shape == expected.shape and np.allclose(
        actual, expected, tolerance, tolerance, equal_nan=True
    )


def tolerance_of(layers: Iterable[Any]) -> float:
    """Return the tolerance for `agree` that fits the precision in which the layers compute."""
    return 0.05 if any("float16" in layer.compute_dtype for layer in layers) else 1e-4


def _inputs(graph: ModelGraph, moving: list[bool]) -> list[Any]:
    random = np.random.default_rng(0)
    values: list[Any] = []
    for tensor, moves in zip(graph.inputs, moving, strict=True):
        shape = [size or OPEN_SIZE for size in tensor.shape]
        if moves:
            shape[1] = sum(CHUNKS)
        if name_of(tensor) == "reset":
            values.append(None)
        elif "float" in tensor.dtype:
            values.append(random.normal(size=shape).astype("float32"))
        else:
            values.append(random.integers(0, 2, shape).astype(tensor.dtype))
    return values


def _cut(inputs: list[Any], moving: list[bool], start: int, end: int) -> list[Any]:
    return [
        value[:, start:end] if moves and value is not None else value
        for value, moves in zip(inputs, moving, strict=True)
    ]


def _outputs(graph: ModelGraph, inputs: list[Any]) -> list[Array]:
    outputs = graph.model(graph.pack_inputs(inputs), training=False)
    return [ops.convert_to_numpy(ops.cast(output, "float32")) for output in tree.flatten(outputs)]


def _clear(model: keras.Model) -> None:
    for layer in stateful_layers(model).values():
        clear_rows(layer, np.ones((rows_of(layer), 1), bool))

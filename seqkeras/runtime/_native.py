"""Cells on the compiled kernels, where these were built and know the cell."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy import empty

from seqkeras import native
from seqkeras.runtime._activations import Array
from seqkeras.runtime._cell_steps import (
    GRU,
    LSTM,
    Cell,
    GRUResetAfter,
    Out,
    SimpleRNN,
    State,
    cell_class,
)


def why_not_native(options: Mapping[str, Any], dtype: np.dtype[Any]) -> str | None:
    """Why the compiled kernels cannot run a cell, or None where they can."""
    reason = native.why_not()
    if reason is not None:
        return reason
    if dtype != np.float32:
        return f"the kernels compute in float32, and this program in {dtype}"
    functions = (options["activation"], options.get("recurrent_activation", "sigmoid"))
    return native.not_among_kernels(options["cell"], *functions)


FLOAT = np.dtype(np.float32)


class _Native(Cell):
    """Stands before the NumPy cell in the bases of a class, and takes its arithmetic over."""

    name = ""

    def _join(self, kernel: Array, recurrent: Array, bias: Array) -> None:
        layer = native.Layer(
            self.name,
            np.ascontiguousarray(kernel),
            np.ascontiguousarray(recurrent),
            np.ascontiguousarray(bias if self.biases == 2 else bias[0]),
            self.options["activation"],
            self.options.get("recurrent_activation", "sigmoid"),
        )
        self._run = native.Step(layer).run

    def scratch(self, batch: int) -> Any:
        return None

    def step(self, x: Array, state: State, scratch: Any, out: Out) -> State:
        shape = state[0].shape
        new: Any = out
        if out[0] is None:
            h = empty(shape, FLOAT)
            new = (h,) if len(state) == 1 else (h, empty(shape, FLOAT))
        try:
            self._run(x, *state, *new)
        except (BufferError, ValueError):  # arrays that are no dense float32
            dense = [np.ascontiguousarray(one, FLOAT) for one in (x, *state)]
            made = [np.empty_like(dense[1]) for _ in state]
            self._run(*dense, *made)
            for place, array in zip(new, made, strict=True):
                place[...] = array
        return tuple(new)


class NativeLSTM(_Native, LSTM):
    """The LSTM on the compiled kernels."""

    name = "lstm"


class NativeGRU(_Native, GRU):
    """The GRU on the compiled kernels."""

    name = "gru"


class NativeGRUResetAfter(_Native, GRUResetAfter):
    """The GRU with `reset_after` on the compiled kernels."""

    name = "gru_reset_after"


class NativeSimpleRNN(_Native, SimpleRNN):
    """The simple recurrent layer on the compiled kernels."""

    name = "simple_rnn"


#: The class for each NumPy cell.
NATIVE: dict[type[Cell], type[Cell]] = {
    GRU: NativeGRU,
    GRUResetAfter: NativeGRUResetAfter,
    LSTM: NativeLSTM,
    SimpleRNN: NativeSimpleRNN,
}


class Choice(NamedTuple):
    """Which of two equal ways runs a recurrent layer.

    Attributes:
        layer: its name.
        implementation: `"native"`, the compiled kernels, or `"numpy"`.
        reason: why not the compiled kernels, or an empty string.
    """

    layer: str
    implementation: str
    reason: str = ""


def choose(
    name: str, options: Mapping[str, Any], dtype: np.dtype[Any], compiled: bool
) -> tuple[type[Cell], Choice]:
    """The class that runs a cell, compiled where that is wanted and can be, and why."""
    kind = cell_class(options)
    reason = why_not_native(options, dtype) if compiled else "NumPy was asked for"
    return (
        (NATIVE[kind], Choice(name, "native"))
        if reason is None
        else (kind, Choice(name, "numpy", reason))
    )

"""Run the steps of cells on the native kernels."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy import empty

from seqkeras import native
from seqkeras._arrays import Array
from seqkeras._checks import bad_argument
from seqkeras.runtime._cell_steps import (
    CellStep,
    GRUResetAfterStep,
    GRUStep,
    LSTMStep,
    Out,
    SimpleRNNStep,
    State,
    step_class,
)


def why_not_native(options: Mapping[str, Any], dtype: np.dtype[Any]) -> str | None:
    """Return why the native kernels cannot run a cell, or None if they can."""
    reason = native.why_not()
    if reason is not None:
        return reason
    if dtype != np.float32:
        return f"the native kernels only support float32, but this program uses {dtype}"
    functions = (options["activation"], options.get("recurrent_activation", "sigmoid"))
    return native.not_among_kernels(options["cell"], *functions)


FLOAT = np.dtype(np.float32)


class NativeStep(CellStep):
    """A mixin that replaces the arithmetic of a NumPy step; must be the first base."""

    name = ""

    def _prepare_weights(self, kernel: Array, recurrent: Array, bias: Array) -> None:
        layer = native.Layer(
            self.name,
            np.ascontiguousarray(kernel),
            np.ascontiguousarray(recurrent),
            np.ascontiguousarray(bias if self.biases == 2 else bias[0]),
            self.options["activation"],
            self.options.get("recurrent_activation", "sigmoid"),
        )
        self.run = native.Step(layer).run

    def scratch(self, batch: int) -> Any:
        return None

    def step(self, x: Array, state: State, scratch: Any, out: Out) -> State:
        shape = state[0].shape
        targets: Any = out
        if out[0] is None:
            h = empty(shape, FLOAT)
            targets = (h,) if len(state) == 1 else (h, empty(shape, FLOAT))
        # Nearly all arrays are dense float32. A check here would take a noticeable part of a step,
        # and the native call checks them anyway: copy the arrays only if it refuses them.
        try:
            self.run(x, *state, *targets)
        except (BufferError, ValueError):
            dense = [np.require(array, FLOAT, ("C", "A")) for array in (x, *state)]
            results = [np.empty_like(dense[1]) for _ in state]
            self.run(*dense, *results)
            for target, array in zip(targets, results, strict=True):
                target[...] = array
        return tuple(targets)


class NativeLSTMStep(NativeStep, LSTMStep):
    """The LSTM on the native kernels."""

    name = "lstm"


class NativeGRUStep(NativeStep, GRUStep):
    """The GRU on the native kernels."""

    name = "gru"


class NativeGRUResetAfterStep(NativeStep, GRUResetAfterStep):
    """The GRU with `reset_after` on the native kernels."""

    name = "gru_reset_after"


class NativeSimpleRNNStep(NativeStep, SimpleRNNStep):
    """The simple recurrent layer on the native kernels."""

    name = "simple_rnn"


#: The native class for each NumPy class.
NATIVE: dict[type[CellStep], type[CellStep]] = {
    GRUStep: NativeGRUStep,
    GRUResetAfterStep: NativeGRUResetAfterStep,
    LSTMStep: NativeLSTMStep,
    SimpleRNNStep: NativeSimpleRNNStep,
}


class LayerChoice(NamedTuple):
    """The implementation that runs a recurrent layer of a program.

    Attributes:
        layer: name of the layer.
        implementation: `"native"` or `"numpy"`.
        reason: why it is not `"native"`, or an empty string.
    """

    layer: str
    implementation: str
    reason: str = ""


def choose(
    name: str, options: Mapping[str, Any], dtype: np.dtype[Any], use_native: bool
) -> tuple[type[CellStep], LayerChoice]:
    """Return the class that runs a cell, native if requested and possible, and its LayerChoice."""
    kind = step_class(options)
    reason = why_not_native(options, dtype) if use_native else "NumPy was requested"
    if reason is not None:
        return kind, LayerChoice(name, "numpy", reason)
    return NATIVE[kind], LayerChoice(name, "native")


def check_native(implementation: str, choices: Sequence[LayerChoice]) -> None:
    """Check that all layers run on the native kernels, if that was requested.

    Raises:
        ArgumentError: a layer does not, with the reason.
    """
    if implementation == "native":
        for choice in choices:
            if choice.reason:
                expected = f"'auto' or 'numpy' for layer {choice.layer!r}, because {choice.reason}"
                raise bad_argument("implementation", implementation, expected)

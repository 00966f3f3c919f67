"""Write recurrent layers as ONNX.

One timestep is written in simple operators: in ONNX Runtime that is as fast as its LSTM with a
sequence of one, and allows any activation and any mask. Over time, the operators LSTM and GRU are
used if they can represent the layer: with 64 units and one row they take 0.9 microseconds per
timestep; Scan, a loop over the simple operators, takes 6. The operator RNN is not used: for a batch
of 64 it takes 50 microseconds where Scan takes 8.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras.export.onnx._activation_nodes import ROWWISE, activate
from seqkeras.export.onnx._nodes import FAR, Op, linear
from seqkeras.export.onnx._writer import BOOL, Slot, Writer, ints
from seqkeras.gates import Weights, convert, reorder

#: The operator for a cell, and how many activations it takes for candidate and output.
OPERATORS = {"gru": ("GRU", 1), "gru_reset_after": ("GRU", 1), "lstm": ("LSTM", 2)}

#: Number of state arrays of each cell.
STATES = {"lstm": 2, "gru": 1, "simple_rnn": 1}

#: Activations that these operators have in every runtime.
ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def one_step(g: Writer, op: Op, x: str, mask: str | None, states: Sequence[str]) -> list[str]:
    """Write a timestep of `(batch, features)`; return the output, then the new states."""
    cell = _Cell(op)
    new = cell.advance(g, cell.read(g, x, axes=2), states)
    return _held(g, op, new, states, mask) if mask is not None else [new[0], *new]


def over_time(
    g: Writer, op: Op, x: str, mask: str | None, states: Sequence[str] | None
) -> list[str]:
    """Write all timesteps of `(batch, timesteps, features)`.

    Without `states`, the initial state is zero.

    Returns:
        All outputs, then the last states.
    """
    cell = _Cell(op)
    if mask is None and g.dtype == np.float32 and cell.has_operator:
        return _by_operator(g, cell, x, states)
    if states is None:
        rows = g.op("Slice", g.op("Shape", x), ints(0), ints(1))
        shape = g.op("Concat", rows, ints(cell.units), axis=0)
        states = [g.op("Expand", np.zeros(1, g.dtype), shape)] * STATES[op.options["cell"]]
    return _by_scan(g, op, cell, x, mask, states)


def whole(g: Writer, op: Op, x: str, mask: str | None) -> list[str]:
    """Write a layer that reads a window from a zero state, forward or backward.

    Returns:
        The output, then the last states.
    """
    if op.options["backwards"]:
        x = _flipped(g, x)
        mask = _flipped(g, mask) if mask is not None else None
    outputs, *states = over_time(g, op, x, mask, None)
    if op.options["sequences"]:
        return [outputs, *states]
    if mask is not None and op.options["zero_output_for_mask"]:
        return [g.op("Gather", outputs, np.array(-1), axis=1), *states]
    return [states[0], *states]


class _Cell:
    """The weights of a cell, and its formulas, which are those of `runtime._cell_steps`."""

    def __init__(self, op: Op) -> None:
        options = op.options
        weights = op.weights
        self.name = "gru_reset_after" if options.get("reset_after") else str(options["cell"])
        self.units = int(options["units"])
        self.activation = str(options["activation"])
        self.gate_activation = str(options.get("recurrent_activation", "sigmoid"))
        bias = weights.get("bias")
        self.weights = Weights(weights["kernel"], weights["recurrent_kernel"], bias)
        self.kernel, self.recurrent, self.bias = self.weights
        self.recurrent_bias = None
        if self.name == "gru_reset_after" and bias is not None:
            self.bias, self.recurrent_bias = bias
        if self.name == "lstm":  # puts the gates with the same activation side by side
            self.kernel = _gates_first(self.kernel)
            self.recurrent = _gates_first(self.recurrent)
            self.bias = _gates_first(bias) if bias is not None else None

    @property
    def has_operator(self) -> bool:
        """Return whether ONNX has an operator for the cell."""
        return (
            self.name in OPERATORS and {self.activation, self.gate_activation} <= ACTIVATIONS.keys()
        )

    def read(self, g: Writer, x: str, axes: int) -> str:
        """Write the contribution of the input to all gates."""
        return linear(g, g.floats(x), self.kernel, self.bias, axes)

    def advance(self, g: Writer, read: str, states: Sequence[str]) -> list[str]:
        """Write a step from the output of `read`; return the new states, the output first."""
        write: dict[str, Callable[..., list[str]]]
        write = {"lstm": self._lstm, "simple_rnn": self._simple_rnn}
        return write.get(self.name, self._gru)(g, read, *states)

    def _simple_rnn(self, g: Writer, read: str, h: str) -> list[str]:
        return [activate(g, g.op("Gemm", h, self.recurrent, read), self.activation)]

    def _lstm(self, g: Writer, read: str, h: str, c: str) -> list[str]:
        gates, candidate = self._split(g, g.op("Gemm", h, self.recurrent, read), 3, 1)
        i, f, o = self._open(g, gates, 3)
        added = g.op("Mul", i, activate(g, candidate, self.activation))
        c = g.op("Add", g.op("Mul", f, c), added)
        return [g.op("Mul", o, activate(g, c, self.activation)), c]

    def _gru(self, g: Writer, read: str, h: str) -> list[str]:
        gates, candidate = self._split(g, read, 2, 1)
        if self.name == "gru":
            kernel, kernel_h = np.split(self.recurrent, [2 * self.units], axis=1)
            z, r = self._open(g, g.op("Gemm", h, kernel, gates), 2)
            candidate = g.op("Gemm", g.op("Mul", r, h), kernel_h, candidate)
        else:
            product = g.op("Gemm", h, self.recurrent, self.recurrent_bias)
            from_state, candidate_h = self._split(g, product, 2, 1)
            z, r = self._open(g, g.op("Add", gates, from_state), 2)
            candidate = g.op("Add", candidate, g.op("Mul", r, candidate_h))
        candidate = activate(g, candidate, self.activation)
        return [g.op("Add", candidate, g.op("Mul", z, g.op("Sub", h, candidate)))]

    def _open(self, g: Writer, gates: str, count: int) -> list[str]:
        if self.gate_activation in ROWWISE:
            parts = self._split(g, gates, *[1] * count)
            return [activate(g, gate, self.gate_activation) for gate in parts]
        return self._split(g, activate(g, gates, self.gate_activation), *[1] * count)

    def _split(self, g: Writer, x: str, *gates: int) -> list[str]:
        sizes = ints(*(count * self.units for count in gates))
        return g.ops("Split", x, sizes, count=len(gates), axis=-1)


def _held(g: Writer, op: Op, new: Sequence[str], before: Sequence[str], mask: str) -> list[str]:
    """Return output and states; rows with a False mask keep their state from before."""
    rows = g.op("Unsqueeze", mask, ints(-1))
    states = [g.op("Where", rows, *pair) for pair in zip(new, before, strict=True)]
    if op.options.get("zero_output_for_mask"):
        return [g.op("Where", rows, new[0], 0.0), *states]
    return [states[0], *states]


def _by_operator(g: Writer, cell: _Cell, x: str, states: Sequence[str] | None) -> list[str]:
    name, output_activations = OPERATORS[cell.name]
    count = 2 if name == "LSTM" else 1
    kernel, recurrent, bias = convert(cell.weights, cell=cell.name, source="keras", target="onnx")
    initial: list[str | None] = [None] * count
    if states is not None:
        initial = [g.op("Unsqueeze", state, ints(0)) for state in states]
    gate_activation = ACTIVATIONS[cell.gate_activation]
    activations = [gate_activation] + [ACTIVATIONS[cell.activation]] * output_activations
    attributes = {"linear_before_reset": 1} if cell.name == "gru_reset_after" else {}
    outputs, *last = g.ops(
        name,
        g.op("Transpose", g.floats(x), perm=[1, 0, 2]),
        kernel[np.newaxis],
        recurrent[np.newaxis],
        bias.reshape(1, -1) if bias is not None else None,
        None,  # lengths of sequences
        *initial,
        count=1 + count,
        hidden_size=cell.units,
        activations=activations,
        **attributes,
    )
    outputs = g.op("Transpose", g.op("Squeeze", outputs, ints(1)), perm=[1, 0, 2])
    return [outputs, *(g.op("Squeeze", state, ints(0)) for state in last)]


def _by_scan(
    g: Writer, op: Op, cell: _Cell, x: str, mask: str | None, states: Sequence[str]
) -> list[str]:
    body = g.within()
    row_shape = (None, cell.units)
    before = [body.read(Slot(g.unique(f"{g.layer}/before"), g.dtype, row_shape)) for _ in states]
    scanned = [cell.read(g, x, axes=3)]
    width = cell.kernel.shape[1]
    read = body.read(Slot(g.unique(f"{g.layer}/read"), g.dtype, (None, width)))
    new = cell.advance(body, read, before)
    output = new[0]
    if mask is not None:
        scanned.append(mask)
        row_mask = body.read(Slot(g.unique(f"{g.layer}/mask"), BOOL, (None,)))
        output, *new = _held(body, op, new, before, row_mask)
    for value in (*new, output):
        body.show(value, g.unique(f"{g.layer}/after"), row_shape)
    *last, outputs = g.ops(
        "Scan",
        *states,
        *scanned,
        count=1 + len(states),
        body=body,
        num_scan_inputs=len(scanned),
        scan_input_axes=[1] * len(scanned),
        scan_output_axes=[1],
    )
    return [outputs, *last]


def _gates_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return reorder(array, source="ifco", target="ifoc")


def _flipped(g: Writer, x: str) -> str:
    return g.op("Slice", x, ints(FAR), ints(-FAR), ints(1), ints(-1))

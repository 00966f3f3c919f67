"""One timestep of an LSTM, a GRU and a simple recurrent layer, in NumPy.

Each cell joins its kernel, its recurrent kernel and its bias into one matrix: a step is one product
`[x, h, 1] @ joined`. The columns of sigmoid gates are halved in the matrix: as sigmoid(x) is
tanh(x / 2) / 2 + 1 / 2, one tanh then computes all gates. Intermediate results go to buffers that
are allocated once for each batch size; only the new state is a new array.

Formulas: Hochreiter and Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735) with the forget gate of
Gers et al. 2000; Cho et al. 2014 (arXiv 1406.1078), and cuDNN's variant of it, `reset_after`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy import add, multiply, subtract, tanh  # saves a lookup at each step

from seqkeras._arrays import Array
from seqkeras.runtime._activations import activation

#: The arrays of a state, the output first.
State: TypeAlias = tuple[Array, ...]

#: Arrays to write a state into, or None for new arrays.
Out: TypeAlias = tuple[Array | None, ...]


class CellStep:
    """One timestep of a cell.

    Args:
        options: `units`, `activation` and the other options of the cell.
        weights: `kernel` `(features, gates * units)`, `recurrent_kernel`
            `(units, gates * units)` and, optionally, `bias`, with the gates in the order of Keras.
        dtype: dtype of the arithmetic.

    Raises:
        ValueError: the shapes of the weights do not fit each other.
    """

    states: ClassVar[tuple[str, ...]] = ("h",)
    gates: ClassVar[int] = 1
    biases: ClassVar[int] = 1

    def __init__(
        self, options: Mapping[str, Any], weights: Mapping[str, Array], dtype: np.dtype[Any]
    ) -> None:
        self.units = int(options["units"])
        self.dtype = dtype
        self.options = options
        self.half = np.array(0.5, dtype)
        kernel = weights["kernel"].astype(dtype)
        self.features = len(kernel)
        recurrent = weights["recurrent_kernel"].astype(dtype)
        width = self.gates * self.units
        bias = weights["bias"].astype(dtype) if "bias" in weights else None
        shapes = (
            kernel.shape,
            recurrent.shape,
            bias.size if bias is not None else width * self.biases,
        )
        if shapes != ((self.features, width), (self.units, width), width * self.biases):
            raise ValueError(f"the weights of {self.units} units have the shapes {shapes}")
        bias = bias if bias is not None else np.zeros(width * self.biases, dtype)
        self.activation = activation(options["activation"])
        gate = options.get("recurrent_activation", "sigmoid")
        self.gate_activation = activation(gate)
        self.fast = options["activation"] == "tanh" and gate == "sigmoid"
        self._prepare_weights(kernel, recurrent, bias.reshape(self.biases, width))

    def _prepare_weights(self, kernel: Array, recurrent: Array, bias: Array) -> None:
        """Store the weights in the form in which `step` reads them."""
        raise NotImplementedError

    def scratch(self, batch: int) -> Any:
        """Allocate buffers for a batch of this size."""
        raise NotImplementedError

    def step(self, x: Array, state: State, scratch: Any, out: Out) -> State:
        """Compute the state after `x`, `(batch, features)`; its first array is the output."""
        raise NotImplementedError

    def _row(self, batch: int) -> tuple[Array, Array, Array]:
        """Allocate `[x, h, 1]`, and return it with views of x and h."""
        row = np.ones((batch, self.features + self.units + 1), self.dtype)
        return row, row[:, : self.features], row[:, self.features : -1]


class SimpleRNNStep(CellStep):
    """h = tanh(x @ kernel + h @ recurrent_kernel + bias)."""

    def _prepare_weights(self, kernel: Array, recurrent: Array, bias: Array) -> None:
        self.joined = _aligned(np.concatenate([kernel, recurrent, bias]))

    def scratch(self, batch: int) -> Any:
        return (*self._row(batch), np.empty((batch, self.units), self.dtype))

    def step(self, x: Array, state: State, scratch: Any, out: Out) -> State:
        row, row_x, row_h, z = scratch
        row_x[...] = x
        row_h[...] = state[0]
        row.dot(self.joined, z)
        return (_into(self.activation(z), out[0]),)


class LSTMStep(CellStep):
    """c = f * c + i * tanh(...), h = o * tanh(c); gates i, f, c, o in the weights."""

    states = ("h", "c")
    gates = 4

    def _prepare_weights(self, kernel: Array, recurrent: Array, bias: Array) -> None:
        joined = _by_gate(np.concatenate([kernel, recurrent, bias]), 4)[:, [0, 1, 3, 2]]
        if self.fast:
            joined[:, :3] *= self.half
        self.joined = _aligned(joined.reshape(len(joined), -1))

    def scratch(self, batch: int) -> Any:
        z = np.empty((batch, 4 * self.units), self.dtype)
        gates = z[:, : 3 * self.units]
        spare = np.empty((batch, self.units), self.dtype)
        return (*self._row(batch), z, gates, *np.split(z, 4, axis=1), spare)

    def step(self, x: Array, state: State, scratch: Any, out: Out) -> State:
        row, row_x, row_h, z, gates, i, f, o, candidate, spare = scratch
        row_x[...] = x
        row_h[...] = state[0]
        row.dot(self.joined, z)
        if self.fast:
            tanh(z, z)
            multiply(gates, self.half, gates)
            add(gates, self.half, gates)
        else:
            for gate in (i, f, o):
                gate[...] = self.gate_activation(gate)
            candidate[...] = self.activation(candidate)
        multiply(f, state[1], spare)
        multiply(i, candidate, i)
        c = add(spare, i, out[1])
        activated = tanh(c, spare) if self.fast else self.activation(c)
        return multiply(activated, o, out[0]), c


class GRUStep(CellStep):
    """h = z * h + (1 - z) * candidate; r scales h before the product; gates z, r, candidate."""

    gates = 3

    def _prepare_weights(self, kernel: Array, recurrent: Array, bias: Array) -> None:
        joined = np.concatenate([kernel, recurrent, bias])
        gates = joined[:, : 2 * self.units]
        self.joined = _aligned(gates * self.half if self.fast else gates)
        self.joined_candidate = _aligned(joined[:, 2 * self.units :])

    def scratch(self, batch: int) -> Any:
        gates = np.empty((batch, 2 * self.units), self.dtype)
        spare = np.empty((batch, self.units), self.dtype)
        return (*self._row(batch), gates, *np.split(gates, 2, axis=1), spare, np.empty_like(spare))

    def step(self, x: Array, state: State, scratch: Any, out: Out) -> State:
        row, row_x, row_h, gates, z, r, candidate, spare = scratch
        h = state[0]
        row_x[...] = x
        row_h[...] = h
        row.dot(self.joined, gates)
        self._apply_gates(gates, z, r)
        multiply(r, h, row_h)
        row.dot(self.joined_candidate, candidate)
        return (self._mix(z, h, candidate, spare, out[0]),)

    def _apply_gates(self, gates: Array, z: Array, r: Array) -> None:
        if self.fast:
            tanh(gates, gates)
            multiply(gates, self.half, gates)
            add(gates, self.half, gates)
        else:
            for gate in (z, r):
                gate[...] = self.gate_activation(gate)

    def _mix(self, z: Array, h: Array, candidate: Array, spare: Array, out: Array | None) -> Array:
        new = tanh(candidate, candidate) if self.fast else self.activation(candidate)
        subtract(h, new, spare)
        multiply(z, spare, spare)
        return add(new, spare, out)


class GRUResetAfterStep(GRUStep):
    """The GRU whose gate r scales the product and its bias, as in Keras by default and in cuDNN."""

    biases = 2

    def _prepare_weights(self, kernel: Array, recurrent: Array, bias: Array) -> None:
        # Columns: z, r, the part of the candidate from the input, the part from the state.
        joined = np.concatenate([kernel, recurrent, bias[:1] + bias[1:]])
        gates = joined[:, : 2 * self.units]
        if self.fast:
            gates = gates * self.half
        parts = _by_gate(np.zeros((len(joined), 2 * self.units), self.dtype), 2)
        parts[: self.features, 0] = kernel[:, 2 * self.units :]
        parts[-1, 0] = bias[0, 2 * self.units :]
        parts[self.features : -1, 1] = recurrent[:, 2 * self.units :]
        parts[-1, 1] = bias[1, 2 * self.units :]
        self.joined = _aligned(np.concatenate([gates, parts.reshape(len(joined), -1)], axis=1))

    def scratch(self, batch: int) -> Any:
        product = np.empty((batch, 4 * self.units), self.dtype)
        gates = product[:, : 2 * self.units]
        parts = np.split(product, 4, axis=1)
        return (*self._row(batch), product, gates, *parts, np.empty_like(parts[0]))

    def step(self, x: Array, state: State, scratch: Any, out: Out) -> State:
        row, row_x, row_h, product, gates, z, r, candidate, from_state, spare = scratch
        h = state[0]
        row_x[...] = x
        row_h[...] = h
        row.dot(self.joined, product)
        self._apply_gates(gates, z, r)
        multiply(r, from_state, from_state)
        add(candidate, from_state, candidate)
        return (self._mix(z, h, candidate, spare, out[0]),)


def step_class(options: Mapping[str, Any]) -> type[CellStep]:
    """Return the class for the cell `options["cell"]`: `lstm`, `gru` or `simple_rnn`.

    Raises:
        KeyError: the cell is unknown.
    """
    kinds: dict[str, type[CellStep]] = {
        "lstm": LSTMStep,
        "gru": GRUResetAfterStep if options.get("reset_after") else GRUStep,
        "simple_rnn": SimpleRNNStep,
    }
    return kinds[options["cell"]]


def _by_gate(matrix: Array, gates: int) -> Array:
    return matrix.reshape(len(matrix), gates, -1)


def _into(value: Array, out: Array | None) -> Array:
    if out is None:
        return value.copy()
    out[...] = value
    return out


def _aligned(matrix: Array) -> Array:
    """Copy a matrix to the start of a cache line, which makes a product a tenth faster."""
    memory = np.empty(matrix.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + matrix.nbytes].view(matrix.dtype).reshape(matrix.shape)
    copy[...] = matrix
    return copy

"""What the service can run: programs, and others with the same few methods."""

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument
from seqkeras.runtime import Program
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._row_step import RowStep


class ServedModel(Protocol):
    """A function of one observation, (input, state) to (output, state), over rows of numbers.

    Attributes:
        name: name of the model.
        kind: what the file holds, such as `"program"`.
        fingerprint: checksum of the file; a state belongs to one fingerprint.
        width: numbers of one observation.
        input_dtype: dtype of observations.
        outputs: numbers of one output.
        output_dtype: dtype of outputs.
        states: shape of one row and dtype, for each array of the state.
        row_step: the same step for one row in place, with the same numbers in less time, or None.
    """

    name: str
    kind: str
    fingerprint: str
    width: int
    input_dtype: np.dtype[Any]
    outputs: int
    output_dtype: np.dtype[Any]
    states: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]
    row_step: RowStep | None

    def initial_state(self, ids: Sequence[str]) -> State:
        """Return the state of new sessions, one row for each id."""
        ...

    def read(self, x: Any) -> Array:
        """Return an observation of a request as numbers, `(1, width)`."""
        ...

    def read_many(self, x: Sequence[Any]) -> Array:
        """Return observations of many sessions as numbers, `(rows, width)`."""
        ...

    def write(self, outputs: Array) -> Any:
        """Return one row of outputs as the JSON value of a reply."""
        ...

    def write_many(self, outputs: Array) -> list[Any]:
        """Return rows of outputs as JSON values."""
        ...

    def step(self, x: Array, state: State) -> tuple[Array, State]:
        """Compute one timestep of many rows, `(rows, width)` to `(rows, outputs)`."""
        ...

    def scan(self, x: Array, state: State) -> tuple[Array, State]:
        """Compute many timesteps of one row, `(timesteps, width)` to `(timesteps, outputs)`."""
        ...

    def rollout(self, output: Array, state: State, steps: int, future: Any) -> Iterator[Any]:
        """Return the next outputs of one row if each were the next observation, as they come."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return inputs and outputs as JSON, for clients and for the page."""
        ...


class ServedProgram:
    """A program with its inputs joined into rows of numbers, and its outputs too.

    Args:
        program: a program of `runtime.load`.
    """

    kind = "program"

    def __init__(self, program: Program) -> None:
        self.name = program.name
        self.fingerprint = program.fingerprint
        self._program = program
        self._inputs = _Columns(program.inputs)
        self._outputs = _Columns(program.outputs)
        self.width = self._inputs.width
        self.outputs = self._outputs.width
        self.input_dtype = self._inputs.dtype
        self.output_dtype = self._outputs.dtype
        self.states: Sequence[tuple[tuple[int, ...], np.dtype[Any]]] = [
            (array.shape[1:], array.dtype) for array in program.initial_state(1)
        ]
        features = program.inputs[0].features if len(program.inputs) == 1 else None
        self._names = list(features) if features else None
        # Only a step checks ids, so one on zeros refuses them before they reach a session.
        self._checks_ids = any(port.dtype.kind != "f" for port in program.inputs)
        self._write_row = struct.Struct(f"={self.width}{self.input_dtype.char}").pack_into
        self._zeros = program.initial_state(1)
        self.row_step = program.row_step()

    def initial_state(self, ids: Sequence[str]) -> State:
        return self._program.initial_state(len(ids))

    def read(self, x: Any) -> Array:
        if type(x) is list and not self._checks_ids:
            # Nearly every observation is a list of numbers that fit. `struct` converts them as
            # NumPy does, in a third of the time; the code below names what is wrong with others.
            row = np.empty((1, self.width), self.input_dtype)
            try:
                self._write_row(row.data, 0, *x)
                if math.isfinite(sum(x)):
                    return row
            except (struct.error, OverflowError, TypeError):
                pass
        if isinstance(x, Mapping):
            x = self._inputs.by_name(x) if self._names is None else _by_name(x, self._names)
        row = _row(x, self.width, self.input_dtype, self._inputs.listed)
        if self._checks_ids:
            self._program.step(self._inputs.split(row), self._zeros)
        return row

    def read_many(self, x: Sequence[Any]) -> Array:
        if not self._checks_ids:
            try:
                if set(map(len, x)) == {self.width}:
                    form = f"={len(x) * self.width}{self.input_dtype.char}"
                    data = struct.pack(form, *chain.from_iterable(x))
                    rows = np.frombuffer(data, self.input_dtype).reshape(len(x), self.width)
                    if np.isfinite(rows).all():
                        return rows
            except (struct.error, OverflowError, TypeError):
                pass  # the first wrong row is found below, or rows are read by name
        return np.concatenate([self.read(row) for row in x])

    def write(self, outputs: Array) -> Any:
        return self._outputs.to_json(outputs)

    def write_many(self, outputs: Array) -> list[Any]:
        if self._outputs.plain:
            rows: list[Any] = outputs.tolist()
            return rows
        return [self.write(row) for row in outputs]

    def step(self, x: Array, state: State) -> tuple[Array, State]:
        y, state = self._program.step(self._inputs.split(x), state)
        return self._outputs.join(y), state

    def scan(self, x: Array, state: State) -> tuple[Array, State]:
        y, state = self._program.scan(self._inputs.split(x[np.newaxis]), state)
        return self._outputs.join(y)[0], state

    def rollout(self, output: Array, state: State, steps: int, future: Any) -> Iterator[Any]:
        return self._outputs_of_rollout(output, state, self._future(future, steps))

    def _outputs_of_rollout(self, output: Array, state: State, extra: Array) -> Iterator[Any]:
        yield self.write(output[0])
        for row in extra:
            x = np.concatenate([output, row[np.newaxis]], axis=1)
            output, state = self.step(x.astype(self.input_dtype), state)
            yield self.write(output[0])

    def _future(self, future: Any, steps: int) -> Array:
        """Return the inputs that are not fed back, `(steps - 1, width - outputs)`."""
        missing = self.width - self.outputs
        if missing < 0 or len(self._program.inputs) > 1 or len(self._program.outputs) > 1:
            expected = "a program whose output is its next input, or the first part of it"
            actual = Description(f"{self.outputs} outputs and {self.width} inputs")
            raise bad_argument("rollout", actual, expected)
        # The first output has been computed already.
        needed = missing and steps > 1
        rows = np.empty((steps - 1, missing)) if future is None and not needed else future
        try:
            extra = np.array(rows, self.input_dtype)
        except (ValueError, TypeError, OverflowError):
            extra = np.empty(0)
        if extra.ndim != 2 or extra.shape[1] != missing or len(extra) < steps - 1:
            expected = f"{steps - 1} rows of the {missing} inputs that are not outputs"
            raise bad_argument("future", Description(_shortly(future)), expected)
        return extra[: steps - 1]

    def describe(self) -> dict[str, Any]:
        return {
            "inputs": self._inputs.describe(),
            "outputs": self._outputs.describe(),
            "features": self._names,
            "window": self._program.window,
            "choices": [choice._asdict() for choice in self._program.choices],
        }


class _Columns:
    """Inputs or outputs of a program as columns of one array."""

    def __init__(self, ports: Sequence[Any]) -> None:
        self._ports = ports
        self._sizes = [math.prod(port.shape) for port in ports]
        self._ends = np.cumsum(self._sizes).tolist()
        self.width = self._ends[-1]
        dtypes = {port.dtype for port in ports}
        # float64 holds every other dtype of a program exactly.
        self.dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float64)
        if self.dtype.kind != "f":
            self.dtype = np.dtype(np.float64)
        self.plain = len(ports) == 1 and len(ports[0].shape) == 1 and ports[0].dtype == self.dtype

    def split(self, rows: Array) -> Any:
        """Return the part of each port, with its shape and dtype."""
        if self.plain:
            return rows
        lead = rows.shape[:-1]
        return {
            port.name: rows[..., end - size : end].reshape(*lead, *port.shape).astype(port.dtype)
            for port, size, end in zip(self._ports, self._sizes, self._ends, strict=True)
        }

    def join(self, arrays: Any) -> Array:
        """Return outputs of a program as the columns of one array."""
        if self.plain:
            return arrays
        if isinstance(arrays, Mapping):
            arrays = [arrays[port.name] for port in self._ports]
        elif not isinstance(arrays, tuple):
            arrays = [arrays]
        parts = []
        for port, array in zip(self._ports, arrays, strict=True):
            lead = array.shape[: array.ndim - len(port.shape)]
            parts.append(np.asarray(array, self.dtype).reshape(*lead, -1))
        return np.concatenate(parts, axis=-1)

    def to_json(self, row: Array) -> Any:
        """Return one row as a list, or as a list for each port."""
        if self.plain:
            return row.tolist()
        parts = [
            row[end - size : end].reshape(port.shape).tolist()
            for port, size, end in zip(self._ports, self._sizes, self._ends, strict=True)
        ]
        names = [port.name for port in self._ports]
        return parts[0] if len(parts) == 1 else dict(zip(names, parts, strict=True))

    def by_name(self, x: Mapping[str, Any]) -> list[Any]:
        """Return the numbers of a dict of ports as one list."""
        names = [port.name for port in self._ports]
        numbers: list[Any] = []
        for values in _by_name(x, names):
            try:
                numbers.extend(np.ravel(np.array(values, np.float64)).tolist())
            except (ValueError, TypeError, OverflowError) as error:
                raise bad_argument("x", Description(_shortly(values)), "numbers") from error
        return numbers

    def listed(self) -> str:
        """Return what the numbers are, for errors."""
        if len(self._ports) == 1 and self._ports[0].features:
            return "In order: " + ", ".join(self._ports[0].features) + "."
        parts = zip(self._ports, self._sizes, strict=True)
        return "In order: " + ", ".join(f"{port.name} ({size})" for port, size in parts) + "."

    def describe(self) -> list[dict[str, Any]]:
        return [
            {"name": port.name, "shape": list(port.shape), "dtype": str(port.dtype)}
            for port in self._ports
        ]


def _row(x: Any, width: int, dtype: np.dtype[Any], listed: Callable[[], str]) -> Array:
    """Return a list of finite numbers as an array `(1, width)`."""
    try:
        with np.errstate(over="ignore"):
            row = np.array([x], dtype)
    except (ValueError, TypeError, OverflowError):
        row = None
    if row is None or row.shape != (1, width):
        raise bad_argument("x", Description(_shortly(x)), f"{width} numbers", listed())
    # The product is finite for all but huge numbers, and ten times as fast as looking at each.
    if not math.isfinite(np.vdot(row, row)) and not np.isfinite(row).all():
        raise bad_argument("x", Description(_shortly(x)), f"finite numbers within {dtype}")
    return row


def _by_name(x: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    if set(x) != set(names):
        actual = Description(", ".join(sorted(map(str, x))) or "no names")
        raise bad_argument("x", actual, f"an object with the names {', '.join(names)}")
    return [x[name] for name in names]


def _shortly(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

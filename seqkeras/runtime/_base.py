"""The base class of programs, which checks arguments and handles states."""

import math
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy import vdot

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, bad_data, check_integer, check_one_of
from seqkeras._html import html_table
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._graph import StateArray
from seqkeras.runtime._packing import pack, packed_size, unpack
from seqkeras.runtime._ports import Port, check_ids, convert, in_order, make_port

#: Input of a program: an array, or an array for each of several inputs, in order or by name.
StepInputs: TypeAlias = npt.ArrayLike | Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]

#: Output of a program: an array, or a tuple or dict of arrays, as the model returns them.
Outputs: TypeAlias = Any

Arrays: TypeAlias = list[Array]


class StepFunction:
    """A function of one timestep, (input, state) to (output, state).

    This base checks arguments and handles states. A subclass sets `outputs` and `states` with
    `_define`, and does the arithmetic in `_advance`.

    Args:
        header: `name`, `window`, `inputs` and `outputs_as` of the file.
        fingerprint: checksum of the file.
        nan: `"raise"` to refuse NaN in inputs, or `"propagate"`.
    """

    outputs: tuple[Port, ...]
    states: tuple[StateArray, ...]

    def __init__(
        self, header: Mapping[str, Any], fingerprint: str, nan: Literal["raise", "propagate"]
    ) -> None:
        self.name = str(header["name"])
        self.fingerprint = fingerprint
        self._raise_nan = check_one_of("nan", nan, ("raise", "propagate")) == "raise"
        self.window = _window(header["window"])
        self.inputs = tuple(make_port(port) for port in header["inputs"])
        self._one_input = len(self.inputs) == 1
        self._moving = tuple(port.each_step for port in self.inputs)
        kinds = ("single", "list", "dict")
        self._structure = check_one_of("outputs_as", header["outputs_as"], kinds)
        self._one_output = self._structure == "single"
        # Shape and dtype of the last input that passed the checks, and number of rows and arrays of
        # the last state. A session repeats them at each step, and then skips most of the checks.
        self._checked_input: tuple[Any, Any] = (None, None)
        self._checked_state: tuple[int, list[Any]] = (0, [])

    def _define(
        self, outputs: Sequence[Port], states: Sequence[StateArray], dtypes: Sequence[np.dtype[Any]]
    ) -> None:
        """Set the outputs, and the arrays of the state."""
        self.outputs = tuple(outputs)
        self.states = tuple(states)
        self._state_shapes = [
            (array.shape, dtype) for array, dtype in zip(states, dtypes, strict=True)
        ]

    def _advance(self, arrays: Arrays, state: State, out: State | None) -> tuple[Arrays, State]:
        """Compute one timestep, from checked arguments."""
        raise NotImplementedError

    def __repr__(self) -> str:
        def describe(ports: tuple[Port, ...]) -> str:
            return ", ".join(f"{port.name} {('batch', *port.shape)}" for port in ports)

        numbers = sum(math.prod(array.shape) for array in self.states)
        text = f"{self.name}: {describe(self.inputs)} -> {describe(self.outputs)}".replace("'", "")
        window = f", window of {self.window}" if self.window else ""
        return f"{type(self).__name__}({text}; state of {numbers} numbers a row{window})"

    def _repr_html_(self) -> str:
        def shapes(ports: tuple[Port, ...]) -> str:
            return ", ".join(
                f"{port.name} ({', '.join(map(str, ('batch', *port.shape)))})" for port in ports
            )

        numbers = sum(math.prod(array.shape) for array in self.states)
        rows = [
            ("input", shapes(self.inputs)),
            ("output", shapes(self.outputs)),
            ("state", f"{numbers} numbers a row"),
            ("window", f"{self.window} timesteps" if self.window else "all timesteps so far"),
            ("fingerprint", self.fingerprint),
        ]
        return html_table(f"{type(self).__name__} {self.name}", rows)

    def __copy__(self) -> Self:
        """Return the program itself, which never changes."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """Return the program itself, which never changes."""
        return self

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the state before the first timestep.

        Raises:
            ArgumentError: `batch_size` is not an integer of at least 1.
        """
        rows = check_integer("batch_size", batch_size)
        return tuple(np.zeros((rows, *shape), dtype) for shape, dtype in self._state_shapes)

    def step(
        self, x: StepInputs, state: State, *, out: State | None = None
    ) -> tuple[Outputs, State]:
        """Compute one timestep.

        Args:
            x: `(batch, features)` for each input; other dtypes are converted.
            state: a state with the same number of rows, from `initial_state`, `step`, `scan` or
                `unpack_state`. It is not changed.
            out: arrays to write the new state into, for example `state` itself. None: new arrays.

        Returns:
            The output `(batch, outputs)`, and the new state.

        Raises:
            ArgumentError: a shape or a dtype does not fit the program.
            DataError: x contains NaN, and the program was not loaded with `nan="propagate"`.
        """
        shape, dtype = self._checked_input
        if type(x) is np.ndarray and x.shape == shape and x.dtype is dtype:
            arrays = [x]
            if self._raise_nan and isnan(_sum(x)):
                self._read(x)  # raises an error with the position
        else:
            arrays = self._read(x)
            if self._one_input and self.inputs[0].below is None:
                self._checked_input = (arrays[0].shape, self.inputs[0].dtype)
        rows = len(arrays[0])
        self._check_state("state", state, rows)
        if out is not None:
            if out is not state:
                self._check_state("out", out, rows)
            for array in out:
                if not array.flags.writeable:  # checked before any of them is written
                    raise bad_argument(
                        "out", Description("a read-only array"), "arrays to write into"
                    )
        outputs, new = self._advance(arrays, state, out)
        return (outputs[0] if self._one_output else self._packed(outputs)), new

    def scan(self, xs: StepInputs, state: State) -> tuple[Outputs, State]:
        """Compute many timesteps, with the same result as that number of steps.

        Args:
            xs: `(batch, timesteps, features)` for each input; `(batch, features)` for an input
                that does not change over time.
            state: a state with the same number of rows. It is not changed.

        Returns:
            The outputs `(batch, timesteps, outputs)`, and the state after the last timestep.

        Raises:
            ArgumentError: a shape or a dtype does not fit the program.
            DataError: xs contains NaN, and the program was not loaded with `nan="propagate"`.
        """
        arrays = self._read(xs, over_time=True)
        rows = len(arrays[0])
        self._check_state("state", state, rows)
        lengths = {
            array.shape[1] for array, moves in zip(arrays, self._moving, strict=True) if moves
        }
        if len(lengths) != 1:
            raise bad_argument("xs", sorted(lengths), "arrays with the same number of timesteps")
        outputs, state = self._advance_all(arrays, lengths.pop(), state)
        return self._packed(outputs), state

    def _advance_all(self, arrays: Arrays, timesteps: int, state: State) -> tuple[Arrays, State]:
        """Compute many timesteps, from checked arguments."""
        rows = len(arrays[0])
        results = [np.empty((rows, timesteps, *port.shape), port.dtype) for port in self.outputs]
        for t in range(timesteps):
            current = [
                array[:, t] if moves else array
                for array, moves in zip(arrays, self._moving, strict=True)
            ]
            outputs, state = self._advance(current, state, None)
            for result, output in zip(results, outputs, strict=True):
                result[:, t] = output
        return results, state

    def state_bytes(self, batch_size: int = 1) -> int:
        """Return the number of bytes of a packed state."""
        return packed_size(self._state_shapes, check_integer("batch_size", batch_size))

    def pack_state(self, state: State) -> bytes:
        """Convert a state to bytes, for a file, a database or another process.

        Returns:
            `state_bytes(batch_size)` bytes: a signature, a version, the fingerprint of the
            program, the number of rows and a checksum, then the arrays, little-endian.

        Raises:
            ArgumentError: the state does not belong to this program.
        """
        rows = len(state[0]) if isinstance(state, tuple) and state and np.ndim(state[0]) else 1
        self._check_state("state", state, rows)
        return pack(state, self.fingerprint, rows)

    def unpack_state(self, data: bytes) -> State:
        """Return the state that `pack_state` converted to bytes.

        Raises:
            ArgumentError: `data` is not bytes.
            FileFormatError: the bytes are damaged, were packed by another version, or belong to
                another program.
        """
        return unpack(data, self._state_shapes, self.fingerprint, self.name)

    def _read(self, x: Any, over_time: bool = False) -> Arrays:
        """Return the inputs as arrays with the right dtypes and shapes."""
        if self._one_input and not isinstance(x, Mapping):
            return [self._read_input(self.inputs[0], x, over_time)]
        arrays = [
            self._read_input(port, array, over_time)
            for port, array in zip(self.inputs, in_order(self.inputs, "x", x), strict=True)
        ]
        rows = {len(array) for array in arrays}
        if len(rows) != 1:
            raise bad_argument("x", sorted(rows), "inputs with the same number of rows")
        return arrays

    def _read_input(self, port: Port, x: Any, over_time: bool) -> Array:
        name, shape, dtype, _, each_step, below = port
        if type(x) is not np.ndarray or x.dtype is not dtype:
            x = convert(port, x)
        axes = ("batch", "timesteps") if over_time and each_step else ("batch",)
        lead = len(axes)
        if x.shape[lead:] != shape or x.ndim < lead or not x.shape[0]:
            expected = f"of shape ({', '.join(map(str, (*axes, *shape)))})"
            raise bad_argument(name, Description(f"shape {x.shape}"), expected)
        # A sum is NaN if any number is, so one pass finds NaN. Only the error needs the position.
        if self._raise_nan and isnan(_sum(x)) and np.isnan(x).any():
            places = np.argwhere(np.isnan(x))
            actual = f"{len(places)} NaN, the first at {tuple(places[0].tolist())}"
            fix = (
                "The state is unchanged: fill the gap, omit the step, or load the program with "
                'nan="propagate".'
            )
            raise bad_data(name, actual, "have no missing values", fix)
        if below is not None:
            check_ids(port, x)
        return x

    def _check_state(self, name: str, state: State, rows: int) -> None:
        checked_rows, expected = self._checked_state
        if checked_rows != rows:
            expected = [((rows, *shape), dtype) for shape, dtype in self._state_shapes]
            self._checked_state = (rows, expected)
        try:
            if type(state) is tuple and [(a.shape, a.dtype) for a in state] == expected:
                return
        except AttributeError:  # not arrays
            pass
        self._refuse_state(name, state, rows)

    def _refuse_state(self, name: str, state: Any, rows: int) -> None:
        expected = [
            f"{array.name} {(rows, *array.shape)} {dtype}"
            for array, (_, dtype) in zip(self.states, self._state_shapes, strict=True)
        ]
        parts = state if isinstance(state, (tuple, list)) else [state]
        actual = [
            f"{np.shape(part)} {getattr(part, 'dtype', type(part).__name__)}" for part in parts
        ]
        fix = f"Take it from initial_state({rows}), step, scan or unpack_state of this program."
        raise bad_argument(
            name,
            Description(f"a {type(state).__name__} of {actual}"),
            f"a tuple of {expected}",
            fix,
        )

    def _packed(self, outputs: Arrays) -> Outputs:
        """Return the outputs in the structure of the model: an array, a tuple or a dict."""
        if self._one_output:
            return outputs[0]
        if self._structure == "dict":
            return {port.name: array for port, array in zip(self.outputs, outputs, strict=True)}
        return tuple(outputs)


def _sum(x: Array) -> Any:
    """Return a number that is NaN if x contains NaN."""
    # For a few numbers, adding them in Python is faster than calling NumPy.
    return sum(map(sum, x.tolist())) if x.ndim == 2 and x.size <= 16 else vdot(x, x)


def _window(window: Any) -> int | None:
    return check_integer("window", window) if window is not None else None

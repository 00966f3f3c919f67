"""What all programs share: arguments that are checked, states that are made, packed and read."""

import math
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy import vdot

from seqkeras._checks import bad_argument, check_integer, check_one_of
from seqkeras.errors import DataError
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._graph import StateArray
from seqkeras.runtime._packing import pack, packed_size, unpack
from seqkeras.runtime._ports import Port, converted, make_port

#: What a program reads: an array, or one for each of several inputs, in order or by name.
Inputs: TypeAlias = npt.ArrayLike | Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]

#: What it gives: an array, or as the model does a tuple or a dict of several.
Outputs: TypeAlias = Any

Arrays: TypeAlias = list[npt.NDArray[Any]]


class Stepper:
    """A function of one timestep, (input, state) to (output, state), whatever computes it.

    It never changes: a step takes a state and gives another, so one object serves any number of
    sessions and threads. A state is a tuple of arrays `(batch, ...)`, the rows of which can be
    taken, joined and stored freely; `states` names them. A class of its own sets `outputs` and
    `states` by `_define`, and does the arithmetic in `_advance`.

    Attributes:
        name: of the model.
        inputs: what a step reads.
        outputs: what a step gives.
        states: name and shape of each array of the state.
        window: timesteps of the window that each answer reads, or None where the state carries
            everything since the beginning.
        fingerprint: checksum of the file that it was loaded from.
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
        self._seen: tuple[Any, Any] = (None, None)
        self._wanted: tuple[int, list[Any]] = (0, [])

    def _define(
        self, outputs: Sequence[Port], states: Sequence[StateArray], dtypes: Sequence[np.dtype[Any]]
    ) -> None:
        self.outputs, self.states = tuple(outputs), tuple(states)
        self._state_shapes = [(one.shape, kind) for one, kind in zip(states, dtypes, strict=True)]

    def _advance(self, arrays: Arrays, state: State, out: State | None) -> tuple[Arrays, State]:
        """One timestep, of what was checked."""
        raise NotImplementedError

    def __repr__(self) -> str:
        def ports(given: tuple[Port, ...]) -> str:
            return ", ".join(f"{port.name} {('batch', *port.shape)}" for port in given)

        numbers = sum(math.prod(one.shape) for one in self.states)
        text = f"{self.name}: {ports(self.inputs)} -> {ports(self.outputs)}; state of {numbers}"
        window = f", window of {self.window}" if self.window else ""
        return f"{type(self).__name__}({text.replace(chr(39), '')} numbers a row{window})"

    def initial_state(self, batch_size: int = 1) -> State:
        """The state before the first timestep.

        Raises:
            ArgumentError: `batch_size` is no integer of 1 or more.
        """
        rows = check_integer("batch_size", batch_size)
        return tuple(np.zeros((rows, *shape), dtype) for shape, dtype in self._state_shapes)

    def step(self, x: Inputs, state: State, *, out: State | None = None) -> tuple[Outputs, State]:
        """Reads one timestep.

        Args:
            x: `(batch, features)`, and so for each input; other dtypes are converted.
            state: of as many rows, from `initial_state`, `step`, `scan` or `unpack_state`. It is
                left as it is.
            out: arrays to write the new state into, such as `state` itself, in place of new ones.

        Returns:
            The output `(batch, outputs)`, and the new state.

        Raises:
            ArgumentError: a shape or a dtype does not fit the program.
            DataError: x holds NaN, and the program was not loaded with `nan="propagate"`.
        """
        # One session, or one batch of them, steps many times: what was checked is remembered.
        if type(x) is np.ndarray and x.shape == self._seen[0] and x.dtype is self._seen[1]:
            arrays = [x]
            if self._raise_nan and isnan(_sum(x)):
                self._read(x)  # says where
        else:
            arrays = self._read(x)
            if self._one_input and self.inputs[0].below is None:
                self._seen = arrays[0].shape, self.inputs[0].dtype
        rows = len(arrays[0])
        self._check_state("state", state, rows)
        if out is not None:
            if out is not state:
                self._check_state("out", out, rows)
            for one in out:
                if not one.flags.writeable:  # found before any of them is written
                    raise bad_argument("out", "a read-only array", "arrays to write into")
        outputs, new = self._advance(arrays, state, out)
        return (outputs[0] if self._one_output else self._shown(outputs)), new

    def scan(self, xs: Inputs, state: State) -> tuple[Outputs, State]:
        """Reads many timesteps, and gives what as many steps would.

        Args:
            xs: `(batch, timesteps, features)`, and so for each input; an input that does not
                change over time is `(batch, features)`.
            state: of as many rows. It is left as it is.

        Returns:
            The outputs `(batch, timesteps, outputs)`, and the state after the last.

        Raises:
            ArgumentError: a shape or a dtype does not fit the program.
            DataError: xs holds NaN, and the program was not loaded with `nan="propagate"`.
        """
        arrays = self._read(xs, over_time=True)
        rows = len(arrays[0])
        self._check_state("state", state, rows)
        lengths = {
            array.shape[1] for array, moves in zip(arrays, self._moving, strict=True) if moves
        }
        if len(lengths) != 1:
            raise bad_argument("xs", sorted(lengths), "arrays of as many timesteps each")
        shown, state = self._advance_all(arrays, lengths.pop(), state)
        return self._shown(shown), state

    def _advance_all(self, arrays: Arrays, timesteps: int, state: State) -> tuple[Arrays, State]:
        """Many timesteps, of what was checked."""
        rows, moving = len(arrays[0]), self._moving
        shown = [np.empty((rows, timesteps, *port.shape), port.dtype) for port in self.outputs]
        for t in range(timesteps):
            now = [
                array[:, t] if moves else array for array, moves in zip(arrays, moving, strict=True)
            ]
            outputs, state = self._advance(now, state, None)
            for place, output in zip(shown, outputs, strict=True):
                place[:, t] = output
        return shown, state

    def state_bytes(self, batch_size: int = 1) -> int:
        """The length of a packed state, known beforehand."""
        return packed_size(self._state_shapes, check_integer("batch_size", batch_size))

    def pack_state(self, state: State) -> bytes:
        """The state as bytes, for a file, a database or another process.

        Returns:
            `state_bytes(batch_size)` bytes: a mark, a version, the fingerprint of the program, the
            number of rows and a checksum, then the arrays, little-endian.

        Raises:
            ArgumentError: the state is not of this program.
        """
        rows = len(state[0]) if isinstance(state, tuple) and state and np.ndim(state[0]) else 1
        self._check_state("state", state, rows)
        return pack(state, self.fingerprint, rows)

    def unpack_state(self, data: bytes) -> State:
        """The state that `pack_state` packed.

        Raises:
            FileFormatError: the bytes are damaged, of a later version, or of another program.
        """
        return unpack(data, self._state_shapes, self.fingerprint, self.name)

    def _read(self, given: Any, over_time: bool = False) -> list[npt.NDArray[Any]]:
        """The inputs as arrays of the right dtype and shape, of as many rows each."""
        if self._one_input and not isinstance(given, Mapping):
            return [self._read_one(self.inputs[0], given, over_time)]
        arrays = [
            self._read_one(port, array, over_time)
            for port, array in zip(self.inputs, self._in_order(given), strict=True)
        ]
        rows = {len(array) for array in arrays}
        if len(rows) != 1:
            raise bad_argument("x", sorted(rows), "inputs of as many rows each")
        return arrays

    def _in_order(self, given: Any) -> list[Any]:
        names = [port.name for port in self.inputs]
        if isinstance(given, Mapping):
            if set(given) != set(names):
                raise bad_argument("x", sorted(map(str, given)), f"a dict of {names}")
            return [given[name] for name in names]
        if not isinstance(given, (list, tuple)) or len(given) != len(names):
            raise bad_argument("x", type(given).__name__, f"a list or a dict of {names}")
        return list(given)

    def _read_one(self, port: Port, given: Any, over_time: bool) -> npt.NDArray[Any]:
        name, shape, dtype, _, each_step, below = port
        x = given
        if type(x) is not np.ndarray or x.dtype is not dtype:
            x = converted(port, given)
        lead = 2 if over_time and each_step else 1
        found = x.shape
        if found[lead:] != shape or len(found) < lead or not found[0]:
            words = ("batch", "timesteps")[:lead]
            expected = f"of shape ({', '.join(map(str, (*words, *shape)))})"
            raise bad_argument(name, f"shape {found}", expected)
        # A sum that is NaN is found in one pass over the numbers, and only then the place.
        if self._raise_nan and isnan(_sum(x)) and np.isnan(x).any():
            places = np.argwhere(np.isnan(x))
            raise DataError(
                f"{name} holds {len(places)} NaN, the first at {tuple(places[0].tolist())}. "
                "The state is as it was. Fill the gap, leave the step out, or load the program "
                'with nan="propagate".'
            )
        if below is not None and x.size and not 0 <= x.min() <= x.max() < below:
            wrong = int(x[(x < 0) | (x >= below)].flat[0])
            raise DataError(f"{name} must hold ids of 0 to {below - 1}. Got: {wrong}.")
        return x

    def _check_state(self, name: str, state: State, rows: int) -> None:
        wanted = self._wanted
        if wanted[0] != rows:  # one session, or one batch of them, steps many times
            shapes = [((rows, *shape), dtype) for shape, dtype in self._state_shapes]
            wanted = self._wanted = rows, shapes
        try:
            if type(state) is tuple and [(one.shape, one.dtype) for one in state] == wanted[1]:
                return
        except AttributeError:  # no arrays
            pass
        self._refuse_state(name, state, rows)

    def _refuse_state(self, name: str, state: Any, rows: int) -> None:
        wanted = [
            f"{one.name} {(rows, *one.shape)} {dtype}"
            for one, (_, dtype) in zip(self.states, self._state_shapes, strict=True)
        ]
        parts = state if isinstance(state, (tuple, list)) else [state]
        got = [f"{np.shape(part)} {getattr(part, 'dtype', type(part).__name__)}" for part in parts]
        fix = f"Take it from initial_state({rows}), step, scan or unpack_state of this program."
        raise bad_argument(name, f"a {type(state).__name__} of {got}", f"a tuple of {wanted}", fix)

    def _shown(self, outputs: list[npt.NDArray[Any]]) -> Outputs:
        if self._one_output:
            return outputs[0]
        if self._structure == "dict":
            return {port.name: one for port, one in zip(self.outputs, outputs, strict=True)}
        return tuple(outputs)


def _sum(x: npt.NDArray[Any]) -> float:
    """NaN where x holds one: a sum of few numbers in Python, of more squares in NumPy."""
    return sum(map(sum, x.tolist())) if x.ndim == 2 and x.size <= 16 else vdot(x, x)


def _window(given: Any) -> int | None:
    return None if given is None else check_integer("window", given)

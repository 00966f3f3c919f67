"""A trained model as a function of one timestep: (input, state) to (output, state)."""

import math
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy import vdot

from seqkeras._checks import bad_argument, check_integer, check_one_of
from seqkeras._damage import DAMAGE
from seqkeras.errors import DataError, FileFormatError
from seqkeras.runtime._archive import read_archive
from seqkeras.runtime._cells import State
from seqkeras.runtime._graph import Graph, StateArray

KIND, VERSION = "seqkeras.Program", 1

#: What a program reads: an array, or one for each of several inputs, in order or by name.
Inputs: TypeAlias = npt.ArrayLike | Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]

#: What it gives: an array, or as the model does a tuple or a dict of several.
Outputs: TypeAlias = Any

#: Packed state: mark, version, fingerprint, rows, checksum of what follows.
_PACKED = struct.Struct("<4sI16sII")
_MARK = b"SKST"


class Port(NamedTuple):
    """An input or an output of a program.

    Attributes:
        name: as in the model.
        shape: of one row at one timestep.
        dtype: that it is converted to.
        features: names of its features, if they were given when the program was saved.
        each_step: False for what does not change over time, such as a static covariate.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    features: tuple[str, ...] | None = None
    each_step: bool = True


class Program:
    """A model without its framework. `load` makes one; `export.save_program` writes the file.

    It never changes: a step takes a state and gives another, so one program serves any number of
    sessions and threads. A state is a tuple of arrays `(batch, ...)`, the rows of which can be
    taken, joined and stored freely; `states` names them.

    Attributes:
        name: of the model.
        inputs: what a step reads.
        outputs: what a step gives.
        states: name and shape of each array of the state.
        window: timesteps of the window that each answer reads, or None where the state carries
            everything since the beginning.
        fingerprint: checksum of the file that it was loaded from.
    """

    def __init__(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
        fingerprint: str,
        nan: Literal["raise", "propagate"] = "raise",
    ) -> None:
        self.name = str(header["name"])
        self.fingerprint = fingerprint
        self._dtype = np.dtype(check_one_of("dtype", header["dtype"], ("float32", "float64")))
        self._raise_nan = check_one_of("nan", nan, ("raise", "propagate")) == "raise"
        self.window = _window(header["window"])
        self.inputs = tuple(_port(port) for port in header["inputs"])
        self._one_input = len(self.inputs) == 1
        self._graph = Graph(
            {**header["graph"], "inputs": [self._value(port) for port in self.inputs]},
            arrays,
            self._dtype,
            whole=self.window is not None,
        )
        self.outputs = tuple(
            _port({**port, "shape": shape})
            for port, shape in zip(header["outputs"], self._graph.output_shapes, strict=True)
        )
        self._structures = header["inputs_as"], header["outputs_as"]
        self.states = (*self._graph.states, *self._window_states())
        self._state_shapes = [(one.shape, self._state_dtype(one)) for one in self.states]
        self._wanted: tuple[int, list[Any]] = (0, [])

    def __repr__(self) -> str:
        def ports(given: tuple[Port, ...]) -> str:
            return ", ".join(f"{port.name} {('batch', *port.shape)}" for port in given)

        numbers = sum(math.prod(one.shape) for one in self.states)
        text = f"{self.name}: {ports(self.inputs)} -> {ports(self.outputs)}; state of {numbers}"
        window = f", window of {self.window}" if self.window else ""
        return f"Program({text.replace(chr(39), '')} numbers a row{window})"

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
        arrays = self._read(x)
        rows = len(arrays[0])
        self._check_state("state", state, rows)
        if out is not None:
            self._check_state("out", out, rows)
        outputs, new = self._advance(arrays, state, out)
        return self._shown(outputs), new

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
        moving = [port.each_step for port in self.inputs]
        lengths = {array.shape[1] for array, moves in zip(arrays, moving, strict=True) if moves}
        if len(lengths) != 1:
            raise bad_argument("xs", sorted(lengths), "arrays of as many timesteps each")
        timesteps = lengths.pop()
        shown = [np.empty((rows, timesteps, *port.shape), self._dtype) for port in self.outputs]
        for t in range(timesteps):
            now = [
                array[:, t] if moves else array for array, moves in zip(arrays, moving, strict=True)
            ]
            outputs, state = self._advance(now, state, None)
            for place, output in zip(shown, outputs, strict=True):
                place[:, t] = output
        return self._shown(shown), state

    def state_bytes(self, batch_size: int = 1) -> int:
        """The length of a packed state, known beforehand."""
        rows = check_integer("batch_size", batch_size)
        return _PACKED.size + rows * sum(
            math.prod(shape) * dtype.itemsize for shape, dtype in self._state_shapes
        )

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
        data = b"".join(_little(array).tobytes() for array in state)
        mark = bytes.fromhex(self.fingerprint)[:16]
        return _PACKED.pack(_MARK, VERSION, mark, rows, zlib.crc32(data)) + data

    def unpack_state(self, data: bytes) -> State:
        """The state that `pack_state` packed.

        Raises:
            FileFormatError: the bytes are damaged, of a later version, or of another program.
        """
        if len(data) < _PACKED.size or bytes(data[:4]) != _MARK:
            raise FileFormatError("These bytes are no packed state, or only a part of one.")
        _, version, mark, rows, checksum = _PACKED.unpack_from(data)
        if version > VERSION:
            raise FileFormatError(
                f"The state was packed by a later version of seqkeras (format {version}, this one "
                f"reads up to {VERSION}). Update seqkeras: pip install -U seqkeras."
            )
        if mark != bytes.fromhex(self.fingerprint)[:16]:
            raise FileFormatError(
                f"The state belongs to another program: its mark is {mark.hex()}, that of "
                f"{self.name!r} is {self.fingerprint[:32]}. A program that was exported again has "
                "another mark; begin its sessions anew, or keep the old file beside it."
            )
        if not rows or len(data) != self.state_bytes(rows):
            raise FileFormatError(
                f"The packed state is damaged: {rows} rows need "
                f"{self.state_bytes(rows) if rows else 0} bytes, {len(data)} are there."
            )
        if zlib.crc32(memoryview(data)[_PACKED.size :]) != checksum:
            raise FileFormatError("The packed state is damaged: its checksum does not fit.")
        arrays, at = [], _PACKED.size
        for shape, dtype in self._state_shapes:
            count = rows * math.prod(shape)
            raw = np.frombuffer(data, dtype.newbyteorder("<"), count, at)
            arrays.append(raw.reshape(rows, *shape).astype(dtype))
            at += raw.nbytes
        return tuple(arrays)

    def _advance(
        self, arrays: list[npt.NDArray[Any]], state: State, out: State | None
    ) -> tuple[list[npt.NDArray[Any]], State]:
        if self.window is None:
            return self._graph.run(arrays, state, out)
        *rows, count = state
        new = [
            np.concatenate([row[:, 1:], array[:, np.newaxis]], axis=1)
            for row, array in zip(rows, self._moving(arrays), strict=True)
        ]
        windows = iter(new)
        whole = [
            next(windows) if port.each_step else array
            for port, array in zip(self.inputs, arrays, strict=True)
        ]
        outputs, _ = self._graph.run(whole, ())
        new.append(np.minimum(count + 1, self.window))
        for output in outputs:
            output[new[-1] < self.window] = np.nan
        if out is not None:
            for place, array in zip(out, new, strict=True):
                place[...] = array
            return outputs, out
        return outputs, tuple(new)

    def _moving(self, arrays: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        return [array for port, array in zip(self.inputs, arrays, strict=True) if port.each_step]

    def _window_states(self) -> list[StateArray]:
        if self.window is None:
            return []
        rows = [
            StateArray(f"{port.name}/window", (self.window, *port.shape))
            for port in self.inputs
            if port.each_step
        ]
        return [*rows, StateArray("count", ())]

    def _state_dtype(self, one: StateArray) -> np.dtype[Any]:
        if self.window is None:
            return self._dtype
        kinds = {f"{port.name}/window": port.dtype for port in self.inputs}
        return kinds.get(one.name, np.dtype(np.int64))

    def _value(self, port: Port) -> dict[str, Any]:
        """What of an input the graph sees."""
        over_time = self.window is not None and port.each_step
        return {"name": port.name, "shape": (self.window, *port.shape) if over_time else port.shape}

    def _read(self, given: Any, over_time: bool = False) -> list[npt.NDArray[Any]]:
        """The inputs as arrays of the right dtype and shape, of as many rows each."""
        if self._one_input and type(given) is not dict:
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
        name, shape, dtype, _, each_step = port
        x = given
        if type(x) is not np.ndarray or x.dtype is not dtype:
            x = _converted(port, given)
        lead = 2 if over_time and each_step else 1
        found = x.shape
        if found[lead:] != shape or len(found) < lead or not found[0]:
            words = ("batch", "timesteps")[:lead]
            expected = f"of shape ({', '.join(map(str, (*words, *shape)))})"
            raise bad_argument(name, f"shape {found}", expected)
        # A sum that is NaN is found in one pass over the numbers, and only then the place.
        if self._raise_nan and isnan(vdot(x, x)) and np.isnan(x).any():
            places = np.argwhere(np.isnan(x))
            raise DataError(
                f"{name} holds {len(places)} NaN, the first at {tuple(places[0].tolist())}. "
                "The state is as it was. Fill the gap, leave the step out, or load the program "
                'with nan="propagate".'
            )
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
        structure = self._structures[1]
        if structure == "single":
            return outputs[0]
        if structure == "dict":
            return {port.name: one for port, one in zip(self.outputs, outputs, strict=True)}
        return tuple(outputs)


def load(
    path: str | os.PathLike[str],
    *,
    nan: Literal["raise", "propagate"] = "raise",
    mapped: bool = False,
) -> Program:
    """Reads a program file. It holds no code: numbers, and the names of layers.

    Args:
        path: of a file that `export.save_program` wrote.
        nan: what a step does with NaN in its input: `"raise"`, and the state is as it was, or
            `"propagate"` into output and state, as Keras does.
        mapped: leave large tables in the file, to be paged in when they are used.

    Raises:
        FileFormatError: the file is damaged, foreign, or of a later version.

    Example:
        >>> import numpy as np
        >>> from seqkeras import many_to_one
        >>> from seqkeras.export import save_program
        >>> save_program(many_to_one(3, units=8), "sensor.program")
        >>> program = load("sensor.program")
        >>> program
        Program(many_to_one: inputs (batch, 3) -> head (batch, 1); state of 16 numbers a row)
        >>> y, state = program.step(np.zeros((2, 3)), program.initial_state(2))
        >>> y.shape, [array.shape for array in state]
        ((2, 1), [(2, 8), (2, 8)])
    """
    check_one_of("nan", nan, ("raise", "propagate"))
    header, arrays, checksum = read_archive(path, kind=KIND, version=VERSION, mapped=mapped)
    try:
        return Program(header, arrays, checksum, nan)
    except DAMAGE as error:
        raise FileFormatError(f"{path} holds no program that makes sense: {error}") from error


def _port(spec: Mapping[str, Any]) -> Port:
    names = spec.get("features")
    return Port(
        str(spec["name"]),
        tuple(spec["shape"]),
        np.dtype(check_one_of("dtype", spec["dtype"], ("float32", "float64", "int32", "bool"))),
        None if names is None else tuple(map(str, names)),
        bool(spec.get("each_step", True)),
    )


def _window(given: Any) -> int | None:
    return None if given is None else check_integer("window", given)


def _converted(port: Port, given: Any) -> npt.NDArray[Any]:
    """`given` in the dtype of the program, or an error where numbers would be others after it."""
    try:
        x = np.asarray(given)
    except ValueError as error:
        raise bad_argument(port.name, given, f"an array of {port.dtype}") from error
    kinds = {"f": "fiub", "i": "iufb", "b": "b"}[port.dtype.kind]
    if x.dtype.kind not in kinds:
        raise bad_argument(port.name, f"an array of {x.dtype}", f"numbers, as {port.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        y = x.astype(port.dtype)
    if port.dtype.kind == "i":
        lost = y != x
    else:
        lost = np.isinf(y) & ~np.isinf(x) if y.dtype.kind == "f" else np.zeros(1, bool)
    if lost.any():
        worst = x[lost].flat[0]
        raise bad_argument(port.name, worst, f"numbers that {port.dtype} can hold")
    return y


def _little(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)

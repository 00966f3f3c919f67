"""Programs: trained models as functions of one timestep, run by NumPy."""

import os
from collections.abc import Mapping
from itertools import compress
from typing import Any, Literal

import numpy as np

from seqkeras._archive import MappedFile, read_archive
from seqkeras._arrays import Array
from seqkeras._checks import check_one_of
from seqkeras._files import DAMAGE, shortened
from seqkeras.errors import FileFormatError
from seqkeras.runtime._base import Arrays, StepFunction
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._graph import Graph, StateArray
from seqkeras.runtime._native import LayerChoice, check_native
from seqkeras.runtime._ports import Port, make_port
from seqkeras.runtime._row_step import RowStep

KIND = "seqkeras.Program"
VERSION = 1


class Program(StepFunction):
    """A trained model that runs without Keras, read by `load` from a file of `save_program`.

    A program never changes: a step takes a state and returns a new one, so one program serves any
    number of sessions and threads. A state is a tuple of arrays `(batch, ...)`, named in `states`;
    their rows can be selected, joined and stored freely.

    Attributes:
        name: name of the model.
        inputs: the inputs of a step.
        outputs: the outputs of a step.
        states: name and shape of each array of the state.
        window: number of timesteps that each output depends on. None: the state carries everything
            since the first timestep.
        fingerprint: checksum of the file.
        shapes: shape of every value between layers, by name, without the batch axis.
    """

    def __init__(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, Array],
        fingerprint: str,
        nan: Literal["raise", "propagate"] = "raise",
        use_native: bool = False,
        file: MappedFile | None = None,
    ) -> None:
        super().__init__(header, fingerprint, nan)
        self._parts = (header, arrays, fingerprint, nan, use_native)
        self._file = file
        self._dtype = np.dtype(check_one_of("dtype", header["dtype"], ("float32", "float64")))
        self._graph = Graph(
            {**header["graph"], "inputs": [self._value(port) for port in self.inputs]},
            arrays,
            self._dtype,
            whole=self.window is not None,
            use_native=use_native,
        )
        outputs = [
            make_port({**port, "shape": shape})
            for port, shape in zip(header["outputs"], self._graph.output_shapes, strict=True)
        ]
        states = [*self._graph.states, *self._window_states()]
        self.shapes = self._graph.shapes
        self._define(outputs, states, [self._state_dtype(array) for array in states])

    def __reduce__(self) -> tuple[Any, ...]:
        # Leave out the mapped file, because the arrays themselves are pickled.
        return Program, self._parts

    @property
    def choices(self) -> tuple[LayerChoice, ...]:
        """Return the implementation of each recurrent layer, and why it is not native."""
        return tuple(self._graph.choices)

    def row_step(self) -> RowStep | None:
        """Return the fast step of one row in place, or None if the program cannot have it.

        It needs a chain of native layers and `Dense` layers that reads one float32 input.
        """
        (port, *others) = self.inputs
        plain = not others and port.dtype == self._dtype and self._file is None
        return self._graph.row_step() if plain and self.window is None else None

    def _advance(self, arrays: Arrays, state: State, out: State | None) -> tuple[Arrays, State]:
        if self._file is not None:
            self._file.check()
        if self.window is None:
            return self._graph.run(arrays, state, out)
        *rows, count = state
        windows = [
            np.concatenate([window[:, 1:], array[:, np.newaxis]], axis=1)
            for window, array in zip(rows, compress(arrays, self._moving), strict=True)
        ]
        remaining = iter(windows)
        inputs = [
            next(remaining) if port.each_step else array
            for port, array in zip(self.inputs, arrays, strict=True)
        ]
        outputs, _ = self._graph.run(inputs, ())
        count = np.minimum(count + 1, self.window)
        for output in outputs:
            output[count < self.window] = np.nan
        new = (*windows, count)
        if out is None:
            return outputs, new
        for target, array in zip(out, new, strict=True):
            target[...] = array
        return outputs, out

    def _window_states(self) -> list[StateArray]:
        if self.window is None:
            return []
        rows = [
            StateArray(f"{port.name}/window", (self.window, *port.shape))
            for port in self.inputs
            if port.each_step
        ]
        return [*rows, StateArray("count", ())]

    def _state_dtype(self, array: StateArray) -> np.dtype[Any]:
        if self.window is None:
            return self._dtype
        dtypes = {f"{port.name}/window": port.dtype for port in self.inputs}
        return dtypes.get(array.name, np.dtype(np.int64))

    def _value(self, port: Port) -> dict[str, Any]:
        """Describe an input for the graph, with a time axis if it reads a window."""
        over_time = self.window is not None and port.each_step
        shape = (self.window, *port.shape) if over_time else port.shape
        return {"name": port.name, "shape": shape, "dtype": port.dtype}


def load(
    path: str | os.PathLike[str],
    *,
    nan: Literal["raise", "propagate"] = "raise",
    mapped: bool = False,
    implementation: Literal["auto", "numpy", "native"] = "auto",
) -> Program:
    """Read a program file. It contains numbers and names of layers, but no code.

    Args:
        path: path of a file that `export.save_program` wrote.
        nan: `"raise"`, the default: NaN in an input is an error, and the state stays as it was.
            `"propagate"`: NaN goes into output and state, as in Keras.
        mapped: whether to leave large tables in the file and load their pages on first use.
            Default: False. A step then raises `FileFormatError` if the file was changed in place;
            a file that is replaced by another, as `save_program` does, stays readable.
        implementation: what runs the recurrent layers. `"native"`: kernels that were compiled when
            seqkeras was installed. `"numpy"`: NumPy. `"auto"`, the default: native if it is
            available and supports the layer. `Program.choices` shows the choice and the reason. The
            outputs of both agree to 1e-6, and each can continue from states of the other.

    Raises:
        ArgumentError: `implementation` is `"native"`, and a layer cannot run on it.
        FileFormatError: the file is damaged, of another kind, or of a later version.

    Example:
        >>> import numpy as np
        >>> from seqkeras import many_to_one
        >>> from seqkeras.export import save_program
        >>> save_program(many_to_one(3, units=8), "sensor.program")
        >>> program = load("sensor.program")
        >>> program
        Program(many_to_one: sequence (batch, 3) -> head (batch, 1); state of 16 numbers a row)
        >>> y, state = program.step(np.zeros((2, 3)), program.initial_state(2))
        >>> y.shape, [array.shape for array in state]
        ((2, 1), [(2, 8), (2, 8)])
    """
    check_one_of("nan", nan, ("raise", "propagate"))
    check_one_of("implementation", implementation, ("auto", "numpy", "native"))
    archive = read_archive(path, kind=KIND, version=VERSION, mapped=mapped)
    use_native = implementation != "numpy"
    try:
        program = Program(
            archive.header,
            archive.arrays,
            archive.checksum,
            nan,
            use_native=use_native,
            file=archive.file,
        )
    except DAMAGE as error:
        reason = shortened(error)
        raise FileFormatError(f"{path} is not a valid program: {reason}") from error
    check_native(implementation, program.choices)
    return program

"""A trained model as a function of one timestep, run by NumPy."""

import os
from collections.abc import Mapping
from itertools import compress
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqkeras._archive import read_archive
from seqkeras._checks import bad_argument, check_one_of
from seqkeras._files import DAMAGE
from seqkeras.errors import FileFormatError
from seqkeras.runtime._base import Arrays, Stepper
from seqkeras.runtime._cell_steps import State
from seqkeras.runtime._graph import Graph, StateArray
from seqkeras.runtime._native import Choice
from seqkeras.runtime._ports import Port, make_port

KIND, VERSION = "seqkeras.Program", 1


class Program(Stepper):
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
        shapes: of every value between its layers, by name, without the batch axis.
    """

    def __init__(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
        fingerprint: str,
        nan: Literal["raise", "propagate"] = "raise",
        compiled: bool = False,
    ) -> None:
        super().__init__(header, fingerprint, nan)
        self._dtype = np.dtype(check_one_of("dtype", header["dtype"], ("float32", "float64")))
        self._graph = Graph(
            {**header["graph"], "inputs": [self._value(port) for port in self.inputs]},
            arrays,
            self._dtype,
            whole=self.window is not None,
            compiled=compiled,
        )
        outputs = [
            make_port({**port, "shape": shape})
            for port, shape in zip(header["outputs"], self._graph.output_shapes, strict=True)
        ]
        states = [*self._graph.states, *self._window_states()]
        self.shapes = self._graph.shapes
        self._define(outputs, states, [self._state_dtype(one) for one in states])

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What runs each recurrent layer, and why not the compiled kernels."""
        return tuple(self._graph.choices)

    def _advance(self, arrays: Arrays, state: State, out: State | None) -> tuple[Arrays, State]:
        if self.window is None:
            return self._graph.run(arrays, state, out)
        *rows, count = state
        new = [
            np.concatenate([row[:, 1:], array[:, np.newaxis]], axis=1)
            for row, array in zip(rows, compress(arrays, self._moving), strict=True)
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
        shape = (self.window, *port.shape) if over_time else port.shape
        return {"name": port.name, "shape": shape, "dtype": port.dtype}


def load(
    path: str | os.PathLike[str],
    *,
    nan: Literal["raise", "propagate"] = "raise",
    mapped: bool = False,
    implementation: Literal["auto", "numpy", "native"] = "auto",
) -> Program:
    """Reads a program file. It holds no code: numbers, and the names of layers.

    Args:
        path: of a file that `export.save_program` wrote.
        nan: what a step does with NaN in its input: `"raise"`, and the state is as it was, or
            `"propagate"` into output and state, as Keras does.
        mapped: leave large tables in the file, to be paged in when they are used.
        implementation: what runs the recurrent layers: `"native"`, kernels that were compiled when
            seqkeras was installed; `"numpy"`; or `"auto"`, the first where it is there and knows
            the layer. `Program.choices` says which runs, and why. Their numbers are equal to 1e-6,
            and states of the one go on in the other.

    Raises:
        ArgumentError: `implementation` is `"native"`, and a layer cannot be run so.
        FileFormatError: the file is damaged, foreign, or of a later version.

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
    compiled = implementation != "numpy"
    try:
        program = Program(archive.header, archive.arrays, archive.checksum, nan, compiled=compiled)
    except DAMAGE as error:
        raise FileFormatError(f"{path} holds no program that makes sense: {error}") from error
    for choice in program.choices if implementation == "native" else ():
        if choice.reason:
            expected = f"'auto' or 'numpy' for layer {choice.layer!r}, for {choice.reason}"
            raise bad_argument("implementation", implementation, expected)
    return program

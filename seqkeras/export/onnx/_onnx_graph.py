"""Turn a program into an ONNX graph of one timestep, or of a whole sequence."""

from collections.abc import Mapping
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras.export.onnx._nodes import FAR
from seqkeras.export.onnx._program_nodes import Nodes, Written
from seqkeras.export.onnx._writer import Slot, Writer, ints
from seqkeras.runtime import Port, Program


def write_graph(
    program: Program,
    header: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    sequence: bool,
) -> Writer:
    """Write the graph of a program.

    Args:
        program: the program, made from header and arrays, with all shapes and dtypes.
        header: header of the program.
        arrays: weights of the program.
        sequence: True for inputs and outputs with a time axis, False for single timesteps.

    Returns:
        The graph. It reads the inputs, then the state, and returns the outputs, then the new state,
        whose names end in `/new`.
    """
    g = Writer(np.dtype(header["dtype"]), 2 if sequence and program.window is None else 1)
    input_names = [port.name for port in program.inputs]
    input_names += [state.name for state in program.states]
    output_names = [_output_name(port.name, input_names) for port in program.outputs]
    new_names = [f"{state.name}/new" for state in program.states]
    for name in (*input_names, *output_names, *new_names):
        g.reserve(name)
    inputs = [g.read(_slot(port, sequence and port.each_step)) for port in program.inputs]
    zeros = program.initial_state(1)
    states = [
        g.read(Slot(state.name, zero.dtype, ("batch", *state.shape)))
        for state, zero in zip(program.states, zeros, strict=True)
    ]
    layers = _Layers(g, program, header, arrays)
    write = layers.windows if program.window is not None else layers.plain
    outputs, new_states = write(inputs, states, sequence)
    g.layer = ""
    for port, name, value in zip(program.outputs, output_names, outputs, strict=True):
        g.show(g.cast(value, port.dtype), name, _slot(port, sequence).shape)
    for state, name, value in zip(program.states, new_names, new_states, strict=True):
        g.show(value, name, ("batch", *state.shape))
    return g


def _slot(port: Port, over_time: bool) -> Slot:
    lead = ("batch", "timesteps") if over_time else ("batch",)
    return Slot(port.name, port.dtype, (*lead, *port.shape))


def _output_name(name: str, input_names: list[str]) -> str:
    """Return the name of an output, which in ONNX must differ from those of the inputs."""
    return f"{name}/output" if name in input_names else name


class _Layers:
    """The layers of a program, written into a graph."""

    def __init__(
        self,
        g: Writer,
        program: Program,
        header: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        self.g = g
        self.program = program
        whole = program.window is not None
        self._nodes = Nodes(g, header["graph"], arrays, program.shapes, whole)
        self.moving = [port.each_step for port in program.inputs]

    def plain(self, inputs: list[str], states: list[str], sequence: bool) -> Written:
        """Write a model that carries a state; for sequences, inputs without time are repeated."""
        if sequence:
            inputs = self._repeated(inputs)
        return self._run(inputs, iter(states))

    def windows(self, inputs: list[str], states: list[str], sequence: bool) -> Written:
        """Write a model of whole windows; its state is the newest rows, and the number read."""
        *rows, count = states
        write = self._all_windows if sequence else self._next_window
        inputs, new_rows, counts, total = write(inputs, rows, count)
        windows_out, _ = self._run(inputs, iter(()))
        size = self.program.window
        outputs = []
        for port, output in zip(self.program.outputs, windows_out, strict=True):
            ones = (1,) * len(port.shape)
            if sequence:
                times = self._shape(counts)
                output = self.g.op("Reshape", output, self._joined(times, ints(*port.shape)))
                early = self.g.op("Reshape", counts, self._joined(times, ints(*ones)))
            else:
                early = self.g.op("Reshape", counts, ints(-1, *ones))
            early = self.g.op("Less", early, size)
            output = self.g.cast(output, port.dtype)
            outputs.append(self.g.op("Where", early, np.nan, output))
        return outputs, [*new_rows, self.g.op("Min", total, size)]

    def _next_window(
        self, inputs: list[str], rows: list[str], count: str
    ) -> tuple[list[str], list[str], str, str]:
        """Write the windows of one timestep.

        Returns:
            The inputs with windows in them, the new rows, and the number of rows read so far, which
            is returned twice: at this timestep and in total, as by `_all_windows`.
        """
        g = self.g
        windows = []
        for row, x in zip(rows, compress(inputs, self.moving), strict=True):
            newest = g.op("Slice", row, ints(1), ints(FAR), ints(1))
            windows.append(g.op("Concat", newest, g.op("Unsqueeze", x, ints(1)), axis=1))
        total = g.op("Add", count, 1)
        return self._mixed(inputs, windows), windows, total, total

    def _all_windows(
        self, inputs: list[str], rows: list[str], count: str
    ) -> tuple[list[str], list[str], str, str]:
        """Write the windows of all timesteps, as rows of one batch.

        Returns:
            The inputs with windows in them, the new rows, and the number of rows read so far: at
            each timestep and in total.
        """
        g = self.g
        size = self.program.window or 0
        length = self._timesteps(inputs)
        times = g.op("Range", np.array(0), g.op("Squeeze", length, ints(0)), np.array(1))
        indices = g.op("Add", g.op("Unsqueeze", times, ints(1)), np.arange(size))
        windows = []
        new_rows = []
        for row, x in zip(rows, compress(inputs, self.moving), strict=True):
            newest = g.op("Slice", row, ints(1), ints(FAR), ints(1))
            both = g.op("Concat", newest, x, axis=1)
            windows.append(self._merged(g.op("Gather", both, indices, axis=1)))
            new_rows.append(g.op("Slice", both, ints(-size), ints(FAR), ints(1)))
        static = [self._merged(x) for x in self._repeated(inputs)]
        counts = g.op("Add", g.op("Unsqueeze", count, ints(1)), g.op("Add", times, 1))
        return self._mixed(static, windows), new_rows, counts, g.op("Add", count, length)

    def _mixed(self, inputs: list[str], windows: list[str]) -> list[str]:
        """Return the inputs, with windows in place of the inputs that change over time."""
        rest = iter(windows)
        return [next(rest) if moves else x for x, moves in zip(inputs, self.moving, strict=True)]

    def _repeated(self, inputs: list[str]) -> list[str]:
        """Return the inputs, repeating along a time axis those that do not change over time."""
        g = self.g
        repeated = []
        for port, x in zip(self.program.inputs, inputs, strict=True):
            if not port.each_step:
                ones = ints(*[1] * len(port.shape))
                shape = self._joined(ints(1), self._timesteps(inputs), ones)
                x = g.op("Expand", g.op("Unsqueeze", x, ints(1)), shape)
            repeated.append(x)
        return repeated

    def _merged(self, x: str) -> str:
        """Reshape (batch, timesteps, ...) to (batch * timesteps, ...)."""
        rest = self.g.op("Slice", self._shape(x), ints(2), ints(FAR))
        return self.g.op("Reshape", x, self._joined(ints(-1), rest))

    def _timesteps(self, inputs: list[str]) -> str:
        shape = self._shape(next(compress(inputs, self.moving)))
        return self.g.op("Slice", shape, ints(1), ints(2))

    def _shape(self, value: str) -> str:
        return self.g.op("Shape", value)

    def _joined(self, *shapes: Any) -> str:
        return self.g.op("Concat", *shapes, axis=0)

    def _run(self, inputs: list[str], states: Any) -> Written:
        names = [port.name for port in self.program.inputs]
        values = dict(zip(names, inputs, strict=True))
        return self._nodes.write(values, states)

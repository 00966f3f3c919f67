"""From a program to an ONNX graph: of one timestep, or of a whole sequence."""

from collections.abc import Mapping
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras.export.onnx._nodes import FAR, NODES, Op
from seqkeras.export.onnx._recurrent_nodes import STATES, one_step, over_time, whole
from seqkeras.export.onnx._writer import Slot, Writer, ints
from seqkeras.runtime import Port, Program

#: Outputs and new states.
Written = tuple[list[str], list[str]]


def write_graph(
    program: Program,
    header: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    sequence: bool,
) -> Writer:
    """Writes the graph of a program.

    Args:
        program: made of header and arrays; it knows shapes and dtypes.
        header: of the program.
        arrays: its weights.
        sequence: inputs and outputs have a time axis; else they are of one timestep.

    Returns:
        What was written. It reads the inputs, then the state, and gives the outputs, then the new
        state, whose names end in `/new`.
    """
    g = Writer(np.dtype(header["dtype"]), 2 if sequence and program.window is None else 1)
    taken = [port.name for port in program.inputs] + [one.name for one in program.states]
    shown = [_shown(port.name, taken) for port in program.outputs]
    new = [f"{one.name}/new" for one in program.states]
    for name in (*taken, *shown, *new):
        g.reserve(name)
    inputs = [g.read(_slot(port, sequence and port.each_step)) for port in program.inputs]
    zeros = program.initial_state(1)
    states = [
        g.read(Slot(one.name, zero.dtype, ("batch", *one.shape)))
        for one, zero in zip(program.states, zeros, strict=True)
    ]
    layers = _Layers(g, program, header, arrays)
    write = layers.plain if program.window is None else layers.windows
    outputs, after = write(inputs, states, sequence)
    g.layer = ""
    for port, name, value in zip(program.outputs, shown, outputs, strict=True):
        g.show(g.cast(value, port.dtype), name, _slot(port, sequence).shape)
    for one, name, value in zip(program.states, new, after, strict=True):
        g.show(value, name, ("batch", *one.shape))
    return g


def _slot(port: Port, over_time: bool) -> Slot:
    lead = ("batch", "timesteps") if over_time else ("batch",)
    return Slot(port.name, port.dtype, (*lead, *port.shape))


def _shown(name: str, taken: list[str]) -> str:
    """The name of an output; in ONNX it must not be that of an input."""
    return f"{name}/output" if name in taken else name


class _Layers:
    """The layers of a program, written into a graph."""

    def __init__(
        self,
        g: Writer,
        program: Program,
        header: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        self.g, self.program = g, program
        self.spec, self.arrays = header["graph"], arrays
        self.moving = [port.each_step for port in program.inputs]

    def plain(self, inputs: list[str], states: list[str], sequence: bool) -> Written:
        """A model that carries a state; over time, inputs that do not change are repeated."""
        if sequence:
            inputs = self._repeated(inputs)
        return self._run(inputs, iter(states))

    def windows(self, inputs: list[str], states: list[str], sequence: bool) -> Written:
        """A model of whole windows: the state are the newest rows, and how many were read."""
        *rows, count = states
        write = self._all_windows if sequence else self._next_window
        inputs, new, counts, total = write(inputs, rows, count)
        outputs, _ = self._run(inputs, iter(()))
        size = self.program.window
        shown = []
        for port, output in zip(self.program.outputs, outputs, strict=True):
            axes = (1,) * len(port.shape)
            if sequence:
                times = self._shape(counts)
                output = self.g.op("Reshape", output, self._joined(times, ints(*port.shape)))
                early = self.g.op("Reshape", counts, self._joined(times, ints(*axes)))
            else:
                early = self.g.op("Reshape", counts, ints(-1, *axes))
            early = self.g.op("Less", early, size)
            shown.append(self.g.op("Where", early, np.nan, self.g.cast(output, port.dtype)))
        return shown, [*new, self.g.op("Min", total, size)]

    def _next_window(
        self, inputs: list[str], rows: list[str], count: str
    ) -> tuple[list[str], list[str], str, str]:
        """The windows of one timestep: inputs, new rows, and how many were read."""
        g, windows = self.g, []
        for row, x in zip(rows, compress(inputs, self.moving), strict=True):
            late = g.op("Slice", row, ints(1), ints(FAR), ints(1))
            windows.append(g.op("Concat", late, g.op("Unsqueeze", x, ints(1)), axis=1))
        total = g.op("Add", count, 1)
        return self._mixed(inputs, windows), windows, total, total

    def _all_windows(
        self, inputs: list[str], rows: list[str], count: str
    ) -> tuple[list[str], list[str], str, str]:
        """The windows of all timesteps, as rows of a batch; of counts, one for each of them."""
        g, size = self.g, self.program.window or 0
        length = self._timesteps(inputs)
        times = g.op("Range", np.array(0), g.op("Squeeze", length, ints(0)), np.array(1))
        places = g.op("Add", g.op("Unsqueeze", times, ints(1)), np.arange(size))
        windows, new = [], []
        for row, x in zip(rows, compress(inputs, self.moving), strict=True):
            late = g.op("Slice", row, ints(1), ints(FAR), ints(1))
            both = g.op("Concat", late, x, axis=1)
            windows.append(self._merged(g.op("Gather", both, places, axis=1)))
            new.append(g.op("Slice", both, ints(-size), ints(FAR), ints(1)))
        still = [self._merged(x) for x in self._repeated(inputs)]
        counts = g.op("Add", g.op("Unsqueeze", count, ints(1)), g.op("Add", times, 1))
        return self._mixed(still, windows), new, counts, g.op("Add", count, length)

    def _mixed(self, inputs: list[str], windows: list[str]) -> list[str]:
        """The inputs, with windows in place of those that change over time."""
        rest = iter(windows)
        return [next(rest) if moves else x for x, moves in zip(inputs, self.moving, strict=True)]

    def _repeated(self, inputs: list[str]) -> list[str]:
        """The inputs, those that do not change over time with a time axis too."""
        g, repeated = self.g, []
        for port, x in zip(self.program.inputs, inputs, strict=True):
            if not port.each_step:
                axes = ints(*[1] * len(port.shape))
                shape = self._joined(ints(1), self._timesteps(inputs), axes)
                x = g.op("Expand", g.op("Unsqueeze", x, ints(1)), shape)
            repeated.append(x)
        return repeated

    def _merged(self, x: str) -> str:
        """(batch, timesteps, ...) as (batch * timesteps, ...)."""
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
        """All nodes, one after the other: outputs, and new states."""
        ports = [port.name for port in self.program.inputs]
        values, new = dict(zip(ports, inputs, strict=True)), []
        for node in self.spec["nodes"]:
            self.g.layer = node["name"]
            given = [values[name] for name in node["inputs"]]
            if node["op"] != "recurrent":
                values[node["output"]] = NODES[node["op"]](self.g, self._op(node), *given)
            elif self.program.window is not None:
                values[node["output"]] = whole(self.g, self._op(node), *_with_mask(given))
            else:
                write = one_step if self.g.lead == 1 else over_time
                before = [next(states) for _ in range(STATES[node["options"]["cell"]])]
                shown, *after = write(self.g, self._op(node), *_with_mask(given), before)
                values[node["output"]] = shown
                new += after
        return [values[name] for name in self.spec["outputs"]], new

    def _op(self, node: Mapping[str, Any]) -> Op:
        options, shapes = node["options"], self.program.shapes
        dtype = np.dtype(np.float64) if options.get("wide") else self.g.dtype
        weights = {role: self.arrays[name] for role, name in node["weights"].items()}
        weights = {
            role: array.astype(dtype, copy=False) if array.dtype.kind == "f" else array
            for role, array in weights.items()
        }
        before = [shapes[name] for name in node["inputs"]]
        return Op(options, weights, before, shapes[node["output"]])


def _with_mask(given: list[str]) -> tuple[str, str | None]:
    return given[0], given[1] if len(given) > 1 else None

"""Write the nodes of a program into an ONNX graph."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras.export._trace import export_error
from seqkeras.export.onnx._nodes import NODES, Op
from seqkeras.export.onnx._recurrent_nodes import STATES, one_step, over_time, whole
from seqkeras.export.onnx._writer import Writer

#: Names of the outputs and of the new states.
Written = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Nodes:
    """The nodes of a graph of a program, to be written into an ONNX graph.

    Attributes:
        g: the graph to write into.
        spec: the graph of the program, from its header.
        arrays: weights of the program.
        shapes: shape of every value of the program, without the batch axis.
        whole: whether recurrent layers read whole windows from a zero state.
    """

    g: Writer
    spec: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]
    shapes: Mapping[str, tuple[int, ...]]
    whole: bool

    def write(self, values: Mapping[str, str], states: Iterator[str]) -> Written:
        """Write all nodes.

        Args:
            values: the inputs, by their names in the program.
            states: the states of the recurrent layers.
        """
        values = dict(values)
        new_states: list[str] = []
        for node in self.spec["nodes"]:
            self.g.layer = node["name"]
            arguments = [values[name] for name in node["inputs"]]
            op = self._op(node)
            if node["op"] == "feedback":
                reason = "its outputs are also its inputs, which is not written as ONNX"
                raise export_error(node["name"], reason, "Use save_program.")
            if node["op"] != "recurrent":
                values[node["output"]] = NODES[node["op"]](self.g, op, *arguments)
            elif self.whole:
                output, *last = whole(self.g, op, *_with_mask(arguments))
                values[node["output"]] = output
                values.update(zip(node.get("states", ()), last, strict=False))
            else:
                write = one_step if self.g.lead == 1 else over_time
                before = [next(states) for _ in range(STATES[node["options"]["cell"]])]
                output, *after = write(self.g, op, *_with_mask(arguments), before)
                values[node["output"]] = output
                new_states += after
        return [values[name] for name in self.spec["outputs"]], new_states

    def _op(self, node: Mapping[str, Any]) -> Op:
        options = node["options"]
        dtype = np.dtype(np.float64) if options.get("wide") else self.g.dtype
        weights = {role: self.arrays[name] for role, name in node["weights"].items()}
        weights = {
            role: array.astype(dtype, copy=False) if array.dtype.kind == "f" else array
            for role, array in weights.items()
        }
        input_shapes = [self.shapes[name] for name in node["inputs"]]
        return Op(options, weights, input_shapes, self.shapes[node["output"]])


def _with_mask(arguments: list[str]) -> tuple[str, str | None]:
    return arguments[0], arguments[1] if len(arguments) > 1 else None

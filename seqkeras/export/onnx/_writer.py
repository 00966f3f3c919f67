"""Build an ONNX graph: nodes, arrays, and the dtype of every value.

Nothing here needs the package onnx; `_model_file` turns the graph into objects of onnx.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

#: An input of a node: the name of a value, a number or an array, or None to omit the input.
Operand: TypeAlias = str | float | npt.NDArray[Any] | None

BOOL = np.dtype(bool)
INT64 = np.dtype(np.int64)

#: Output dtypes of operators for which the dtypes of the inputs do not matter.
_OUTPUT_DTYPES = {
    **dict.fromkeys(
        ("And", "Equal", "Greater", "GreaterOrEqual", "IsNaN", "Less", "Not", "Or"), BOOL
    ),
    "Shape": INT64,
}


class Node(NamedTuple):
    """One operator of the standard domain."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    attributes: dict[str, Any]


class Slot(NamedTuple):
    """An input or output of a graph; an axis of any length is a name or None."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]


@dataclass
class Writer:
    """A graph while it is written.

    Attributes:
        dtype: dtype of the arithmetic.
        lead: number of leading axes: 1 for the batch, 2 for batch and time.
        inputs: inputs of the graph.
        outputs: outputs of the graph.
        nodes: its nodes, in the order in which they run.
        arrays: constant arrays, by name; shared with the graphs within this one.
        layer: name of the layer that is being written; names of nodes and values begin with it.
    """

    dtype: np.dtype[Any]
    lead: int
    inputs: list[Slot] = field(default_factory=list)
    outputs: list[Slot] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    layer: str = ""
    _dtypes: dict[str, np.dtype[Any]] = field(default_factory=dict)
    _known: dict[Any, str] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def op(self, op: str, *inputs: Operand, dtype: Any = None, **attributes: Any) -> str:
        """Write a node, and return the name of its output."""
        return self.ops(op, *inputs, count=1, dtype=dtype, **attributes)[0]

    def ops(
        self, op: str, *inputs: Operand, count: int, dtype: Any = None, **attributes: Any
    ) -> list[str]:
        """Write a node with several outputs, and return their names.

        Args:
            op: operator of the standard domain.
            inputs: inputs of the node. A Python number takes the dtype of the first value, or, for
                Where, of the first value to choose from.
            count: number of outputs.
            dtype: dtype of the outputs. Default: that of the same first value, unless the operator
                determines it.
            attributes: attributes of the operator.
        """
        like = self._like(inputs[1:] if op == "Where" else inputs)
        input_names = tuple(self._name_of(operand, like) for operand in inputs)
        name = self.unique(f"{self.layer}/{op}" if self.layer else op)
        outputs = [name, *(self.unique(f"{name}:{number}") for number in range(1, count))]
        self.nodes.append(Node(op, input_names, tuple(outputs), name, attributes))
        for output in outputs:
            self._dtypes[output] = np.dtype(dtype) if dtype else _OUTPUT_DTYPES.get(op, like)
        return outputs

    def read(self, slot: Slot) -> str:
        """Declare an input of the graph, and return its name."""
        self._names.add(slot.name)
        self._dtypes[slot.name] = slot.dtype
        self.inputs.append(slot)
        return slot.name

    def show(self, value: str, name: str, shape: Sequence[int | str | None]) -> None:
        """Declare an output of the graph, with a name that was reserved before."""
        self.nodes.append(Node("Identity", (value,), (name,), f"{name}/output", {}))
        self.outputs.append(Slot(name, self.dtype_of(value), tuple(shape)))

    def reserve(self, name: str) -> None:
        """Reserve a name, so that no other value of the graph gets it."""
        self._names.add(name)

    def dtype_of(self, value: str) -> np.dtype[Any]:
        """Return the dtype of a value."""
        return self._dtypes[value]

    def cast(self, value: str, dtype: Any) -> str:
        """Return the value in another dtype."""
        target = np.dtype(dtype)
        if self.dtype_of(value) == target:
            return value
        return self.op("Cast", value, dtype=target, to=target)

    def floats(self, value: str) -> str:
        """Return the value as floats; integers and booleans get the dtype of the arithmetic."""
        return value if self.dtype_of(value).kind == "f" else self.cast(value, self.dtype)

    def alike(self, values: Sequence[str]) -> list[str]:
        """Return the values in one dtype: NumPy's choice, but integers do not widen floats."""
        dtypes = [self.dtype_of(value) for value in values]
        floats = [dtype for dtype in dtypes if dtype.kind == "f"]
        common = np.result_type(*(floats or dtypes))
        return [self.cast(value, common) for value in values]

    def within(self) -> "Writer":
        """Return a graph within this one, which shares its arrays and can read its values."""
        return Writer(
            self.dtype, 1, arrays=self.arrays, layer=self.layer, _dtypes=self._dtypes,
            _known=self._known, _names=self._names,
        )  # fmt: skip

    def unique(self, name: str) -> str:
        """Return the name, with a number if it is already in use, and reserve it."""
        unique = name
        number = 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique

    def _like(self, inputs: Sequence[Operand]) -> np.dtype[Any]:
        for operand in inputs:
            if isinstance(operand, np.ndarray):
                return operand.dtype
            if isinstance(operand, str):
                return self._dtypes[operand]
        return self.dtype

    def _name_of(self, operand: Operand, like: np.dtype[Any]) -> str:
        if operand is None:
            return ""
        if isinstance(operand, str):
            return operand
        dtype = operand.dtype if isinstance(operand, np.ndarray) else like
        return self._store(np.asarray(operand, dtype))

    def _store(self, array: npt.NDArray[Any]) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = self.unique(f"{self.layer}/numbers")
            self._known[key] = name
            self.arrays[name] = array
            self._dtypes[name] = array.dtype
        return self._known[key]


def ints(*numbers: int) -> npt.NDArray[np.int64]:
    """Return axes, shapes or indices as an int64 array, which operators expect."""
    return np.array(numbers, dtype=np.int64)

"""Writing down an ONNX graph: nodes, numbers, and the dtype of every value.

Nothing here needs the package onnx; `_onnx_file` makes its objects of what was written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

#: An input of a node: the name of a value, numbers, or None for one that is left out.
Operand: TypeAlias = str | float | npt.NDArray[Any] | None

BOOL, INT64 = np.dtype(bool), np.dtype(np.int64)

#: Operators that give booleans, and one that gives integers, whatever they read.
_GIVES = {
    **dict.fromkeys(("And", "Equal", "Greater", "GreaterOrEqual", "Less", "Not", "Or"), BOOL),
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
    """An input or an output of a graph; axes that are not fixed have a name, or None."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]


@dataclass
class Writer:
    """A graph while it is written.

    Attributes:
        dtype: of the arithmetic.
        lead: axes before those of one row at one timestep: 1 for the batch, 2 with time.
        inputs: what the graph reads.
        outputs: what it gives.
        nodes: in the order in which they run.
        arrays: the numbers in it, by name; shared with the graphs within it.
        layer: that is being written; it gives nodes and values their names.
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
        """Writes a node, and gives the name of its output."""
        return self.ops(op, *inputs, count=1, dtype=dtype, **attributes)[0]

    def ops(
        self, op: str, *inputs: Operand, count: int, dtype: Any = None, **attributes: Any
    ) -> list[str]:
        """Writes a node with several outputs.

        Args:
            op: operator of the standard domain.
            inputs: a Python number takes the dtype of the first value; of Where, of the first that
                is chosen from.
            count: of outputs.
            dtype: of the outputs; unless given, that of the same value.
            attributes: of the operator.
        """
        like = self._like(inputs[1:] if op == "Where" else inputs)
        read = tuple(self._name_of(one, like) for one in inputs)
        name = self.unique(f"{self.layer}/{op}" if self.layer else op)
        outputs = [name, *(self.unique(f"{name}:{number}") for number in range(1, count))]
        self.nodes.append(Node(op, read, tuple(outputs), name, attributes))
        for output in outputs:
            self._dtypes[output] = np.dtype(dtype) if dtype else _GIVES.get(op, like)
        return outputs

    def read(self, slot: Slot) -> str:
        """Declares an input of the graph."""
        self._names.add(slot.name)
        self._dtypes[slot.name] = slot.dtype
        self.inputs.append(slot)
        return slot.name

    def show(self, value: str, name: str, shape: Sequence[int | str | None]) -> None:
        """Declares an output of the graph, under a name that was reserved with `reserve`."""
        self.nodes.append(Node("Identity", (value,), (name,), f"{name}/output", {}))
        self.outputs.append(Slot(name, self.dtype_of(value), tuple(shape)))

    def reserve(self, name: str) -> None:
        """Keeps a name from being given to a value of the graph."""
        self._names.add(name)

    def dtype_of(self, value: str) -> np.dtype[Any]:
        """The dtype of a value."""
        return self._dtypes[value]

    def cast(self, value: str, dtype: Any) -> str:
        """The value in another dtype."""
        wanted = np.dtype(dtype)
        if self.dtype_of(value) == wanted:
            return value
        return self.op("Cast", value, dtype=wanted, to=wanted)

    def floats(self, value: str) -> str:
        """The value, in the dtype of the arithmetic if it is not of floats."""
        return value if self.dtype_of(value).kind == "f" else self.cast(value, self.dtype)

    def alike(self, values: Sequence[str]) -> list[str]:
        """The values in one dtype, as NumPy would have it, but not wider for integers' sake."""
        kinds = [self.dtype_of(value) for value in values]
        floating = [kind for kind in kinds if kind.kind == "f"]
        common = np.result_type(*(floating or kinds))
        return [self.cast(value, common) for value in values]

    def within(self) -> "Writer":
        """A graph within this one: it shares its numbers, and sees its values."""
        return Writer(
            self.dtype, 1, arrays=self.arrays, layer=self.layer, _dtypes=self._dtypes,
            _known=self._known, _names=self._names,
        )  # fmt: skip

    def unique(self, name: str) -> str:
        """The name, with a number where it was given before."""
        given, number = name, 1
        while given in self._names:
            number += 1
            given = f"{name}_{number}"
        self._names.add(given)
        return given

    def _like(self, inputs: Sequence[Operand]) -> np.dtype[Any]:
        first = next((one for one in inputs if isinstance(one, (str, np.ndarray))), None)
        if first is None:
            return self.dtype
        return first.dtype if isinstance(first, np.ndarray) else self._dtypes[first]

    def _name_of(self, one: Operand, like: np.dtype[Any]) -> str:
        if one is None:
            return ""
        return one if isinstance(one, str) else self._store(np.asarray(one, _dtype(one, like)))

    def _store(self, array: npt.NDArray[Any]) -> str:
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._known:
            self._known[key] = name = self.unique(f"{self.layer}/numbers")
            self.arrays[name] = array
            self._dtypes[name] = array.dtype
        return self._known[key]


def ints(*numbers: int) -> npt.NDArray[np.int64]:
    """Axes, shapes and places, as operators read them."""
    return np.array(numbers, dtype=np.int64)


def _dtype(one: Any, like: np.dtype[Any]) -> np.dtype[Any]:
    return one.dtype if isinstance(one, np.ndarray) else like

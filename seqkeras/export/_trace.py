"""Write down the graph of a program while the layers of a model are translated."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from seqkeras.errors import ArgumentError

#: Where to look when a layer cannot be translated.
LISTED = "docs/runtime.md lists the layers that can be exported."


@dataclass(frozen=True)
class Value:
    """What is known about a tensor of the model.

    Attributes:
        name: its name in the program.
        rank: number of its axes in Keras, including batch and time.
        over_time: whether it has a time axis, axis 1; a program sees one timestep of it at a time.
        moving: whether it depends on an input that changes over time.
        mask: the mask that it carried into a nested model or out of a layer.
    """

    name: str
    rank: int
    over_time: bool
    moving: bool = True
    mask: "Value | None" = None


@dataclass
class Trace:
    """The graph of a program while it is written.

    Attributes:
        window: number of timesteps that each step reads, or None for a program that carries a
            state.
        dtype: dtype of the arithmetic.
        nodes: nodes of the graph, as `runtime._graph` reads them.
        arrays: weights and other numbers, by name.
        variables: the variable of the model that each array is a copy of, by the array's name.
    """

    window: int | None
    dtype: str
    nodes: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    variables: dict[str, keras.Variable] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _stored: dict[Any, tuple[str, Any]] = field(default_factory=dict)
    _outputs: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        op: str,
        inputs: Iterable[Value],
        name: str,
        *,
        rank: int | None = None,
        over_time: bool | None = None,
        weights: dict[str, Any] | None = None,
        **options: Any,
    ) -> Value:
        """Add a node, unless the same one exists already, and return its value.

        Args:
            op: operation of the runtime.
            inputs: values that the node reads.
            name: name of the node, made unique.
            rank: rank of its output. Default: the largest rank of its inputs.
            over_time: whether the output has a time axis. Default: whether an input has one.
            weights: arrays by their role.
            options: options of the operation.
        """
        inputs = list(inputs)
        input_names = [value.name for value in inputs]
        stored = {
            role: self._store(f"{name}/{role}", array) for role, array in (weights or {}).items()
        }
        key = repr((op, input_names, options, stored))
        output = self._outputs.get(key)
        if output is None:
            output = self.unique(name)
            self.nodes.append(
                {
                    "name": output,
                    "op": op,
                    "inputs": input_names,
                    "output": output,
                    "options": options,
                    "weights": stored,
                }
            )
            if op != "recurrent":  # a shared recurrent layer has a state for each of its calls
                self._outputs[key] = output
        if rank is None:
            rank = max((value.rank for value in inputs), default=1)
        if over_time is None:
            over_time = any(value.over_time for value in inputs)
        return Value(output, rank, over_time, any(value.moving for value in inputs))

    def unique(self, name: str) -> str:
        """Return the name, with a number if it is already in use, and reserve it."""
        unique = name
        number = 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique

    def axis(self, value: Value, axis: int, layer: str) -> int:
        """Return an axis counted from the end; refuse the batch axis, and time when stepping."""
        axis = axis if axis < 0 else axis - value.rank
        if axis == -value.rank:
            raise refused(layer, "it works along the axis of the batch", "Give it another axis.")
        if value.over_time and self.window is None and axis == 1 - value.rank:
            raise refused(layer, "it works along the axis of time")
        return axis

    def constant(self, numbers: Any) -> Value:
        """Add numbers of the model, shaped as one row at one timestep."""
        value = np.asarray(keras.ops.convert_to_numpy(numbers))
        dtype = np.bool_ if value.dtype.kind == "b" else self.dtype
        weights = {"value": value.astype(dtype)}
        return self.add("constant", [], "constant", weights=weights, rank=value.ndim)

    def _store(self, name: str, array: Any) -> str:
        # Variables are told apart by identity, numbers by value.
        key: Any = id(array)
        if isinstance(array, np.ndarray):
            key = (array.tobytes() + array.dtype.str.encode(), array.shape)
        if key not in self._stored:
            numbers = keras.ops.convert_to_numpy(array)
            if numbers.dtype.kind not in "biuf":  # bfloat16, which NumPy does not know
                numbers = numbers.astype(np.float32)
            name = self.unique(name)
            self.arrays[name] = numbers
            if isinstance(array, keras.Variable):
                self.variables[name] = array
            self._stored[key] = (name, array)  # holds the array: no other object gets its id
        return self._stored[key][0]


def refused(layer: str, reason: str, fix: str = "") -> ArgumentError:
    """Return the error for a layer that cannot be exported."""
    fix = fix or (
        "Remove it, or pass window=, the number of timesteps that each output may read: the "
        "program then keeps that many rows and reads them again at each step."
    )
    return ArgumentError(
        f"model must be one that can go step by step. Got: layer {layer!r}: {reason}. {fix}"
    )

"""Collect the nodes and arrays of a program while the layers of a model are translated."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from seqkeras.errors import ArgumentError

#: The fix in errors about unsupported layers.
SEE_SUPPORTED_LAYERS = "docs/runtime.md lists the layers that can be exported."


@dataclass(frozen=True)
class Value:
    """What is known about a tensor of the model.

    Attributes:
        name: its name in the program.
        rank: number of its axes in Keras, including batch and time.
        has_time_axis: whether axis 1 is time. Without a window, a program sees only one timestep of
            it at a time.
        varies_over_time: whether it depends on an input that changes over time.
        mask: its Keras mask, if it has one.
    """

    name: str
    rank: int
    has_time_axis: bool
    varies_over_time: bool = True
    mask: "Value | None" = None


@dataclass
class Trace:
    """The graph of a program while it is written.

    Attributes:
        window: number of timesteps that each step reads, or None if a program carries a state.
        dtype: dtype of the arithmetic.
        nodes: nodes of the graph, as `runtime._graph` reads them.
        arrays: weights and other constants, by name.
        variables: for each array that is a copy of a variable of the model, this variable, by the
            name of the array.
    """

    window: int | None
    dtype: str
    nodes: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    variables: dict[str, keras.Variable] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _stored: dict[Any, tuple[str, Any]] = field(default_factory=dict)
    _outputs: dict[str, str] = field(default_factory=dict)

    def beside(self, window: int | None) -> "Trace":
        """Return a trace of another graph, which shares the arrays of this one."""
        return Trace(
            window, self.dtype, arrays=self.arrays, variables=self.variables, _stored=self._stored
        )

    def add(
        self,
        op: str,
        inputs: Iterable[Value],
        name: str,
        *,
        rank: int | None = None,
        has_time_axis: bool | None = None,
        weights: dict[str, Any] | None = None,
        **options: Any,
    ) -> Value:
        """Add a node, unless the same one exists already, and return its value.

        Args:
            op: operation of the runtime.
            inputs: values that the node reads.
            name: name of the node, made unique.
            rank: rank of its output. Default: the largest rank of its inputs.
            has_time_axis: whether the output has a time axis. Default: whether an input has one.
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
            output = self.reserve_name(name)
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
        if has_time_axis is None:
            has_time_axis = any(value.has_time_axis for value in inputs)
        return Value(output, rank, has_time_axis, any(value.varies_over_time for value in inputs))

    def final_states(self, count: int) -> list[Value]:
        """Return the states after a whole window of the recurrent node that was just added."""
        node = self.nodes[-1]
        names = (f"{node['name']}/{state}" for state in ("h", "c")[:count])
        node["states"] = [self.reserve_name(name) for name in names]
        return [Value(name, rank=2, has_time_axis=False) for name in node["states"]]

    def reserve_name(self, name: str) -> str:
        """Return the name, with a number if it is already in use, and reserve it."""
        unique = name
        number = 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique

    def axis(self, value: Value, axis: int, layer: str) -> int:
        """Return an axis counted from the end.

        Raises:
            ArgumentError: `axis` is the batch axis or, without a window, the time axis.
        """
        axis = axis if axis < 0 else axis - value.rank
        if axis == -value.rank:
            raise export_error(layer, "it works along the batch axis", "Give it another axis.")
        if value.has_time_axis and self.window is None and axis == 1 - value.rank:
            raise export_error(layer, "it works along the time axis")
        return axis

    def constant(self, numbers: Any) -> Value:
        """Add a constant, in the shape of one row; if there is no window, of one timestep of it."""
        value = np.asarray(keras.ops.convert_to_numpy(numbers))
        dtype = np.bool_ if value.dtype.kind == "b" else self.dtype
        weights = {"value": value.astype(dtype)}
        return self.add("constant", [], "constant", weights=weights, rank=value.ndim)

    def _store(self, name: str, array: Any) -> str:
        # Equal arrays are stored once; variables are equal only if they are the same object.
        key: Any = id(array)
        if isinstance(array, np.ndarray):
            key = (array.tobytes() + array.dtype.str.encode(), array.shape)
        if key not in self._stored:
            numbers = keras.ops.convert_to_numpy(array)
            if numbers.dtype.kind not in "biuf":  # bfloat16, which NumPy does not know
                numbers = numbers.astype(np.float32)
            name = self.reserve_name(name)
            while name in self.arrays:  # of a graph beside this one
                name = self.reserve_name(name)
            self.arrays[name] = numbers
            if isinstance(array, keras.Variable):
                self.variables[name] = array
            self._stored[key] = (name, array)  # keeps the array, so that its id is not reused
        return self._stored[key][0]


def export_error(layer: str, reason: str, fix: str = "") -> ArgumentError:
    """Return the error for a layer that cannot be exported.

    Args:
        layer: name of the layer.
        reason: what is wrong with the layer, without a period.
        fix: what to do, as a sentence. Default: to remove the layer, or to pass `window`.
    """
    fix = fix or (
        "Remove it, or pass window=, the number of timesteps that each output may read: the "
        "program then stores that many rows and reads them again at each step."
    )
    return ArgumentError(
        f"model must be one that can be exported. Got: layer {layer!r}: {reason}. {fix}"
    )

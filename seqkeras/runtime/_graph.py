"""The layers of a program in the order in which they run.

A graph is part of the header of a program file::

    {"inputs": [{"name", "shape", "dtype"}, ...],          without the batch axis
     "nodes": [{"name", "op", "inputs": [value, ...], "output": value,
                "options": {...}, "weights": {role: name of an array}}, ...],
     "outputs": [value, ...]}

A value is a name. Nodes only read inputs and values of earlier nodes. `recurrent` nodes have a
state; every other `op` is one of `LAYERS`.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from seqkeras._arrays import Array
from seqkeras.runtime._cell_steps import CellStep, Out, State
from seqkeras.runtime._layers import MAX_ELEMENTS, Shape, make_layer
from seqkeras.runtime._native import LayerChoice, choose

#: Runs a node: values, old state, new state, buffers, arrays to write the new state into.
Run: TypeAlias = Callable[[list[Any], State, list[Array], list[Any], Out], None]

#: Layers that always return a new array; others may return an input, a state or a weight.
MAKE_NEW_ARRAYS = ("affine", "dense")

#: Number of batch sizes whose buffers are cached.
CACHED_BATCH_SIZES = 8


class StateArray(NamedTuple):
    """One array of the state, without the batch axis."""

    name: str
    shape: Shape


class Graph:
    """Nodes, checked and ready to run.

    Args:
        spec: the graph from the header.
        arrays: the weights.
        dtype: dtype of the arithmetic.
        whole: whether values have a time axis, which recurrent layers read from a zero state.
            False: each run is one timestep, and states are passed in and returned.
        use_native: whether to use the native kernels where possible. Default: False.

    Attributes:
        states: the states of the recurrent layers, in the order of the layers.
        shapes: the shape of every value, without the batch axis.

    Raises:
        ValueError, KeyError, TypeError: the parts do not fit each other.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        arrays: Mapping[str, Array],
        dtype: np.dtype[Any],
        whole: bool,
        use_native: bool = False,
    ) -> None:
        self.dtype = dtype
        self._whole = whole
        self._arrays = arrays
        self._use_native = use_native
        self.choices: list[LayerChoice] = []
        self._slots: dict[str, int] = {}
        self._shapes: list[Shape] = []
        self._elements = 0
        self._cells: list[CellStep] = []
        self.states: list[StateArray] = []
        self._buffers: OrderedDict[int, list[list[Any]]] = OrderedDict()
        for port in spec["inputs"]:
            self._add(port["name"], tuple(port["shape"]))
        self._inputs = len(self._shapes)
        self._runs = [self._node(node) for node in spec["nodes"]]
        self._outputs = self._output_slots(spec["nodes"], list(spec["outputs"]))
        self.output_shapes = [self._shapes[slot] for slot, _ in self._outputs]
        self.shapes = dict(zip(self._slots, self._shapes, strict=True))
        self._empty_slots = [None] * (len(self._shapes) - self._inputs)
        self._new_arrays: Out = (None,) * len(self.states)
        self._try(spec["inputs"])

    def run(
        self, inputs: Sequence[Array], state: State, out: Out | None = None
    ) -> tuple[list[Array], State]:
        """Run all nodes, and return outputs and new state, which share no memory with others."""
        values: list[Any] = [*inputs, *self._empty_slots]
        batch = len(inputs[0])
        # Removed while in use: concurrent threads get separate buffers.
        free = self._buffers.get(batch) or self._add_batch_size(batch)
        try:
            buffers = free.pop()
        except IndexError:
            buffers = [cell.scratch(batch) for cell in self._cells]
        new: list[Array] = []
        targets = out or self._new_arrays
        for run in self._runs:
            run(values, state, new, buffers, targets)
        free.append(buffers)
        outputs = [
            values[slot] if own else values[slot].astype(self.dtype) for slot, own in self._outputs
        ]
        return outputs, tuple(new)

    def _try(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Run one row of zeros, to fail now instead of at the first step."""
        rows = [np.zeros((1, *port["shape"]), port.get("dtype", self.dtype)) for port in inputs]
        state = tuple(np.zeros((1, *array.shape), self.dtype) for array in self.states)
        with np.errstate(all="ignore"):
            outputs, _ = self.run(rows, state)
        shapes = [output.shape[1:] for output in outputs]
        if shapes != self.output_shapes:
            raise ValueError(f"the outputs have the shapes {shapes}, not {self.output_shapes}")

    def _output_slots(
        self, nodes: Sequence[Mapping[str, Any]], outputs: list[str]
    ) -> list[tuple[int, bool]]:
        """Return the slot of each output, and whether no other value shares its array."""
        new = {node["output"] for node in nodes if node["op"] in MAKE_NEW_ARRAYS}
        return [
            (self._slots[value], value in new and outputs.count(value) == 1) for value in outputs
        ]

    def _add_batch_size(self, batch: int) -> list[list[Any]]:
        free = self._buffers.setdefault(batch, [])
        while len(self._buffers) > CACHED_BATCH_SIZES:
            self._buffers.popitem(last=False)
        return free

    def _add(self, value: str, shape: Shape) -> int:
        if not isinstance(value, str) or value in self._slots:
            raise ValueError(f"the value {value!r} is not a text, or is computed twice")
        are_sizes = all(type(length) is int and length > 0 for length in shape)
        self._elements += math.prod(shape)
        if not are_sizes or len(shape) > 32 or self._elements > MAX_ELEMENTS:
            raise ValueError(f"the value {value!r} cannot have the shape {shape}")
        self._slots[value] = len(self._shapes)
        self._shapes.append(shape)
        return self._slots[value]

    def _node(self, node: Mapping[str, Any]) -> Run:
        sources = [self._slots[value] for value in node["inputs"]]
        weights = {role: self._arrays[name] for role, name in node["weights"].items()}
        shapes = [self._shapes[source] for source in sources]
        if node["op"] == "recurrent":
            return self._recurrent(node, sources, weights, shapes)
        dtype = np.dtype(np.float64) if node["options"].get("wide") else self.dtype
        floats = {
            role: array.astype(dtype, copy=False) if array.dtype.kind == "f" else array
            for role, array in weights.items()
        }
        function, shape = make_layer(node["op"], node["options"], floats, shapes)
        return _apply(function, sources, self._add(node["output"], shape))

    def _recurrent(
        self,
        node: Mapping[str, Any],
        sources: list[int],
        weights: Mapping[str, Array],
        shapes: list[Shape],
    ) -> Run:
        options = node["options"]
        kind, choice = choose(node["name"], options, self.dtype, self._use_native)
        cell = kind(options, weights, self.dtype)
        self.choices.append(choice)
        time = shapes[0][:-1]
        time_axes = 1 if self._whole else 0
        if (
            len(time) != time_axes
            or shapes[0][-1] != cell.features
            or shapes[1:] not in ([], [time])
        ):
            raise ValueError(f"{node['name']} reads {cell.features} features, not {shapes}")
        number = len(self._cells)
        first = len(self.states)
        self._cells.append(cell)
        if self._whole:
            shape = (*time, cell.units) if options["sequences"] else (cell.units,)
            return _read_whole(cell, number, options, sources, self._add(node["output"], shape))
        self.states += [StateArray(f"{node['name']}/{name}", (cell.units,)) for name in cell.states]
        part = slice(first, len(self.states))
        target = self._add(node["output"], (cell.units,))
        zero = bool(options.get("zero_output_for_mask"))
        if len(sources) == 1:
            return _step(cell, number, part, sources[0], target)
        return _masked_step(cell, number, part, (sources[0], sources[1]), target, zero)


def _apply(function: Callable[..., Array], sources: list[int], target: int) -> Run:
    if len(sources) == 1:
        source = sources[0]

        def run_one(values: list[Any], state: Any, new: Any, buffers: Any, out: Any) -> None:
            values[target] = function(values[source])

        return run_one

    def run(values: list[Any], state: Any, new: Any, buffers: Any, out: Any) -> None:
        values[target] = function(*[values[source] for source in sources])

    return run


def _step(cell: CellStep, number: int, part: slice, source: int, target: int) -> Run:
    step = cell.step

    def run(
        values: list[Any], state: State, new: list[Array], buffers: list[Any], out: Out
    ) -> None:
        after = step(values[source], state[part], buffers[number], out[part])
        values[target] = after[0]
        new += after

    return run


def _masked_step(
    cell: CellStep, number: int, part: slice, sources: tuple[int, int], target: int, zero: bool
) -> Run:
    def run(
        values: list[Any], state: State, new: list[Array], buffers: list[Any], out: Out
    ) -> None:
        x, mask = (values[source] for source in sources)
        after = _hold(cell, x, mask[:, np.newaxis], state[part], buffers[number])
        for place, array in zip(out[part], after, strict=True):
            if place is None:
                new.append(array)
            else:
                place[...] = array
                new.append(place)
        values[target] = np.where(mask[:, np.newaxis], after[0], 0.0) if zero else after[0]

    return run


def _read_whole(
    cell: CellStep, number: int, options: Mapping[str, Any], sources: list[int], target: int
) -> Run:
    """Build a function that reads `(batch, timesteps, features)` from a zero state."""
    new_arrays: Out = (None,) * len(cell.states)
    zero = bool(options.get("zero_output_for_mask"))

    def run(values: list[Any], _: State, __: Any, buffers: list[Any], ___: Out) -> None:
        x, *masks = (values[source] for source in sources)
        mask = masks[0][..., np.newaxis] if masks else None
        batch, timesteps = x.shape[:2]
        state: State = tuple(np.zeros((batch, cell.units), cell.dtype) for _ in cell.states)
        outputs = np.empty((timesteps, batch, cell.units), cell.dtype)
        times = range(timesteps)
        for position, t in enumerate(reversed(times) if options.get("backwards") else times):
            if mask is None:
                state = cell.step(x[:, t], state, buffers[number], new_arrays)
                outputs[position] = state[0]
            else:
                state = _hold(cell, x[:, t], mask[:, t], state, buffers[number])
                outputs[position] = np.where(mask[:, t], state[0], 0.0) if zero else state[0]
        values[target] = outputs.swapaxes(0, 1) if options["sequences"] else outputs[-1]

    return run


def _hold(cell: CellStep, x: Array, mask: Array, before: State, buffers: Any) -> State:
    """Compute a step in the rows where the mask is True; the others keep their state."""
    after = cell.step(x, before, buffers, (None,) * len(before))
    return tuple(np.where(mask, new, old) for new, old in zip(after, before, strict=True))

"""The layers of a program in the order in which they run.

A graph stands in the header of a program file::

    {"inputs": [{"name", "shape", "dtype"}, ...],          without the batch axis
     "nodes": [{"name", "op", "inputs": [value, ...], "output": value,
                "options": {...}, "weights": {role: name of an array}}, ...],
     "outputs": [value, ...]}

A value is a name. Nodes only read values that stand before them. `recurrent` nodes have a state;
every other `op` is one of `LAYERS`.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from seqkeras.runtime._activations import Array
from seqkeras.runtime._cell_steps import Cell, Out, State
from seqkeras.runtime._layers import MAX_ELEMENTS, Shape, make_layer
from seqkeras.runtime._native import Choice, choose

#: Numbers of one step: values, old state, new state, buffers, where to write the new state.
Run: TypeAlias = Callable[[list[Any], State, list[Array], list[Any], Out], None]

#: Layers that always give a new array; others may give an input, a state or a weight.
MAKE_NEW_ARRAYS = ("affine", "dense")

#: Batch sizes whose buffers are kept.
KEPT_BATCH_SIZES = 8


class StateArray(NamedTuple):
    """One array of the state, without the batch axis."""

    name: str
    shape: Shape


class Graph:
    """Nodes, checked and ready to run.

    Args:
        spec: as it stands in the header.
        arrays: the weights.
        dtype: of the arithmetic.
        whole: values have a time axis, and recurrent layers read all of it from a zero state;
            else each run is one timestep, and their states go in and come out.

    Attributes:
        states: of the recurrent layers, in the order in which these run.
        shapes: of every value, without the batch axis.

    Raises:
        ValueError, KeyError, TypeError: the parts do not fit each other.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        arrays: Mapping[str, Array],
        dtype: np.dtype[Any],
        whole: bool,
        compiled: bool = False,
    ) -> None:
        self.dtype, self._whole, self._arrays = dtype, whole, arrays
        self._compiled = compiled
        self.choices: list[Choice] = []
        self._slots: dict[str, int] = {}
        self._shapes: list[Shape] = []
        self._elements = 0
        self._cells: list[Cell] = []
        self.states: list[StateArray] = []
        self._buffers: OrderedDict[int, list[list[Any]]] = OrderedDict()
        for port in spec["inputs"]:
            self._add(port["name"], tuple(port["shape"]))
        self._inputs = len(self._shapes)
        self._runs = [self._node(node) for node in spec["nodes"]]
        self._outputs = self._shown(spec["nodes"], list(spec["outputs"]))
        self.output_shapes = [self._shapes[slot] for slot, _ in self._outputs]
        self.shapes = dict(zip(self._slots, self._shapes, strict=True))
        self._room = [None] * (len(self._shapes) - self._inputs)
        self._new_arrays: Out = (None,) * len(self.states)
        self._try(spec["inputs"])

    def run(
        self, inputs: Sequence[Array], state: State, out: Out | None = None
    ) -> tuple[list[Array], State]:
        """Runs all nodes: outputs, and the new state, all of them arrays of their own."""
        values: list[Any] = [*inputs, *self._room]
        batch = len(inputs[0])
        # Taken and put back: threads that run at once have buffers of their own.
        free = self._buffers.get(batch) or self._make_room(batch)
        try:
            buffers = free.pop()
        except IndexError:
            buffers = [one.scratch(batch) for one in self._cells]
        new: list[Array] = []
        where = out or self._new_arrays
        for run in self._runs:
            run(values, state, new, buffers, where)
        free.append(buffers)
        shown = [
            values[slot] if own else values[slot].astype(self.dtype) for slot, own in self._outputs
        ]
        return shown, tuple(new)

    def _try(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Runs one row of zeros: what does not work is found now, and not at the first step."""
        rows = [np.zeros((1, *one["shape"]), one.get("dtype", self.dtype)) for one in inputs]
        state = tuple(np.zeros((1, *one.shape), self.dtype) for one in self.states)
        with np.errstate(all="ignore"):
            outputs, _ = self.run(rows, state)
        shapes = [output.shape[1:] for output in outputs]
        if shapes != self.output_shapes:
            raise ValueError(f"outputs are of {shapes}, not {self.output_shapes}")

    def _shown(
        self, nodes: Sequence[Mapping[str, Any]], outputs: list[str]
    ) -> list[tuple[int, bool]]:
        """The slot of each output, and whether its array is nobody else's."""
        new = {node["output"] for node in nodes if node["op"] in MAKE_NEW_ARRAYS}
        return [(self._slots[one], one in new and outputs.count(one) == 1) for one in outputs]

    def _make_room(self, batch: int) -> list[list[Any]]:
        free = self._buffers.setdefault(batch, [])
        while len(self._buffers) > KEPT_BATCH_SIZES:
            self._buffers.popitem(last=False)
        return free

    def _add(self, value: str, shape: Shape) -> int:
        if not isinstance(value, str) or value in self._slots:
            raise ValueError(f"the value {value!r} is made twice")
        sizes = all(type(length) is int and length > 0 for length in shape)
        self._elements += math.prod(shape)
        if not sizes or len(shape) > 32 or self._elements > MAX_ELEMENTS:
            raise ValueError(f"the value {value!r} is said to be {shape}")
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
        kind, choice = choose(node["name"], options, self.dtype, self._compiled)
        one = kind(options, weights, self.dtype)
        self.choices.append(choice)
        time = shapes[0][:-1]
        if (
            len(time) != self._whole
            or shapes[0][-1] != one.features
            or shapes[1:] not in ([], [time])
        ):
            raise ValueError(f"{node['name']} reads {one.features} features, not {shapes}")
        number, first = len(self._cells), len(self.states)
        self._cells.append(one)
        if self._whole:
            shape = (*time, one.units) if options["sequences"] else (one.units,)
            return _read_whole(one, number, options, sources, self._add(node["output"], shape))
        self.states += [StateArray(f"{node['name']}/{name}", (one.units,)) for name in one.states]
        place = slice(first, len(self.states))
        target = self._add(node["output"], (one.units,))
        zero = bool(options.get("zero_output_for_mask"))
        if len(sources) == 1:
            return _step(one, number, place, sources[0], target)
        return _masked_step(one, number, place, (sources[0], sources[1]), target, zero)


def _apply(function: Callable[..., Array], sources: list[int], target: int) -> Run:
    if len(sources) == 1:
        source = sources[0]

        def run_one(values: list[Any], state: Any, new: Any, buffers: Any, out: Any) -> None:
            values[target] = function(values[source])

        return run_one

    def run(values: list[Any], state: Any, new: Any, buffers: Any, out: Any) -> None:
        values[target] = function(*[values[source] for source in sources])

    return run


def _step(one: Cell, number: int, place: slice, source: int, target: int) -> Run:
    step = one.step

    def run(
        values: list[Any], state: State, new: list[Array], buffers: list[Any], out: Out
    ) -> None:
        after = step(values[source], state[place], buffers[number], out[place])
        values[target] = after[0]
        new += after

    return run


def _masked_step(
    one: Cell, number: int, place: slice, sources: tuple[int, int], target: int, zero: bool
) -> Run:
    def run(
        values: list[Any], state: State, new: list[Array], buffers: list[Any], out: Out
    ) -> None:
        x, mask = (values[source] for source in sources)
        before = state[place]
        after = _hold(one, x, mask[:, np.newaxis], before, buffers[number])
        for place_, array in zip(out[place], after, strict=True):
            new.append(array if place_ is None else _written(place_, array))
        values[target] = np.where(mask[:, np.newaxis], after[0], 0.0) if zero else after[0]

    return run


def _read_whole(
    one: Cell, number: int, options: Mapping[str, Any], sources: list[int], target: int
) -> Run:
    """Reads `(batch, timesteps, features)` from a zero state, forward or backward."""
    nowhere: Out = (None,) * len(one.states)
    zero = bool(options.get("zero_output_for_mask"))

    def run(values: list[Any], _: State, __: Any, buffers: list[Any], ___: Out) -> None:
        x, *masks = (values[source] for source in sources)
        mask = masks[0][..., np.newaxis] if masks else None
        batch, timesteps = x.shape[:2]
        state: State = tuple(np.zeros((batch, one.units), one.dtype) for _ in one.states)
        shown = np.empty((timesteps, batch, one.units), one.dtype)
        times = range(timesteps)
        for at, t in enumerate(reversed(times) if options.get("backwards") else times):
            if mask is None:
                state = one.step(x[:, t], state, buffers[number], nowhere)
                shown[at] = state[0]
            else:
                state = _hold(one, x[:, t], mask[:, t], state, buffers[number])
                shown[at] = np.where(mask[:, t], state[0], 0.0) if zero else state[0]
        values[target] = shown.swapaxes(0, 1) if options["sequences"] else shown[-1]

    return run


def _hold(one: Cell, x: Array, mask: Array, before: State, buffers: Any) -> State:
    """A step in the rows where the mask is True; the others keep their state."""
    after = one.step(x, before, buffers, (None,) * len(before))
    return tuple(np.where(mask, new, old) for new, old in zip(after, before, strict=True))


def _written(place: Array, array: Array) -> Array:
    place[...] = array
    return place

"""The layers of a program in the order in which they run.

A graph is part of the header of a program file::

    {"inputs": [{"name", "shape", "dtype"}, ...],          without the batch axis
     "nodes": [{"name", "op", "inputs": [value, ...], "output": value,
                "options": {...}, "weights": {role: name of an array}}, ...],
     "outputs": [value, ...]}

`value` is the name of a value. Nodes only read inputs and values of earlier nodes. `recurrent`
nodes have a state, `feedback` nodes read their own outputs over a whole window, and every other
`op` is one of `LAYERS`. Over a whole window, a `recurrent` node can have `"states": [value, ...]`,
its states after the last timestep.
"""

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from seqkeras._arrays import Array
from seqkeras.runtime._cell_steps import CellStep, Out, State
from seqkeras.runtime._feedback_loop import FeedbackLoop
from seqkeras.runtime._layers import JOINING, MAX_ELEMENTS, Shape, make_layer
from seqkeras.runtime._native import LayerChoice, NativeStep, choose
from seqkeras.runtime._row_step import Link, RowStep, row_step

#: Runs a node: values, old state, new state, buffers, arrays to write the new state into.
Run: TypeAlias = Callable[[list[Any], State, list[Array], list[Any], Out], None]

#: Layers that always return a new array; others may return an input, a state or a weight.
MAKE_NEW_ARRAYS = ("affine", "dense")

#: Number of batch sizes whose buffers are cached.
CACHED_BATCH_SIZES = 8

#: Layers that can join constants, which have one row, with values of any number of rows.
JOIN_CONSTANTS = (*JOINING, "average", "keep", "where")

#: The weights of a feedback node besides those of its cells.
HEAD = ("head/kernel", "head/bias")

#: Limit for the bytes of weights that were prepared for the layers: a number for each byte of the
#: file, plus a constant. A small file could name the same array in many layers.
PREPARED_PER_BYTE = 16
PREPARED_BYTES = 2**26

#: Limit for the work of one row, roughly the numbers that are read. That much takes seconds.
MAX_WORK = 2**32

#: Work of a recurrent step besides its products, and the number of products in one unit of work.
STEP_WORK = 2**14
PRODUCTS_PER_WORK = 16


class TooLargeError(ValueError):
    """A graph would need more memory or time than a program may."""


class StateArray(NamedTuple):
    """One array of the state, without the batch axis."""

    name: str
    shape: Shape


class Graph:
    """The nodes of a program, checked and ready to run.

    Args:
        spec: the graph from the header.
        arrays: the weights.
        dtype: dtype of the arithmetic.
        whole: True if values have a time axis, along which recurrent layers run from a zero state;
            False if each run is one timestep, and states are passed in and returned.
        use_native: whether to use the native kernels where possible. Default: False.

    Attributes:
        states: the states of the recurrent layers, in the order of the layers.
        shapes: the shape of every value, without the batch axis.

    Raises:
        ValueError, KeyError, TypeError: the graph is malformed, or the weights do not fit it.
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
        self._work = 0
        self._prepared = 0
        stored = sum(array.nbytes for array in arrays.values())
        self._max_prepared = PREPARED_PER_BYTE * stored + PREPARED_BYTES
        self._constants: set[int] = set()
        self._casts: dict[tuple[str, np.dtype[Any]], Array] = {}
        self._cells: list[CellStep] = []
        self._cell_numbers: dict[str, int] = {}
        self.states: list[StateArray] = []
        self._buffers: OrderedDict[int, list[list[Any]]] = OrderedDict()
        # The nodes that can be part of a RowStep, None for another node.
        self._links: list[Link | None] = []
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
        """Run all nodes; return outputs and new state, which share no memory with other arrays."""
        values: list[Any] = [*inputs, *self._empty_slots]
        batch = len(inputs[0])
        # Buffers are taken out while in use, so that concurrent threads get separate ones.
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

    def row_step(self) -> RowStep | None:
        """Return the fast step of one row, or None if the nodes do not allow it."""
        shape = self._shapes[0]
        if self._inputs != 1 or len(shape) != 1 or len(self._outputs) != 1:
            return None
        return row_step(self._links, self._outputs[0][0], shape[0], self.dtype)

    def _try(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Run two rows of zeros, to fail now instead of at the first step."""
        rows = [np.zeros((2, *port["shape"]), port.get("dtype", self.dtype)) for port in inputs]
        state = tuple(np.zeros((2, *array.shape), self.dtype) for array in self.states)
        with np.errstate(all="ignore"):
            outputs, _ = self.run(rows, state)
        shapes = [output.shape for output in outputs]
        expected = [(2, *shape) for shape in self.output_shapes]
        if shapes != expected:
            raise ValueError(f"the outputs of two rows have the shapes {shapes}, not {expected}")

    def _output_slots(
        self, nodes: Sequence[Mapping[str, Any]], outputs: list[str]
    ) -> list[tuple[int, bool]]:
        """Return the slot of each output, and whether no other value shares its array."""
        if any(self._slots[value] in self._constants for value in outputs):
            raise ValueError("an output does not depend on an input")
        slots = [self._slots[value] for value in outputs]
        self._add_elements("outputs", sum(math.prod(self._shapes[slot]) for slot in slots))
        new = {node["output"] for node in nodes if node["op"] in MAKE_NEW_ARRAYS}
        count = Counter(outputs)
        return [
            (slot, value in new and count[value] == 1)
            for slot, value in zip(slots, outputs, strict=True)
        ]

    def _add_batch_size(self, batch: int) -> list[list[Any]]:
        free = self._buffers.setdefault(batch, [])
        while len(self._buffers) > CACHED_BATCH_SIZES:
            self._buffers.popitem(last=False)
        return free

    def _add(self, value: str, shape: Shape) -> int:
        if not isinstance(value, str) or value in self._slots:
            raise ValueError(f"the value {value!r} is not a string, or is computed twice")
        if not all(type(length) is int and length > 0 for length in shape) or len(shape) > 32:
            raise ValueError(f"the value {value!r} cannot have the shape {shape}")
        self._add_elements(value, math.prod(shape))
        self._slots[value] = len(self._shapes)
        self._shapes.append(shape)
        return self._slots[value]

    def _node(self, node: Mapping[str, Any]) -> Run:
        sources = [self._slots[value] for value in node["inputs"]]
        shapes = [self._shapes[source] for source in sources]
        constant = self._constants.issuperset(sources)
        if not constant and node["op"] in JOIN_CONSTANTS:
            self._check_ranks(node["op"], sources)
        elif not constant and not self._constants.isdisjoint(sources):
            raise ValueError(f"{node['op']} cannot read a constant")
        self._add_work(sum(map(math.prod, shapes)))
        if node["op"] == "recurrent":
            return self._recurrent(node, sources, shapes)
        if node["op"] == "feedback":
            return self._feedback(node, sources, shapes)
        dtype = np.dtype(np.float64) if node["options"].get("wide") else self.dtype
        weights = {role: self._cast(name, dtype) for role, name in node["weights"].items()}
        function, shape = make_layer(node["op"], node["options"], weights, shapes)
        if node["op"] == "dense":
            self._add_work(math.prod(shape) * len(weights["kernel"]) // PRODUCTS_PER_WORK)
        target = self._add(node["output"], shape)
        if constant:
            self._constants.add(target)
        # These compute a new array, and cannot fail when a state was already written.
        simple = node["op"] in MAKE_NEW_ARRAYS and len(shape) == 1
        self._links.append(Link(sources[0], target, function) if simple else None)
        return _apply(function, sources, target)

    def _check_ranks(self, op: str, sources: list[int]) -> None:
        """Raise ValueError for shapes that NumPy would broadcast along the batch axis."""
        moving = {len(self._shapes[slot]) for slot in sources if slot not in self._constants}
        fixed = [len(self._shapes[slot]) for slot in sources if slot in self._constants]
        allowed = 2 if op == "keep" else 1  # its mask has one axis less
        if len(moving) > allowed or max(fixed, default=0) > max(moving):
            shapes = [self._shapes[slot] for slot in sources]
            raise ValueError(f"{op} cannot join the shapes {shapes}")

    def _cast(self, name: str, dtype: np.dtype[Any]) -> Array:
        """Return a weight in the dtype of a layer, the same array for all layers."""
        array = self._arrays[name]
        if array.dtype.kind != "f" or array.dtype == dtype:
            return array
        if (name, dtype) not in self._casts:
            self._add_prepared(array.size * dtype.itemsize)
            self._casts[name, dtype] = array.astype(dtype)
        return self._casts[name, dtype]

    def _add_elements(self, value: str, count: int) -> None:
        self._elements += count
        if self._elements > MAX_ELEMENTS:
            raise TooLargeError(
                f"with {value!r}, the values of one row have more than {MAX_ELEMENTS} numbers"
            )

    def _add_prepared(self, size: int) -> None:
        self._prepared += size
        if self._prepared > self._max_prepared:
            raise TooLargeError(f"its layers read more than {self._max_prepared} bytes of weights")

    def _add_work(self, work: int) -> None:
        self._work += work
        if self._work > MAX_WORK:
            raise TooLargeError(f"a row needs more than {MAX_WORK} operations")

    def _cell(self, node: Mapping[str, Any]) -> int:
        """Return the index of the cell that a node runs; nodes of the same layer share a cell."""
        kind, choice = choose(node["name"], node["options"], self.dtype, self._use_native)
        self.choices.append(choice)
        key = json.dumps([node["options"], node["weights"]], sort_keys=True)
        if key not in self._cell_numbers:
            weights = {role: self._arrays[name] for role, name in node["weights"].items()}
            size = sum(array.size for array in weights.values())
            self._add_prepared(2 * size * self.dtype.itemsize)
            self._cells.append(kind(node["options"], weights, self.dtype))
            self._cell_numbers[key] = len(self._cells) - 1
        return self._cell_numbers[key]

    def _recurrent(self, node: Mapping[str, Any], sources: list[int], shapes: list[Shape]) -> Run:
        options = node["options"]
        number = self._cell(node)
        cell = self._cells[number]
        time = shapes[0][:-1]
        time_axes = 1 if self._whole else 0
        if (
            len(time) != time_axes
            or shapes[0][-1] != cell.features
            or shapes[1:] not in ([], [time])
        ):
            raise ValueError(f"{node['name']} reads {cell.features} features, not {shapes}")
        first = len(self.states)
        products = (cell.features + cell.units) * cell.gates * cell.units
        self._add_work(math.prod(time) * (products // PRODUCTS_PER_WORK + STEP_WORK))
        if self._whole:
            shape = (*time, cell.units) if options["sequences"] else (cell.units,)
            targets = [self._add(node["output"], shape)]
            targets += [self._add(value, (cell.units,)) for value in node.get("states", [])]
            if len(targets) not in (1, 1 + len(cell.states)):
                raise ValueError(f"{node['name']} has {len(cell.states)} states")
            return _read_whole(cell, number, options, sources, targets)
        self.states += [StateArray(f"{node['name']}/{name}", (cell.units,)) for name in cell.states]
        part = slice(first, len(self.states))
        target = self._add(node["output"], (cell.units,))
        zero = bool(options.get("zero_output_for_mask"))
        if len(sources) == 1:
            run = cell.run if isinstance(cell, NativeStep) else None
            self._links.append(run and Link(sources[0], target, run, part))
            return _step(cell, number, part, sources[0], target)
        self._links.append(None)
        return _masked_step(cell, number, part, (sources[0], sources[1]), target, zero)

    def _feedback(self, node: Mapping[str, Any], sources: list[int], shapes: list[Shape]) -> Run:
        name = node["name"]
        numbers = [
            self._cell(
                {
                    "name": f"{name}/{number}",
                    "options": options,
                    "weights": {
                        role.partition("/")[2]: array
                        for role, array in node["weights"].items()
                        if role.startswith(f"{number}/")
                    },
                }
            )
            for number, options in enumerate(node["options"]["cells"])
        ]
        cells = [self._cells[number] for number in numbers]
        (timesteps, width), *masks = shapes
        if not self._whole or masks not in ([], [(timesteps,)]):
            raise ValueError(f"{name} cannot read {shapes}")
        head = {role: self._cast(node["weights"][role], self.dtype) for role in HEAD}
        loop = FeedbackLoop(cells, head, width)
        products = sum((cell.features + cell.units) * cell.gates * cell.units for cell in cells)
        products += head["head/kernel"].size
        self._add_work(timesteps * (products // PRODUCTS_PER_WORK + len(cells) * STEP_WORK))
        target = self._add(node["output"], (timesteps, loop.outputs))
        return _loop(loop, numbers, sources, target)


def _apply(function: Callable[..., Array], sources: list[int], target: int) -> Run:
    if len(sources) == 1:
        source = sources[0]

        def run_one(values: list[Any], state: Any, new: Any, buffers: Any, out: Any) -> None:
            values[target] = function(values[source])

        return run_one

    def run(values: list[Any], state: Any, new: Any, buffers: Any, out: Any) -> None:
        values[target] = function(*[values[source] for source in sources])

    return run


def _loop(loop: FeedbackLoop, numbers: list[int], sources: list[int], target: int) -> Run:
    def run(values: list[Any], _: State, __: Any, buffers: list[Any], ___: Out) -> None:
        x, *masks = (values[source] for source in sources)
        own_buffers = [buffers[number] for number in numbers]
        values[target] = loop.run(x, masks[0] if masks else None, own_buffers)

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
    cell: CellStep, number: int, options: Mapping[str, Any], sources: list[int], targets: list[int]
) -> Run:
    """Build a function that reads `(batch, timesteps, features)` from a zero state.

    Its targets are the output, and then either no state or all states after the last timestep.
    """
    target, *state_targets = targets
    new_arrays: Out = (None,) * len(cell.states)
    zero = bool(options.get("zero_output_for_mask"))

    def run(values: list[Any], _: State, __: Any, buffers: list[Any], ___: Out) -> None:
        x, *masks = (values[source] for source in sources)
        mask = masks[0][..., np.newaxis] if masks else None
        batch, timesteps = x.shape[:2]
        state: State = tuple(np.zeros((batch, cell.units), cell.dtype) for _ in cell.states)
        # Without sequences, each output overwrites the one before.
        length = timesteps if options["sequences"] else 1
        outputs = np.empty((length, batch, cell.units), cell.dtype)
        times = range(timesteps)
        for position, t in enumerate(reversed(times) if options.get("backwards") else times):
            place = outputs[position % length]
            if mask is None:
                state = cell.step(x[:, t], state, buffers[number], new_arrays)
                place[...] = state[0]
            else:
                state = _hold(cell, x[:, t], mask[:, t], state, buffers[number])
                place[...] = np.where(mask[:, t], state[0], 0.0) if zero else state[0]
        values[target] = outputs.swapaxes(0, 1) if options["sequences"] else outputs[0]
        for place, array in zip(state_targets, state, strict=False):
            values[place] = array

    return run


def _hold(cell: CellStep, x: Array, mask: Array, before: State, buffers: Any) -> State:
    """Compute a step in the rows where the mask is True; the others keep their state."""
    after = cell.step(x, before, buffers, (None,) * len(before))
    return tuple(np.where(mask, new, old) for new, old in zip(after, before, strict=True))

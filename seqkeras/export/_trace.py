"""Walking through the graph of a Keras model, and writing down the graph of a program."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import tree

from seqkeras._checks import bad_argument
from seqkeras._keras_graph._calls import calls_in_order
from seqkeras._keras_graph._rebuild import is_graph
from seqkeras.errors import ArgumentError

#: What to do about a layer that has no form.
LISTED = "docs/runtime.md lists the layers that have one."

#: `visit(operation, args, kwargs)`, with values in place of tensors, gives the values of outputs.
Visit: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


@dataclass(frozen=True)
class Value:
    """A tensor of the model, and what of it is known.

    Attributes:
        name: in the program.
        rank: axes in Keras, batch and time included.
        over_time: has a time axis, axis 1, of which a program sees one timestep.
        moving: depends on an input that changes over time.
        mask: the mask that a nested model got with it.
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
        window: timesteps of the window that it reads whole, or None where it goes step by step.
        dtype: of the arithmetic.
        nodes: as in `runtime._graph`.
        arrays: the weights by name.
    """

    window: int | None
    dtype: str
    nodes: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _stored: dict[Any, tuple[str, Any]] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)

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
        """Adds a node, and gives its value; unless told, rank and time are those of its inputs."""
        inputs = list(inputs)
        stored = {
            role: self._store(f"{name}/{role}", array) for role, array in (weights or {}).items()
        }
        key = repr((op, [one.name for one in inputs], options, stored))
        output = self._known.get(key)
        if output is None:
            output = self.unique(name)
            self.nodes.append(
                {
                    "name": output,
                    "op": op,
                    "inputs": [one.name for one in inputs],
                    "output": output,
                    "options": options,
                    "weights": stored,
                }
            )
            if op != "recurrent":  # a shared layer has a state at each place where it is called
                self._known[key] = output
        return Value(
            output,
            max((one.rank for one in inputs), default=1) if rank is None else rank,
            any(one.over_time for one in inputs) if over_time is None else over_time,
            any(one.moving for one in inputs),
        )

    def unique(self, name: str) -> str:
        """The name, with a number where it was given before."""
        given, number = name, 1
        while given in self._names:
            number += 1
            given = f"{name}_{number}"
        self._names.add(given)
        return given

    def axis(self, value: Value, axis: int, layer: str) -> int:
        """An axis of Keras, counted from the end; that of time alone is refused."""
        axis = axis if axis < 0 else axis - value.rank
        if axis == -value.rank:
            raise refused(layer, "it works along the axis of the batch", "Give it another axis.")
        if value.over_time and self.window is None and axis == 1 - value.rank:
            raise refused(layer, "it works along the axis of time")
        return axis

    def constant(self, numbers: Any) -> Value:
        """A value for numbers of the model; their shape is that of one row at one timestep."""
        value = np.asarray(keras.ops.convert_to_numpy(numbers))
        kind = np.bool_ if value.dtype.kind == "b" else self.dtype
        weights = {"value": value.astype(kind)}
        return self.add("constant", [], "constant", weights=weights, rank=value.ndim)

    def _store(self, name: str, array: Any) -> str:
        # Variables are told apart by what they are, numbers by what they say.
        known = (
            array.tobytes() + array.dtype.str.encode() if isinstance(array, np.ndarray) else None
        )
        key = (known, np.shape(array)) if known else id(array)
        if key not in self._stored:
            numbers = keras.ops.convert_to_numpy(array)
            if numbers.dtype.kind not in "biuf":  # bfloat16, which NumPy does not know
                numbers = numbers.astype(np.float32)
            name = self.unique(name)
            self.arrays[name] = numbers
            self._stored[key] = name, array  # kept, so that no other gets its id
        return self._stored[key][0]


def graph_of(model: keras.Model) -> Any:
    """The functional graph of a model.

    Raises:
        ArgumentError: it has none.
    """
    if not is_graph(model):
        fix = "Build it with the functional API, or as a Sequential that begins with an Input."
        raise bad_argument("model", model, "a keras.Model with a graph of layers", fix)
    return getattr(model, "_functional", None) or model


def compute_dtypes(model: keras.Model) -> set[str]:
    """What the layers of a model compute in."""
    layers = [layer for layer in model._flatten_layers() if layer.weights]
    return {layer.compute_dtype for layer in layers}


def walk(model: keras.Model, inputs: Iterable[Any], visit: Visit) -> list[Any]:
    """Runs values through a model: each operation is visited, those of nested models too.

    Args:
        model: functional or Sequential.
        inputs: a value for each of `graph_of(model).inputs`.
        visit: called for each operation.

    Returns:
        The value of each output.
    """
    graph = graph_of(model)
    values = {id(tensor): value for tensor, value in zip(graph.inputs, inputs, strict=True)}
    for node in calls_in_order(graph):
        args, kwargs = node.arguments.fill_in(values)
        if isinstance(node.operation, keras.Model):
            outputs: Any = _nested(node.operation, args, kwargs, visit)
        else:
            outputs = visit(node.operation, args, kwargs)
        for tensor, value in zip(node.outputs, tree.flatten(outputs), strict=False):
            values[id(tensor)] = value
    return [values[id(tensor)] for tensor in graph.outputs]


def _nested(model: keras.Model, args: Any, kwargs: dict[str, Any], visit: Visit) -> list[Any]:
    given = tree.flatten(args[0] if args else kwargs.get("inputs"))
    masks = kwargs.get("mask")
    if masks is not None:
        flat = tree.flatten(masks)
        given = [
            replace(value, mask=mask) if isinstance(value, Value) and mask is not None else value
            for value, mask in zip(given, flat, strict=True)
        ]
    return walk(model, given, visit)


def refused(layer: str, reason: str, fix: str = "") -> Exception:
    """The error for a layer that cannot be exported."""
    fix = fix or (
        "Leave it out, or give window=, the timesteps that each answer may read: the program then "
        "keeps as many rows and reads them anew at each step."
    )
    return ArgumentError(
        f"model must be one that can go step by step. Got: layer {layer!r}: {reason}. {fix}"
    )


def inputs_over_time(model: keras.Model) -> list[bool]:
    """Which inputs change over time: those from which a way leads to a recurrent layer."""
    graph = graph_of(model)
    found: set[int] = set()

    def visit(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        origins = frozenset().union(
            *(one for one in tree.flatten([args, kwargs]) if isinstance(one, frozenset))
        )
        layer = operation.forward_layer if _both_ways(operation) else operation
        if isinstance(layer, keras.layers.RNN):
            found.update(origins)
        if isinstance(operation, keras.layers.RepeatVector):
            origins = frozenset()  # the same at each timestep
        return [origins] * max(len(node.outputs) for node in operation._inbound_nodes)

    walk(model, [frozenset([number]) for number in range(len(graph.inputs))], visit)
    return [number in found for number in range(len(graph.inputs))]


def _both_ways(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Bidirectional)

"""A model cut into one timestep: the graph of its layers, walked through once for each."""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument
from seqkeras._keras_graph._calls import calls_in_order
from seqkeras.stepwise._cell import Cell, Masked, Walk
from seqkeras.stepwise._timewise import LENGTH, cuts_time, is_known, why_not_stepwise

_STEPPED = "a model that can be run one timestep at a time"
_SEQUENCE = "of one input, sequences (batch, timesteps, features) or (batch, timesteps)"


class Stepwise:
    """The step function of a model: `(timestep, state)` to `(outputs, state)`, nothing hidden.

    Recurrent layers become their cells, nested models are walked through, every other layer is
    called on a sequence of one timestep. The weights are those of the model, live. What a stateful
    layer keeps is neither read nor changed.

    Args:
        model: a built functional or Sequential model of one sequence input. Optional inputs, such
            as the `reset` flags of our stateful models, are left out.

    Attributes:
        layers: the layers of the model, which hold its variables.
        unsure: names of layers of which is not known that they treat each timestep alone; what
            they give has to be compared with what the model gives on whole sequences.
        timestep: a `KerasTensor` like one timestep of the input, `(batch, ...)`.

    Raises:
        ArgumentError: the model cannot be run one timestep at a time; names the layer.

    Example:
        >>> x = keras.Input((None, 2))
        >>> step = Stepwise(keras.Model(x, keras.layers.LSTM(8)(x)))
        >>> output, state, used = step(ops.ones((3, 2)), step.initial_state(3))
        >>> tuple(output.shape)
        (3, 8)
    """

    def __init__(self, model: keras.Model) -> None:
        self.name = getattr(model, "name", "")
        self.recurrent: list[Cell] = []
        self.unsure: list[str] = []
        inputs, outputs = ends(model)
        given = [one for one in inputs if not _is_optional(one)]
        if len(given) != 1 or len(given[0].shape) < 2:
            shapes = ", ".join(str(one.shape) for one in given)
            raise bad_argument("model", f"{self.name} of inputs {shapes}", _SEQUENCE)
        kinds = [True if one is given[0] else None for one in inputs]
        self.graph = _Graph(model, kinds, self)
        self.layers = self.graph.layers
        self.structure = getattr(model, "_outputs_struct", outputs)
        shape = given[0].shape
        self.timestep = keras.KerasTensor((shape[0], *shape[2:]), dtype=given[0].dtype)

    def initial_state(self, rows: Any) -> tuple[Any, ...]:
        """The state before the first timestep: a flat tuple of arrays with `rows` rows each."""
        return tuple(one for cell in self.recurrent for one in cell.initial_state(rows))

    def __call__(self, x: Any, state: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...], Any]:
        """Runs one timestep.

        Args:
            x: `(batch, ...)`, shaped as `timestep`.
            state: that after the timestep before.

        Returns:
            The output, `(batch, ...)`, or a structure of them as the model has it; the state
            after; and flags `(batch,)`, False where the timestep was masked and the state held,
            or None if nothing in the model masks.
        """
        walk = Walk(iter(state))
        kinds = self.graph.input_kinds
        inputs = [ops.expand_dims(x, 1) if sequence else None for sequence in kinds]
        outputs = self.graph.run(inputs, walk)
        flat = [
            one[:, 0] if sequence else one
            for one, sequence in zip(outputs, self.graph.output_kinds, strict=True)
        ]
        packed = tree.pack_sequence_as(self.structure, flat)
        single = isinstance(packed, (list, tuple)) and len(packed) == 1
        return packed[0] if single else packed, tuple(walk.after), walk.used

    @functools.cached_property
    def output_like(self) -> Any:
        """`KerasTensor`s like the outputs, with one row; found out without any work."""
        x = keras.KerasTensor((1, *self.timestep.shape[1:]), dtype=self.timestep.dtype)
        return spec(lambda x: self(x, self.initial_state(1))[0], x)

    def refuse(self, layer: Any, reason: str) -> NoReturn:
        """Raises the error that names a layer and the reason against it."""
        got = f"{self.name} with layer {layer.name!r} ({type(layer).__name__}): {reason}"
        fix = "Leave the layer away, or call model.predict on the growing sequence."
        raise bad_argument("model", Plain(got), _STEPPED, fix)


def spec(function: Callable[..., Any], *args: Any) -> Any:
    """What a function gives for `KerasTensor`s, without any work."""
    return _Call(function).compute_output_spec(*args)


class _Call(keras.Operation):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(name="call")
        self.function = function

    def call(self, *args: Any) -> Any:
        return self.function(*args)


class Plain(str):
    """Text that is shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


class _Graph:
    """The calls of a model in order, each with what is done for it in one timestep.

    A tensor is of one of three kinds: True is a sequence, its time axis behind the batch; False
    is what is known only after the last timestep; None is an input that is left out.
    """

    def __init__(self, model: Any, kinds: list[bool | None], plan: Stepwise) -> None:
        self.plan, self.input_kinds = plan, kinds
        self.inputs, self.outputs = ends(model)
        self.kinds = dict(zip(map(id, self.inputs), kinds, strict=True))
        if not type(model).call.__module__.startswith("keras."):
            plan.unsure.append(model.name)  # a call of its own may do more than its graph
        graph = keras.Function(self.inputs, self.outputs, name="stepwise")
        self.actions = [(node, self.action(node)) for node in calls_in_order(graph)]
        called = [node.operation for node, _ in self.actions]
        self.layers = [one for one in called if isinstance(one, keras.layers.Layer)]
        self.output_kinds = [self.kinds[id(one)] for one in self.outputs]

    def run(self, inputs: list[Any], walk: Walk) -> list[Any]:
        """Outputs from inputs, which have one timestep; states go through `walk`."""
        tensors = {
            id(tensor): _converted(x, tensor.dtype)
            for tensor, x in zip(self.inputs, inputs, strict=True)
        }
        for node, action in self.actions:
            args, kwargs = node.arguments.fill_in(tensors)
            results = tree.flatten(action(walk, *args, **kwargs))
            tensors.update(zip(map(id, node.outputs), results, strict=True))
        return [tensors[id(one)] for one in self.outputs]

    def action(self, node: Any) -> Callable[..., Any]:
        """What to do for a call in each timestep; notes of what kind its outputs are."""
        operation = node.operation
        kinds = {self.kinds[id(one)] for one in node.input_tensors} - {None}
        if len(kinds) == 2:
            reason = "it joins a sequence with what is known only after its last timestep"
            self.plan.refuse(operation, reason)
        kind = kinds.pop() if kinds else None
        self.kinds.update(dict.fromkeys(map(id, node.outputs), kind))
        if kind is None:
            return lambda _walk, *_, **__: [None] * len(node.outputs)
        if isinstance(operation, (keras.Sequential, keras.Function)):
            return self.nested(node)
        if kind:
            return self.each_timestep(node)
        if getattr(operation, "stateful", False):
            self.plan.refuse(operation, "it keeps a state, but reads what is no sequence")
        return lambda _walk, *args, **kwargs: operation(*args, **kwargs)

    def nested(self, node: Any) -> Callable[..., Any]:
        """Walks through the graph of a model inside the model."""
        model = node.operation
        given = _arranged(model, *node.arguments.args, **node.arguments.kwargs)
        graph = _Graph(model, [self.kinds.get(id(one)) for one in given], self.plan)
        self.kinds.update(zip(map(id, node.outputs), graph.output_kinds, strict=True))

        def run(walk: Walk, *args: Any, mask: Any = None, **kwargs: Any) -> list[Any]:
            inputs = _arranged(model, *args, **kwargs)
            if mask is not None and len(inputs) == 1:
                inputs = [Masked(autocast=False)(inputs[0], mask=mask)]
            return graph.run(inputs, walk)

        return run

    def each_timestep(self, node: Any) -> Callable[..., Any]:
        """Runs a layer on a sequence of one timestep, a recurrent one from the state before."""
        operation = node.operation
        rank = max(len(one.shape) for one in node.input_tensors)
        reason = why_not_stepwise(operation, rank=rank) or cuts_time(node)
        if reason:
            self.plan.refuse(operation, reason)
        given = tree.flatten((node.arguments.args, node.arguments.kwargs))
        arrays = [one for one in given if hasattr(one, "shape")]  # may differ from time to time
        if not is_known(operation) or len(arrays) > len(node.input_tensors):
            self.plan.unsure.append(operation.name)
        if isinstance(operation, keras.layers.RNN):
            return self.recurrent(node)
        before, after = node.input_tensors[0].shape, node.outputs[0].shape
        if len(after) < 2 or before[1] != after[1]:
            self.plan.refuse(operation, LENGTH if len(after) >= len(before) else _NO_TIME)
        return lambda _walk, *args, **kwargs: operation(*args, **kwargs)

    def recurrent(self, node: Any) -> Callable[..., Any]:
        """Runs the cell of a recurrent layer."""
        layer, given = node.operation, node.arguments
        second = given.args[1] if len(given.args) > 1 else None
        if given.kwargs.get("initial_state", second) is not None:
            self.plan.refuse(layer, "it starts from a state that it is given")
        if given.kwargs.get("training"):
            self.plan.refuse(layer, "it is called with training=True, its dropout is always on")
        first, *states = node.outputs
        self.kinds.update(dict.fromkeys(map(id, states), False))
        self.kinds[id(first)] = bool(layer.return_sequences)
        cell = Cell(layer, first.shape[2 if layer.return_sequences else 1 :])
        self.plan.recurrent.append(cell)

        def run(
            walk: Walk, sequences: Any, initial_state: Any = None, mask: Any = None, **_: Any
        ) -> Any:
            return cell(sequences, mask=mask, walk=walk)

        return run


_NO_TIME = "its output has no time axis; end with return_sequences=False instead"


def ends(model: Any) -> tuple[list[Any], list[Any]]:
    """The symbolic inputs and outputs of a model, flat.

    Raises:
        ArgumentError: it has none: it is not built, or a subclass of Model with a call of its own.
    """
    if isinstance(model, (keras.Sequential, keras.Function)):
        try:
            return list(model.inputs), list(model.outputs)
        except AttributeError:  # a Sequential model that is not built
            pass
    fix = "A Sequential model is built when its first layer is keras.Input((None, features))."
    raise bad_argument("model", model, "a built functional or Sequential Keras model", fix)


def _arranged(model: Any, inputs: Any = None, *_: Any, **__: Any) -> list[Any]:
    """What a nested model is called with, in the order of its inputs."""
    names = [one.name for one in model.inputs]
    if isinstance(inputs, dict) and set(names) <= inputs.keys():
        return [inputs[name] for name in names]
    return list(tree.flatten(inputs))


def _converted(x: Any, dtype: str) -> Any:
    same = x is None or keras.backend.standardize_dtype(x.dtype) == dtype
    return x if same else ops.cast(x, dtype)


def _is_optional(tensor: Any) -> bool:
    return bool(getattr(tensor._keras_history.operation, "optional", False))

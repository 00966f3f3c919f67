"""Decide what each call in the graph of a model does in one timestep."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import keras
from keras import ops, tree

from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import ModelGraph, name_of
from seqkeras.states._continuation import CannotContinueError, Kind, judge_call
from seqkeras.stepwise._cell import Cell, Masked, StepState

#: `action(step_state, *args, **kwargs)` does for one timestep what a call does for a sequence.
Action: TypeAlias = Callable[..., Any]

#: The kinds of tensors in a `Plan`, in the terms of `judge_call`.
_KINDS = {True: Kind.SEQUENCE, False: Kind.END, None: None}

_STEPPABLE = "a model that can be run one timestep at a time"


class Findings:
    """The results of planning a model and its nested models.

    Attributes:
        name: name of the model.
        cells: its recurrent layers, one for each call, in the order in which they run.
        unsure: names of layers that may read more than one timestep.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.cells: list[Cell] = []
        self.unsure: list[str] = []

    def refuse(self, layer: Any, reason: str) -> NoReturn:
        """Raise the error for a layer that cannot be run one timestep at a time."""
        actual = f"{self.name} with layer {layer.name!r} ({type(layer).__name__}): {reason}"
        fix = "Remove the layer, or call model.predict on the growing sequence."
        if isinstance(layer, keras.layers.RepeatVector):
            fix = (
                "A model that unfolds a vector does not read its own outputs: use a model that "
                "predicts its next input, such as seqkeras.models.next_step."
            )
        raise bad_argument("model", Description(actual), _STEPPABLE, fix)


class Plan:
    """The calls of a model in order, each with its action for one timestep.

    A tensor has one of three kinds: True for a sequence, whose axis 1 is time; False for a value
    that is known only after the last timestep; None for an input that is omitted.

    Args:
        graph: the model.
        input_kinds: the kind of each input.
        findings: collects the cells, and the names of layers that may read several timesteps.

    Attributes:
        layers: the layers that it calls.
        output_kinds: the kind of each output.
    """

    def __init__(
        self, graph: ModelGraph, input_kinds: list[bool | None], findings: Findings
    ) -> None:
        self.graph = graph
        self.input_kinds = input_kinds
        self._findings = findings
        self._kinds = dict(zip(map(id, graph.inputs), input_kinds, strict=True))
        if not type(graph.model).call.__module__.startswith("keras."):
            findings.unsure.append(graph.model.name)  # its own `call` may differ from the graph
        self._actions = [(call, self._action(call)) for call in graph.calls]
        operations = [call.operation for call in graph.calls]
        self.layers = [layer for layer in operations if isinstance(layer, keras.layers.Layer)]
        self.output_kinds = [self._kinds[id(tensor)] for tensor in graph.outputs]

    def run(self, inputs: list[Any], step_state: StepState) -> list[Any]:
        """Return outputs from inputs of one timestep; states pass through `step_state`."""
        tensors = {
            id(tensor): _converted(x, tensor.dtype)
            for tensor, x in zip(self.graph.inputs, inputs, strict=True)
        }
        for call, action in self._actions:
            args, kwargs = call.arguments.fill_in(tensors)
            results = tree.flatten(action(step_state, *args, **kwargs))
            tensors.update(zip(map(id, call.outputs), results, strict=True))
        return [tensors[id(tensor)] for tensor in self.graph.outputs]

    def _action(self, call: Any) -> Action:
        """Return the action for a call, and note the kinds of its outputs."""
        operation = call.operation
        kinds = [self._kinds[id(tensor)] for tensor in call.input_tensors]
        if isinstance(operation, (keras.Sequential, keras.Function)) and any(
            kind is not None for kind in kinds
        ):
            return self._nested(call)
        if True in kinds:
            return self._each_timestep(call, kinds)
        kind = False if False in kinds else None
        self._kinds.update(dict.fromkeys(map(id, call.outputs), kind))
        if kind is None:
            return lambda _step_state, *_, **__: [None] * len(call.outputs)
        if getattr(operation, "stateful", False):
            self._findings.refuse(operation, "it keeps a state, but does not read a sequence")
        return lambda _step_state, *args, **kwargs: operation(*args, **kwargs)

    def _nested(self, call: Any) -> Action:
        nested = self.graph.nested(call.operation)
        tensors = _in_order(nested, *call.arguments.args, **call.arguments.kwargs)
        kinds = [self._kinds.get(id(tensor)) for tensor in tensors]
        plan = Plan(nested, kinds, self._findings)
        self._kinds.update(zip(map(id, call.outputs), plan.output_kinds, strict=True))

        def run(step_state: StepState, *args: Any, mask: Any = None, **kwargs: Any) -> list[Any]:
            inputs = _in_order(nested, *args, **kwargs)
            if mask is not None and len(inputs) == 1:
                inputs = [Masked(autocast=False)(inputs[0], mask=mask)]
            return plan.run(inputs, step_state)

        return run

    def _each_timestep(self, call: Any, kinds: list[bool | None]) -> Action:
        """Return an action that calls the layer on a sequence of one timestep."""
        operation = call.operation
        try:
            verdict = judge_call(call, [_KINDS[kind] for kind in kinds])
        except CannotContinueError as error:
            self._findings.refuse(operation, error.reason)
        if not verdict.sure:
            self._findings.unsure.append(operation.name)
        if isinstance(operation, keras.layers.RNN):
            return self._recurrent(call)
        outputs = [kind is Kind.SEQUENCE for kind in verdict.kinds]
        self._kinds.update(zip(map(id, call.outputs), outputs, strict=True))
        return lambda _step_state, *args, **kwargs: operation(*args, **kwargs)

    def _recurrent(self, call: Any) -> Action:
        """Return an action that runs the cell of a recurrent layer."""
        layer = call.operation
        kwargs = call.arguments.kwargs
        if kwargs.get("constants") is not None:
            self._findings.refuse(layer, "its cell reads constants that are passed to it")
        if kwargs.get("training"):
            reason = "it is called with training=True, so its dropout is always on"
            self._findings.refuse(layer, reason)
        first, *states = call.outputs
        self._kinds.update(dict.fromkeys(map(id, states), False))
        self._kinds[id(first)] = bool(layer.return_sequences)
        cell = Cell(layer, first.shape[2 if layer.return_sequences else 1 :])
        self._findings.cells.append(cell)

        def run(
            step_state: StepState,
            sequences: Any,
            initial_state: Any = None,
            mask: Any = None,
            **_: Any,
        ) -> Any:
            return cell(sequences, mask=mask, step_state=step_state)

        return run


def _in_order(graph: ModelGraph, inputs: Any = None, *_: Any, **__: Any) -> list[Any]:
    """Return the tensors that a nested model is called with, in the order of its inputs."""
    names = [name_of(tensor) for tensor in graph.inputs]
    if isinstance(inputs, dict) and set(names) <= inputs.keys():
        return [inputs[name] for name in names]
    return list(tree.flatten(inputs))


def _converted(x: Any, dtype: str) -> Any:
    if x is None or keras.backend.standardize_dtype(x.dtype) == dtype:
        return x
    return ops.cast(x, dtype)

"""Judge whether a model can be continued: whether it can read a sequence a few timesteps at a time.

`as_stateful`, `rollout` and `save_program` share this judgment, so all refuse the same layers.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import tree

from seqkeras._keras_graph import ModelGraph, walk
from seqkeras._keras_graph._structure import is_graph
from seqkeras.layers import RepeatLike
from seqkeras.states._timewise import (
    LENGTH,
    is_known,
    takes_last_timestep,
    why_index_cuts_time,
    why_not_stepwise,
)

_REPEATS = "it repeats a value known only after the last timestep"
_NO_TIME = "its output has no time axis; for the last timestep, use return_sequences=False"


class Kind(Enum):
    """What a tensor of a model is.

    `SEQUENCE`: a value for each timestep, along axis 1. `END`: a value that is known only after the
    last timestep. `STILL`: a value that is the same at every timestep.
    """

    SEQUENCE = "sequence"
    END = "end"
    STILL = "still"


#: The kind of a tensor; None for an input that is omitted.
KindOrNone: TypeAlias = Kind | None


class CannotContinueError(Exception):
    """A layer needs more than the current timestep and those before it."""

    def __init__(self, layer: Any, reason: str) -> None:
        super().__init__(f"Layer {layer.name!r} ({type(layer).__name__}): {reason}.")
        self.layer = layer
        self.reason = reason


class Verdict(NamedTuple):
    """The judgment of a call that reads a sequence.

    Attributes:
        kinds: the kind of each output.
        sure: False if the layer may read more than one timestep, which only a test run can tell.
    """

    kinds: list[KindOrNone]
    sure: bool


class Continuation(NamedTuple):
    """The judgment of a model that can be continued.

    Attributes:
        inputs: the kind of each input.
        outputs: the kind of each output.
        unsure: names of layers that may read more than one timestep.
    """

    inputs: list[KindOrNone]
    outputs: list[KindOrNone]
    unsure: list[str]


def judge_model(graph: ModelGraph) -> Continuation:
    """Judge a model as if all its recurrent layers kept their states.

    Raises:
        CannotContinueError: a layer cannot be continued.
    """
    inputs: list[KindOrNone] = [
        Kind.SEQUENCE if moves else Kind.STILL for moves in inputs_over_time(graph)
    ]
    unsure: list[str] = []
    outputs = _judge_graph(graph, inputs, unsure)
    return Continuation(inputs, outputs, unsure)


def judge_call(call: Any, kinds: Sequence[KindOrNone]) -> Verdict:
    """Judge a call that reads a sequence; nested models are judged by their own calls.

    Args:
        call: a call in the graph of the model.
        kinds: the kinds of its `input_tensors`, at least one of them a sequence.

    Raises:
        CannotContinueError: the layer cannot be continued.
    """
    operation = call.operation
    if isinstance(operation, keras.layers.RNN):
        _check_initial_state(call)
        _check_constants(call, kinds)
    if Kind.END in kinds:
        joins = "it joins a sequence with a value known only after the last timestep"
        reason = _REPEATS if isinstance(operation, RepeatLike) else joins
        raise CannotContinueError(operation, reason)
    sequences = [
        tensor
        for tensor, kind in zip(call.input_tensors, kinds, strict=True)
        if kind is Kind.SEQUENCE
    ]
    if takes_last_timestep(call):
        return Verdict([Kind.END] * len(call.outputs), sure=True)
    rank = max(len(tensor.shape) for tensor in sequences)
    why_not = why_not_stepwise(operation, rank=rank) or why_index_cuts_time(call)
    if why_not:
        raise CannotContinueError(operation, why_not)
    sure = is_known(operation) and not _reads_arrays(call)
    if isinstance(operation, keras.layers.RNN):
        return Verdict(_recurrent_kinds(call), sure)
    before = sequences[0].shape
    after = call.outputs[0].shape
    if len(after) > 1 and before[1] == after[1]:
        return Verdict([Kind.SEQUENCE] * len(call.outputs), sure)
    if len(after) < len(before) and not sure:  # may take the last timestep
        return Verdict([Kind.END] * len(call.outputs), sure)
    raise CannotContinueError(operation, LENGTH if len(after) >= len(before) else _NO_TIME)


def inputs_over_time(graph: ModelGraph) -> list[bool]:
    """Return, for each input, whether it changes over time.

    An input does if it reaches a recurrent layer, unless the layer reads it only as constants, or
    repeated at each timestep.
    """
    moving: set[int] = set()

    def visit(call: Any, args: Any, kwargs: dict[str, Any]) -> list[frozenset[int]]:
        sources = [value for value in tree.flatten([args, kwargs]) if isinstance(value, frozenset)]
        origins = frozenset[int]().union(*sources)
        layer = call.operation
        if isinstance(layer, keras.layers.Bidirectional):
            layer = layer.forward_layer
        if isinstance(layer, keras.layers.RNN):
            read = tree.flatten([args, {**kwargs, "constants": None}])
            moving.update(*(value for value in read if isinstance(value, frozenset)))
        if isinstance(layer, keras.layers.RepeatVector):
            origins = frozenset()  # its output is the same at each timestep
        if isinstance(layer, RepeatLike):
            origins = sources[1]  # only the length and the mask of the sequence matter
        return [origins] * len(call.outputs)

    count = len(graph.inputs)
    walk(graph, [frozenset([number]) for number in range(count)], visit)
    return [number in moving for number in range(count)]


def _judge_graph(
    graph: ModelGraph, inputs: Sequence[KindOrNone], unsure: list[str]
) -> list[KindOrNone]:
    if not type(graph.model).call.__module__.startswith("keras."):
        unsure.append(graph.model.name)  # its own `call` may differ from the graph
    kinds = dict(zip(map(id, graph.inputs), inputs, strict=True))
    for call in graph.calls:
        read = [kinds[id(tensor)] for tensor in call.input_tensors]
        if is_graph(call.operation):
            nested = graph.nested(call.operation)
            outputs = _judge_graph(nested, read[: len(nested.inputs)], unsure)
        elif Kind.SEQUENCE in read:
            verdict = judge_call(call, read)
            outputs = verdict.kinds
            if not verdict.sure:
                unsure.append(call.operation.name)
        else:
            outputs = _judge_rest(call, read)
        kinds.update(zip(map(id, call.outputs), outputs, strict=True))
    return [kinds[id(tensor)] for tensor in graph.outputs]


def _judge_rest(call: Any, kinds: Sequence[KindOrNone]) -> list[KindOrNone]:
    """Return the kinds of the outputs of a call that reads no sequence."""
    operation = call.operation
    at_end = Kind.END in kinds
    if isinstance(operation, (keras.layers.RNN, keras.layers.Bidirectional)):
        if at_end:
            reason = "its input is known only after the last timestep"
            raise CannotContinueError(operation, reason)
        _check_initial_state(call)
        why_not = why_not_stepwise(operation)
        if why_not:
            raise CannotContinueError(operation, why_not)
        return _recurrent_kinds(call)
    if at_end and isinstance(operation, keras.layers.RepeatVector):
        raise CannotContinueError(operation, _REPEATS)
    return [Kind.END if at_end else Kind.STILL] * len(call.outputs)


def _check_initial_state(call: Any) -> None:
    args = call.arguments.args
    second = args[1] if len(args) > 1 else None
    if call.arguments.kwargs.get("initial_state", second) is not None:
        reason = (
            "each call gets its state from other layers (initial_state), so it has none to keep "
            "between calls"
        )
        raise CannotContinueError(call.operation, reason)


def _check_constants(call: Any, kinds: Sequence[KindOrNone]) -> None:
    constants = {id(tensor) for tensor in tree.flatten(call.arguments.kwargs.get("constants"))}
    for tensor, kind in zip(call.input_tensors, kinds, strict=True):
        if kind is Kind.SEQUENCE and id(tensor) in constants:
            reason = "at every timestep it reads the whole of a sequence (constants)"
            raise CannotContinueError(call.operation, reason)


def _recurrent_kinds(call: Any) -> list[KindOrNone]:
    first = Kind.SEQUENCE if call.operation.return_sequences else Kind.END
    return [first, *[Kind.END] * (len(call.outputs) - 1)]


def _reads_arrays(call: Any) -> bool:
    """Return whether a call also reads an array from outside the graph.

    Such an array may hold a number for each timestep.
    """
    arguments = tree.flatten((call.arguments.args, call.arguments.kwargs))
    arrays = [value for value in arguments if hasattr(value, "shape")]
    return len(arrays) > len(call.input_tensors)

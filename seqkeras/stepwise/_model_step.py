"""Run a model for one timestep, as a function of input and state."""

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import Description, bad_argument
from seqkeras._keras_graph import ModelGraph, input_layer
from seqkeras.stepwise._cell import StepState
from seqkeras.stepwise._plan import Findings, Plan

_SEQUENCE = "a model with one input, (batch, timesteps, features) or (batch, timesteps)"


class ModelStep:
    """The step function of a model: `(timestep, state)` to `(outputs, state)`.

    Recurrent layers become their cells, nested models are walked through, and every other layer is
    called on a sequence of one timestep. The weights are the current ones of the model. The state
    of a stateful layer is neither read nor changed.

    Args:
        model: a built functional or Sequential model with one sequence input. Optional inputs, such
            as the `reset` flags of stateful models, are omitted.

    Attributes:
        graph: the graph of the model.
        input_kinds: for each input of the model, True for the sequence, None if it is omitted.
        output_kinds: for each output, True if it is a sequence, False if only its last timestep.
        layers: the layers of the model, which hold its variables.
        unsure: names of layers that may read more than one timestep. If there are any, compare the
            outputs of the steps with those of the model for whole sequences.
        timestep: a `KerasTensor` like one timestep of the input, `(batch, ...)`.

    Raises:
        ArgumentError: the model cannot be run one timestep at a time; the message names the layer.

    Example:
        >>> x = keras.Input((None, 2))
        >>> step = ModelStep(keras.Model(x, keras.layers.LSTM(8)(x)))
        >>> output, state, used = step(ops.ones((3, 2)), step.initial_state(3))
        >>> tuple(output.shape)
        (3, 8)
    """

    def __init__(self, model: keras.Model) -> None:
        self.graph = ModelGraph(model)
        self.name = model.name
        sequence = self._sequence()
        self.input_kinds = [True if tensor is sequence else None for tensor in self.graph.inputs]
        findings = Findings(self.name)
        self._plan = Plan(self.graph, self.input_kinds, findings)
        self._cells = findings.cells
        self.unsure = findings.unsure
        self.layers = self._plan.layers
        self.output_kinds = self._plan.output_kinds
        shape = sequence.shape
        self.timestep = keras.KerasTensor((shape[0], *shape[2:]), dtype=sequence.dtype)

    def initial_state(self, rows: Any) -> tuple[Any, ...]:
        """Return the state before the first timestep: a flat tuple of arrays of `rows` rows."""
        return tuple(array for cell in self._cells for array in cell.initial_state(rows))

    def __call__(self, x: Any, state: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...], Any]:
        """Run one timestep.

        Args:
            x: `(batch, ...)`, shaped as `timestep`.
            state: the state after the previous timestep.

        Returns:
            The output, `(batch, ...)`, or a structure of outputs as the model returns it; the new
            state; and flags `(batch,)`, False where the timestep was masked and the state did not
            change, or None if no recurrent layer gets a mask.
        """
        step_state = StepState(iter(state))
        inputs = [ops.expand_dims(x, 1) if kind else None for kind in self.input_kinds]
        outputs = [
            output[:, 0] if kind else output
            for output, kind in zip(
                self._plan.run(inputs, step_state), self.output_kinds, strict=True
            )
        ]
        packed = tree.pack_sequence_as(self.graph.output_structure, outputs)
        is_single = isinstance(packed, (list, tuple)) and len(packed) == 1
        return packed[0] if is_single else packed, tuple(step_state.after), step_state.used

    @functools.cached_property
    def output_like(self) -> Any:
        """`KerasTensor`s like the outputs, with one row; inferred without computing anything."""
        x = keras.KerasTensor((1, *self.timestep.shape[1:]), dtype=self.timestep.dtype)
        return output_spec(lambda x: self(x, self.initial_state(1))[0], x)

    def _sequence(self) -> Any:
        inputs = [
            tensor
            for tensor in self.graph.inputs
            if not getattr(input_layer(tensor), "optional", False)
        ]
        if len(inputs) != 1 or len(inputs[0].shape) < 2:
            shapes = ", ".join(str(tensor.shape) for tensor in inputs)
            raise bad_argument("model", Description(f"{self.name} with inputs {shapes}"), _SEQUENCE)
        return inputs[0]


def output_spec(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function returns for `KerasTensor`s, without computing anything."""
    return _Call(function).compute_output_spec(*args)


class _Call(keras.Operation):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(name="call")
        self.function = function

    def call(self, *args: Any) -> Any:
        return self.function(*args)

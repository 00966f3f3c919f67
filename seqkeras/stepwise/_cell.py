"""Run a recurrent layer for one timestep."""

import functools
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops, tree

from seqkeras.kernels import where_rows


class StepState:
    """The states and the mask of one timestep on its way through the graph.

    Attributes:
        before: states before the timestep; each cell takes its own in turn.
        after: states after the timestep, appended by the cells in the same order.
        used: flags `(batch,)`, False in rows where the timestep is masked; None without a mask.
    """

    def __init__(self, before: Iterator[Any]) -> None:
        self.before = before
        self.after: list[Any] = []
        self.used: Any = None


class Cell(keras.layers.Layer):
    """A recurrent layer on a sequence of one timestep, with its state in a `StepState`.

    Being a Keras layer, it gets the mask and the casts that the recurrent layer would get. Besides
    the state of the cell it stores its last output, which is repeated at masked timesteps unless
    the layer has `zero_output_for_mask`.
    """

    def __init__(self, layer: keras.layers.RNN, output_shape: tuple[int, ...]) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.recurrent = layer
        self.output_shape_ = output_shape
        template = layer.get_initial_state(1)
        self.count = len(tree.flatten(template))
        self.packed = functools.partial(tree.pack_sequence_as, template)
        self.supports_masking = True
        self.built = True

    def initial_state(self, rows: Any) -> list[Any]:
        zeros = tree.flatten(self.recurrent.get_initial_state(rows))
        states = [ops.cast(state, self.recurrent.cell.compute_dtype) for state in zeros]
        return [*states, ops.zeros((rows, *self.output_shape_), self.compute_dtype)]

    def call(self, sequences: Any, mask: Any = None, step_state: Any = None) -> Any:
        layer = self.recurrent
        before = [next(step_state.before) for _ in range(self.count)]
        last_output = next(step_state.before)
        output, state = layer.cell(sequences[:, 0], self.packed(before))
        output = ops.cast(output, self.compute_dtype)
        pairs = zip(tree.flatten(state), before, strict=True)
        after = [ops.cast(new, old.dtype) for new, old in pairs]
        if mask is not None:
            used = ops.cast(mask[:, 0], "bool")
            after = where_rows(used, after, before)
            is_zeroed = layer.zero_output_for_mask
            held = ops.zeros_like(last_output) if is_zeroed else last_output
            output = where_rows(used, output, held)
            step_state.used = step_state.used if step_state.used is not None else used
        step_state.after += [*after, output]
        sequence = ops.expand_dims(output, 1) if layer.return_sequences else output
        if not layer.return_state:
            return sequence
        return [sequence, *(ops.cast(state, self.compute_dtype) for state in after)]

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return self.recurrent.compute_mask(inputs, previous_mask)


class Masked(keras.layers.Layer):
    """Attaches to a sequence the mask that a nested model is called with."""

    supports_masking = True

    def call(self, sequences: Any, mask: Any = None) -> Any:
        return ops.copy(sequences)

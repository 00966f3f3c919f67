"""A recurrent layer as a function of one timestep."""

import functools
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops, tree

from seqkeras.kernels import where_rows


class Walk:
    """What changes on the way through the graph in one timestep."""

    def __init__(self, before: Iterator[Any]) -> None:
        self.before = before
        self.after: list[Any] = []
        self.used: Any = None


class Cell(keras.layers.Layer):
    """A recurrent layer on a sequence of one timestep, from a state that the walk holds.

    A layer, so that Keras finds the mask of the sequence and casts it as for the layer itself.
    Beside the state of the cell there is its last output: what a masked timestep gives.
    """

    def __init__(self, layer: keras.layers.RNN, output_shape: tuple[int, ...]) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.recurrent, self.output_shape_ = layer, output_shape
        like = layer.get_initial_state(1)
        self.count = len(tree.flatten(like))
        self.packed = functools.partial(tree.pack_sequence_as, like)
        self.supports_masking = self.built = True

    def initial_state(self, rows: Any) -> list[Any]:
        fresh = tree.flatten(self.recurrent.get_initial_state(rows))
        states = [ops.cast(one, self.recurrent.cell.compute_dtype) for one in fresh]
        return [*states, ops.zeros((rows, *self.output_shape_), self.compute_dtype)]

    def call(self, sequences: Any, mask: Any = None, walk: Any = None) -> Any:
        layer = self.recurrent
        before = [next(walk.before) for _ in range(self.count)]
        shown = next(walk.before)
        output, state = layer.cell(sequences[:, 0], self.packed(before))
        output = ops.cast(output, self.compute_dtype)
        pairs = zip(tree.flatten(state), before, strict=True)
        after = [ops.cast(new, old.dtype) for new, old in pairs]
        if mask is not None:
            used = ops.cast(mask[:, 0], "bool")
            after = where_rows(used, after, before)
            held = ops.zeros_like(shown) if layer.zero_output_for_mask else shown
            output = where_rows(used, output, held)
            walk.used = used if walk.used is None else walk.used
        walk.after += [*after, output]
        shaped = ops.expand_dims(output, 1) if layer.return_sequences else output
        if not layer.return_state:
            return shaped
        return [shaped, *(ops.cast(one, self.compute_dtype) for one in after)]

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return self.recurrent.compute_mask(inputs, previous_mask)


class Masked(keras.layers.Layer):
    """Gives a sequence the mask that a nested model is called with."""

    supports_masking = True

    def call(self, sequences: Any, mask: Any = None) -> Any:
        return ops.copy(sequences)

"""Cells that read flags along with each timestep: rows to clear, masks and zoneout."""

import inspect
from collections.abc import Sequence
from typing import Any

from keras import ops, tree

# Keras' loop passes a cell one array of features for each timestep, and nothing else. Whatever else
# a cell needs at a timestep, such as a mask or a reset flag, must therefore travel inside that
# array: `_scan.py` appends the flags to the features, as columns of 0.0 and 1.0, and the cells
# below split them off again. The columns of a timestep:
#
#     features, flattened | zoneout flags, `masks` x units | mask, 1 | reset, 1
#
# Only a `MaskedClearingCell` has the mask; the zoneout flags are present if any were drawn.


class ClearingCell:
    """A cell that clears rows of its state before a timestep, where the reset flag says so.

    Args:
        cell: the cell to run.
        initial_state: state of a new sequence, `(batch, units)` each.
        training: whether the call is a training call.
        feature_shape: shape of the features of a timestep, such as that of an image.
        masks: number of zoneout masks of each timestep, 0 by default.
        constants: tensors that the cell reads at every timestep, or None, the default.
    """

    def __init__(
        self,
        cell: Any,
        initial_state: Any,
        training: bool,
        feature_shape: Sequence[int | None],
        masks: int = 0,
        constants: list[Any] | None = None,
    ) -> None:
        self.cell = cell
        self.initial_state = initial_state
        self.feature_shape = feature_shape
        self.masks = masks
        takes_training = "training" in inspect.signature(cell.call).parameters
        self.options: dict[str, Any] = {"training": training} if takes_training else {}
        if constants is not None:
            self.options["constants"] = constants
        self.state_size = cell.state_size
        self.compute_dtype = cell.compute_dtype
        self.output_size = getattr(cell, "output_size", None)

    def __call__(self, columns: Any, state: Any) -> Any:
        reset = columns[:, -1:] > 0.5
        state = where_rows(reset, self.initial_state, state)
        return self.step(columns[:, :-1], state)

    call = __call__  # Keras checks that a cell has `call`

    def step(self, columns: Any, state: Any) -> Any:
        if len(self.feature_shape) > 1:
            columns = ops.reshape(columns, (-1, *self.feature_shape))
        if not self.masks:
            return self.cell(columns, state, **self.options)
        width = self.masks * self.cell.units
        inputs = columns[:, :-width]
        zoneout = ops.split(columns[:, -width:] > 0.5, self.masks, axis=-1)
        return self.cell(inputs, state, kept=zoneout, **self.options)


class MaskedClearingCell(ClearingCell):
    """A `ClearingCell` with a mask. Its last state is the previous output, by default zeros.

    Keras' own masking does not work here: it restores the old state at a masked timestep, and so
    undoes the clearing.
    """

    def __init__(self, *arguments: Any, zero_output: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.zero_output = zero_output
        size = self.output_size or tree.flatten(self.state_size)[0]
        state = tree.flatten(self.initial_state)[0]
        # The size of a convolutional cell is a shape; its output has the shape of its first state.
        shape = (ops.shape(state)[0], size) if len(state.shape) == 2 else ops.shape(state)
        self.initial_state = [*self.initial_state, ops.zeros(shape, self.compute_dtype)]

    def step(self, columns: Any, state: Any) -> Any:
        *old_state, held = state
        output, new_state = super().step(columns[:, :-1], old_state)
        live = columns[:, -1:] > 0.5
        masked = ops.zeros_like(held) if self.zero_output else held
        output = where_rows(live, output, masked)
        return output, [*where_rows(live, new_state, old_state), output]


def where_rows(flags: Any, new: Any, old: Any) -> Any:
    """Return `new` in the rows where `flags`, `(batch,)` or `(batch, 1)`, are True, else `old`.

    Both are arrays `(batch, ...)`, or structures of arrays; the result has the structure of `old`.
    """
    chosen = [
        ops.where(ops.reshape(flags, (-1, *[1] * (len(if_false.shape) - 1))), if_true, if_false)
        for if_true, if_false in zip(tree.flatten(new), tree.flatten(old), strict=True)
    ]
    return tree.pack_sequence_as(old, chosen)

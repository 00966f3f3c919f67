"""Cells that read, beside each timestep, flags: which rows to clear, mask, or leave as they are."""

from collections.abc import Sequence
from typing import Any

from keras import ops, tree


class ClearingCell:
    """A cell that clears rows of its state before a timestep, by flags that stand behind it.

    In the last axis there stand, one behind the other: the timestep, flat, which gets its shape
    back, such as that of an image; flags of zoneout, `kept` times as many as units; the mask, of
    `MaskedClearingCell` alone; the flag that clears.
    """

    def __init__(
        self, cell: Any, fresh: Any, training: bool, shape: Sequence[int | None], kept: int = 0
    ) -> None:
        self.cell, self.fresh, self.shape, self.kept = cell, fresh, shape, kept
        self.options = {"training": training} if cell._call_has_training_arg else {}
        self.state_size, self.compute_dtype = cell.state_size, cell.compute_dtype
        self.output_size = getattr(cell, "output_size", None)

    def __call__(self, joined: Any, state: Any) -> Any:
        state = where_rows(joined[:, -1:] > 0.5, self.fresh, state)
        return self.step(joined[:, :-1], state)

    call = __call__  # what Keras looks for in a cell

    def step(self, inputs: Any, state: Any) -> Any:
        if len(self.shape) > 1:
            inputs = ops.reshape(inputs, (-1, *self.shape))
        if not self.kept:
            return self.cell(inputs, state, **self.options)
        width = self.kept * self.cell.units
        kept = ops.split(inputs[:, -width:] > 0.5, self.kept, axis=-1)
        return self.cell(inputs[:, :-width], state, kept=kept, **self.options)


class MaskedClearingCell(ClearingCell):
    """The same with a mask in the last feature but one; its last state is the output before."""

    def __init__(self, *arguments: Any, zero_output: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.zero_output = zero_output
        size = self.output_size or tree.flatten(self.state_size)[0]
        state = tree.flatten(self.fresh)[0]
        # The state of a convolution is the output before, and has no size but its shape.
        shape = (state.shape[0], size) if len(state.shape) == 2 else state.shape
        self.fresh = [*self.fresh, ops.zeros(shape, self.compute_dtype)]

    def step(self, inputs: Any, state: Any) -> Any:
        *before, shown = state
        output, after = super().step(inputs[:, :-1], before)
        used = inputs[:, -1:] > 0.5
        shown = where_rows(used, output, ops.zeros_like(shown) if self.zero_output else shown)
        return shown, [*where_rows(used, after, before), shown]


def where_rows(flags: Any, new: Any, old: Any) -> Any:
    """`new` in the rows where `flags`, `(batch,)` or `(batch, 1)`, are True, else `old`.

    Both are arrays `(batch, ...)`, or structures of them; the result has the structure of `old`.
    """
    chosen = [
        ops.where(ops.reshape(flags, (-1, *[1] * (len(other.shape) - 1))), one, other)
        for one, other in zip(tree.flatten(new), tree.flatten(old), strict=True)
    ]
    return tree.pack_sequence_as(old, chosen)

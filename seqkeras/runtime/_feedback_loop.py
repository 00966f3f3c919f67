"""Cells whose output is fed back as their input, over a whole window."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras.runtime._cell_steps import CellStep, Out, State


class FeedbackLoop:
    """Several cells and a linear head as one loop: each step also reads the output before it.

    The first step reads zeros instead. At masked timesteps, state and output stay as they are.

    Args:
        cells: the cells, the lowest first.
        weights: `head/kernel` `(units, outputs)` and `head/bias` `(outputs,)`.
        width: number of columns that the loop reads besides its last output.

    Attributes:
        outputs: number of columns of the output.

    Raises:
        ValueError: cells, head and width do not fit each other.
    """

    def __init__(self, cells: Sequence[CellStep], weights: Mapping[str, Array], width: int) -> None:
        self._cells = cells
        self._kernel = weights["head/kernel"]
        self._bias = weights["head/bias"]
        units, self.outputs = self._kernel.shape
        widths = [width + self.outputs, *(cell.units for cell in cells)]
        features = [*(cell.features for cell in cells), units]
        if not cells or widths != features or self._bias.shape != (self.outputs,):
            raise ValueError(f"cells that read {features} features cannot be fed {widths}")

    def run(self, x: Array, mask: Array | None, buffers: Sequence[Any]) -> Array:
        """Return the outputs `(batch, timesteps, outputs)`.

        Args:
            x: `(batch, timesteps, width)`.
            mask: `(batch, timesteps)`, or None.
            buffers: buffers of each cell.
        """
        batch, timesteps = x.shape[:2]
        output = np.zeros((batch, self.outputs), self._kernel.dtype)
        states: list[State] = [
            tuple(np.zeros((batch, cell.units), cell.dtype) for _ in cell.states)
            for cell in self._cells
        ]
        outputs = np.empty((timesteps, *output.shape), output.dtype)
        for t in range(timesteps):
            new_output, new_states = self._step(x[:, t], output, states, buffers)
            if mask is not None:
                counts = mask[:, t, np.newaxis]
                new_output = np.where(counts, new_output, output)
                new_states = [
                    tuple(np.where(counts, *pair) for pair in zip(new, old, strict=True))
                    for new, old in zip(new_states, states, strict=True)
                ]
            output, states = new_output, new_states
            outputs[t] = output
        return outputs.swapaxes(0, 1)

    def _step(
        self, x: Array, output: Array, states: Sequence[State], buffers: Sequence[Any]
    ) -> tuple[Array, list[State]]:
        read = np.concatenate([x, output], axis=1)
        new_states = []
        for cell, state, buffer in zip(self._cells, states, buffers, strict=True):
            no_arrays: Out = (None,) * len(state)
            new_states.append(cell.step(read, state, buffer, no_arrays))
            read = new_states[-1][0]
        return read.dot(self._kernel) + self._bias, new_states

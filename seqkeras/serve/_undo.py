"""Sessions in memory as they were before a batch, for a batch that could not be stored."""

from collections.abc import Sequence
from typing import Any

from seqkeras._arrays import Array
from seqkeras.serve._slots import Slots


class Undo:
    """The rows that a batch of calls changes, as they were before."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.moved: dict[str, int] = {}
        self._saved: list[tuple[list[int], tuple[Any, ...]]] = []
        self._longer: dict[int, Array | None] = {}

    def save(self, keys: Sequence[str], rows: Sequence[int]) -> None:
        """Save rows before their first change."""
        slots = self._slots
        fresh = [(key, row) for key, row in zip(keys, rows, strict=True) if key not in self.moved]
        if not fresh:
            return
        self.moved.update(fresh)
        places = [row for _, row in fresh]
        self._saved.append((places, tuple(array[places] for array in self._arrays)))
        for row in places:
            self._longer[row] = slots.longer.get(row)

    def undo(self) -> None:
        """Set every saved row back."""
        slots = self._slots
        for places, parts in self._saved:
            for array, part in zip(self._arrays, parts, strict=True):
                array[places] = part
        for row, outputs in self._longer.items():
            if outputs is None:
                slots.longer.pop(row, None)
            else:
                slots.longer[row] = outputs

    @property
    def _arrays(self) -> tuple[Any, ...]:
        slots = self._slots
        arrays = (*slots.states, slots.counts, slots.seen, slots.outputs, slots.recent)
        return (*arrays, slots.inputs) if slots.history else arrays

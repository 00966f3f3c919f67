"""Which timestep of which series stands in which row of which stateful batch."""

import functools
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stretches:
    """Runs of timesteps that are read in one go, each from a cleared state.

    Attributes:
        series: `(stretches,)`, the number of the series.
        first: the row of the values that its first timestep reads.
        steps: its length, at least 1.
    """

    series: Numbers
    first: Numbers
    steps: Numbers

    def __len__(self) -> int:
        return len(self.steps)

    def take(self, order: Numbers) -> "Stretches":
        """The stretches with these numbers."""
        return Stretches(self.series[order], self.first[order], self.steps[order])


def cut(steps: int, rows: int) -> Stretches:
    """One series in `rows` stretches, whose lengths differ by one at most."""
    borders = np.arange(rows + 1, dtype=np.int64) * steps // rows
    return Stretches(np.zeros(rows, np.int64), borders[:-1], np.diff(borders))


@dataclass(frozen=True)
class Stream:
    """Stretches laid out in rows, one after the other.

    Attributes:
        stretches: row by row, in the order of their starts.
        owner: `(stretches,)`, the row of each.
        rows: of a batch.
        bptt_steps: timesteps of a batch.
        pack: let a stretch begin where the one before it ends. Without, it begins at the next
            border of a batch.
    """

    stretches: Stretches
    owner: Numbers
    rows: int
    bptt_steps: int
    pack: bool

    @classmethod
    def lay_out(cls, stretches: Stretches, *, rows: int, bptt_steps: int, pack: bool) -> "Stream":
        """Gives each stretch to the row that is free first."""
        steps = _padded(stretches.steps, bptt_steps, pack).tolist()
        free = [(0, row) for row in range(rows)]  # a heap
        owner, turn = np.empty((2, len(steps)), np.int64)
        for count, number in enumerate(_by_start(steps, rows)):
            begin, row = free[0]
            owner[number], turn[number] = row, count
            heapq.heapreplace(free, (begin + steps[number], row))
        order = np.lexsort((turn, owner))
        return cls(stretches.take(order), owner[order], rows, bptt_steps, pack)

    def shuffled(self, random: np.random.Generator) -> "Stream":
        """The same number of batches in another order.

        Each row has its stretches in a new order, and stretches of the same length change places
        with one another, in all rows.
        """
        count = len(self.stretches)
        steps = self.stretches.steps
        stands_for = np.empty(count, np.int64)
        stands_for[np.argsort(steps, kind="stable")] = np.lexsort(
            (random.permutation(count), steps)
        )
        order = np.lexsort((random.permutation(count), self.owner))
        return replace(
            self, stretches=self.stretches.take(stands_for[order]), owner=self.owner[order]
        )

    @functools.cached_property
    def begins(self) -> Numbers:
        """The timestep of its row at which each stretch begins."""
        padded = _padded(self.stretches.steps, self.bptt_steps, self.pack)
        before = np.cumsum(padded) - padded
        return before - before[np.searchsorted(self.owner, self.owner)]

    @functools.cached_property
    def longest(self) -> int:
        """Timesteps of the row that ends last."""
        return int((self.begins + self.stretches.steps).max())

    @property
    def length(self) -> int:
        """Timesteps of every row with its padding, a multiple of `bptt_steps`."""
        return self.batches * self.bptt_steps

    @functools.cached_property
    def starts(self) -> Numbers:
        """Where each stretch begins; `p` is timestep `p % length` of row `p // length`."""
        return self.owner * self.length + self.begins

    @property
    def batches(self) -> int:
        """Number of batches."""
        return -(-self.longest // self.bptt_steps)

    @functools.cached_property
    def begins_within(self) -> bool:
        """Whether a stretch can begin within a batch, in this order or another."""
        whole = not np.any(
            _padded(self.stretches.steps, self.bptt_steps, self.pack) % self.bptt_steps
        )
        return len(self.stretches) > self.rows and not whole

    def read(self, batch: int) -> tuple[Numbers, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """What a batch reads, each `(rows, bptt_steps)`.

        Returns:
            The row of the values, 0 in padding; whether there is one; whether a stretch begins.
        """
        first = np.arange(self.rows, dtype=np.int64) * self.length + batch * self.bptt_steps
        places = first[:, np.newaxis] + np.arange(self.bptt_steps)
        # A row without any stretch finds the one before it, or none, and is beyond its end.
        number = np.maximum(np.searchsorted(self.starts, places, side="right") - 1, 0)
        step = places - self.starts[number]
        used = step < self.stretches.steps[number]
        return np.where(used, self.stretches.first[number] + step, 0), used, used & (step == 0)

    def collect(
        self, by_row: npt.NDArray[np.generic], series: int
    ) -> list[npt.NDArray[np.generic]]:
        """From `(rows, length, ...)` to one array `(steps, ...)` for each of `series` series."""
        flat = by_row.reshape(-1, *by_row.shape[2:])
        parts: list[list[npt.NDArray[np.generic]]] = [[] for _ in range(series)]
        for number in np.argsort(self.stretches.first):
            start, steps = self.starts[number], self.stretches.steps[number]
            parts[self.stretches.series[number]].append(flat[start : start + steps])
        return [np.concatenate([flat[:0], *some]) for some in parts]


def _padded(steps: Numbers, bptt_steps: int, pack: bool) -> Numbers:
    """Timesteps from the begin of each stretch to where the next may begin."""
    return steps if pack else -(-steps // bptt_steps) * bptt_steps


def _by_start(steps: list[int], rows: int) -> Iterator[int]:
    """The order in which stretches start: as they come, but long ones in good time.

    One that starts late and is long keeps its row busy when the other rows have nothing left. So
    the longest goes first once it takes half of what is left for each row. Toward the end that is
    the rule of the longest processing time first (Graham 1969), which ends at most a third late.
    """
    longest = iter(sorted(range(len(steps)), key=steps.__getitem__, reverse=True))
    in_turn = iter(range(len(steps)))
    started = [False] * len(steps)
    left = sum(steps)
    long = next(longest)
    for _ in steps:
        while started[long]:
            long = next(longest)
        number = long
        if 2 * steps[long] * rows < left:
            number = next(one for one in in_turn if not started[one])
        started[number] = True
        left -= steps[number]
        yield number

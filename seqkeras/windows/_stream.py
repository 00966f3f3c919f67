"""The layout of series in the rows of stateful batches."""

import functools
import heapq
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Booleans, Integers


@dataclass(frozen=True)
class Stretches:
    """Runs of timesteps that are read without a break, each from a cleared state.

    Attributes:
        series: `(stretches,)`, the number of the series.
        first: `(stretches,)`, the row of the values at which the stretch begins.
        steps: `(stretches,)`, the number of timesteps, at least 1.
    """

    series: Integers
    first: Integers
    steps: Integers

    def __len__(self) -> int:
        return len(self.steps)

    def take(self, order: Integers) -> "Stretches":
        """Return the stretches with these numbers."""
        return Stretches(self.series[order], self.first[order], self.steps[order])


def cut(steps: int, rows: int) -> Stretches:
    """Cut one series into `rows` stretches, whose lengths differ by at most one."""
    borders = np.arange(rows + 1, dtype=np.int64) * steps // rows
    return Stretches(np.zeros(rows, np.int64), borders[:-1], np.diff(borders))


@dataclass(frozen=True)
class Stream:
    """Stretches laid out in rows, one after the other.

    Attributes:
        stretches: the stretches of the first row, then those of the second, and so on, each row in
            the order of time.
        owner: `(stretches,)`, the row that reads each stretch.
        rows: rows of a batch.
        bptt_steps: timesteps of a batch.
        pack: whether a stretch begins right after the previous stretch of its row. False: it begins
            with the next batch.
    """

    stretches: Stretches
    owner: Integers
    rows: int
    bptt_steps: int
    pack: bool

    @classmethod
    def lay_out(cls, stretches: Stretches, *, rows: int, bptt_steps: int, pack: bool) -> "Stream":
        """Assign each stretch to the row that is free first."""
        steps = _padded(stretches.steps, bptt_steps, pack).tolist()
        # A heap of (first free timestep, row). Rows beyond the number of stretches stay empty.
        free = [(0, row) for row in range(min(rows, len(stretches)))]
        owner = np.empty(len(steps), np.int64)
        turn = np.empty(len(steps), np.int64)
        for count, number in enumerate(_by_start(steps, rows)):
            begin, row = free[0]
            owner[number] = row
            turn[number] = count
            heapq.heapreplace(free, (begin + steps[number], row))
        order = np.lexsort((turn, owner))
        return cls(stretches.take(order), owner[order], rows, bptt_steps, pack)

    def shuffled(self, random: np.random.Generator) -> "Stream":
        """Draw another order with the same number of batches.

        Each row gets its stretches in a new order, and stretches of the same length are exchanged
        at random, even between rows.
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
    def begins(self) -> Integers:
        """Return the timestep at which each stretch begins in its row, `(stretches,)`."""
        padded = _padded(self.stretches.steps, self.bptt_steps, self.pack)
        before = np.cumsum(padded) - padded
        return before - before[np.searchsorted(self.owner, self.owner)]

    @functools.cached_property
    def longest(self) -> int:
        """Timesteps of the row that ends last."""
        return int((self.begins + self.stretches.steps).max())

    @functools.cached_property
    def filled(self) -> int:
        """Number of rows of all batches whose last timestep is not padding."""
        ends = self.begins + self.stretches.steps
        return int((ends // self.bptt_steps - self.begins // self.bptt_steps).sum())

    @property
    def length(self) -> int:
        """Timesteps of every row with its padding, a multiple of `bptt_steps`."""
        return self.batches * self.bptt_steps

    @functools.cached_property
    def starts(self) -> Integers:
        """Return the flat position of each start, `row * length + timestep`, `(stretches,)`."""
        return self.owner * self.length + self.begins

    @property
    def batches(self) -> int:
        """Number of batches."""
        return -(-self.longest // self.bptt_steps)

    @functools.cached_property
    def begins_within(self) -> bool:
        """Return whether a stretch can begin in the middle of a batch, in any shuffled order."""
        padded = _padded(self.stretches.steps, self.bptt_steps, self.pack)
        return len(self.stretches) > self.rows and bool(np.any(padded % self.bptt_steps))

    def read(self, batch: int) -> tuple[Integers, Booleans, Booleans]:
        """Locate the timesteps of a batch.

        Returns:
            Three arrays `(rows, bptt_steps)`: the row of the values to read, 0 for padding; whether
            the timestep is used, so not padding; whether a stretch begins there.
        """
        begin = operator.index(batch) * self.bptt_steps
        first = np.arange(self.rows, dtype=np.int64) * self.length + begin
        position = first[:, np.newaxis] + np.arange(self.bptt_steps)
        # In padding and in rows without stretches, the search finds an earlier stretch, which ends
        # before the position, so `used` is False.
        number = np.maximum(np.searchsorted(self.starts, position, side="right") - 1, 0)
        step = position - self.starts[number]
        used = step < self.stretches.steps[number]
        return np.where(used, self.stretches.first[number] + step, 0), used, used & (step == 0)

    def collect(
        self, by_row: npt.NDArray[np.generic], series: int
    ) -> list[npt.NDArray[np.generic]]:
        """Split `(rows, length, ...)` into an array `(steps, ...)` for each of `series` series."""
        flat = by_row.reshape(-1, *by_row.shape[2:])
        parts: list[list[npt.NDArray[np.generic]]] = [[] for _ in range(series)]
        for number in np.argsort(self.stretches.first):
            start = self.starts[number]
            run = flat[start : start + self.stretches.steps[number]]
            parts[self.stretches.series[number]].append(run)
        return [np.concatenate([flat[:0], *runs]) for runs in parts]


def _padded(steps: Integers, bptt_steps: int, pack: bool) -> Integers:
    """Return the timesteps from the start of each stretch to where the next one may start."""
    return steps if pack else -(-steps // bptt_steps) * bptt_steps


def _by_start(steps: list[int], rows: int) -> Iterator[int]:
    """Yield the order in which stretches start: as given, but long ones early enough.

    A long stretch that starts late keeps its row busy after the other rows have run out. So the
    longest remaining stretch goes next as soon as it takes half of the timesteps left for each row.
    Toward the end this is the rule "longest processing time first" (Graham 1969), which takes at
    most a third longer than the best order.
    """
    longest = iter(sorted(range(len(steps)), key=steps.__getitem__, reverse=True))
    in_turn = iter(range(len(steps)))
    started = [False] * len(steps)
    remaining = sum(steps)
    long = next(longest)
    for _ in steps:
        while started[long]:
            long = next(longest)
        number = long
        if 2 * steps[long] * rows < remaining:
            number = next(candidate for candidate in in_turn if not started[candidate])
        started[number] = True
        remaining -= steps[number]
        yield number

"""Sessions in memory: rows of a few large arrays, so that many of them step at once."""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras.runtime._cell_steps import State
from seqkeras.serve._served_model import ServedModel

#: Number of rows whose fast step is prepared; each takes about a kilobyte.
PREPARED_ROWS = 4_096


class Slots:
    """Up to `capacity` sessions, in the order of their last use.

    Memory is reserved at once but only used by the rows that were written.

    Args:
        model: decides the shapes of states, inputs and outputs.
        capacity: most sessions.
        history: number of newest inputs to keep for each session.

    Attributes:
        states: the arrays of the state, `(capacity, ...)`.
        counts: observations that each session has read.
        seen: time of the last request, in seconds since 1970.
        outputs: the newest output, `(capacity, outputs)`.
        recent: number of outputs of the last request.
        longer: all outputs of the last request, for sessions where these are several.
        inputs: the newest inputs, `(capacity, history, width)`; that of observation `i` is in
            column `i % history`.
        first: number of the first observation of each session whose input was stored; a session
            that was imported, or had no history before, was not read from its beginning.
        count_of, seen_of, recent_of: `counts`, `seen` and `recent`, to read or set one number.
        versions: what a shared store calls its copy.
        row_step: the fast step of the model, or None.
    """

    def __init__(self, model: ServedModel, capacity: int, history: int) -> None:
        self.capacity = capacity
        self.history = history
        self.states: State = tuple(
            np.zeros((capacity, *shape), dtype) for shape, dtype in model.states
        )
        self.counts = np.zeros(capacity, np.int64)
        self.seen = np.zeros(capacity, np.float64)
        self.outputs = np.zeros((capacity, model.outputs), model.output_dtype)
        self.recent = np.zeros(capacity, np.int32)
        self.longer: dict[int, Array] = {}
        self.inputs = np.zeros((capacity, history, model.width), model.input_dtype)
        self.first = np.zeros(capacity, np.int64)
        # A memoryview reads or sets one number in a third of the time that an array needs.
        self.count_of: Any = self.counts.data
        self.seen_of: Any = self.seen.data
        self.recent_of: Any = self.recent.data
        self.versions: dict[int, bytes] = {}
        self.row_step = model.row_step
        self._movers: dict[int, Callable[[], Array]] = {}
        self._rows: OrderedDict[str, int] = OrderedDict()
        self._free: list[int] = []
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def find(self, key: str) -> int | None:
        """Return the row of a session and mark it as used, or None if it is not here."""
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
        return row

    def find_all(self, keys: Sequence[str]) -> Array | None:
        """Return the rows of sessions and mark them as used, or None if one is not here."""
        try:
            rows = list(map(self._rows.__getitem__, keys))
        except KeyError:
            return None
        deque(map(self._rows.move_to_end, keys), maxlen=0)  # calls it for each
        return np.fromiter(rows, np.intp, len(rows))

    def peek(self, key: str) -> int | None:
        """Return the row of a session without marking it as used."""
        return self._rows.get(key)

    def newest_first(self) -> Sequence[str]:
        """Return the keys, the last used ones first."""
        return list(reversed(self._rows))

    def add(self, key: str) -> int:
        """Return a row for a new session, in place of the one not used for longest if full."""
        if self._free:
            row = self._free.pop()
        elif len(self._rows) < self.capacity:
            row = len(self._rows)
        else:
            _, row = self._rows.popitem(last=False)
            self._forget(row)
            self.evicted += 1
        self._rows[key] = row
        return row

    def remove(self, key: str) -> bool:
        """Remove a session, and return whether it was here."""
        row = self._rows.pop(key, None)
        if row is None:
            return False
        self._forget(row)
        self._free.append(row)
        return True

    def mover(self, row: int) -> Callable[[], Array]:
        """Return the function of the model's `row_step` that moves a row."""
        move = self._movers.get(row)
        if move is None:
            step: Any = self.row_step
            if len(self._movers) == PREPARED_ROWS:
                self._movers.clear()
            move = step.bind(tuple(array[row : row + 1] for array in self.states))
            self._movers[row] = move
        return move

    def state(self, rows: Any) -> State:
        """Return copies of the states of some rows."""
        return tuple(array.take(rows, axis=0) for array in self.states)

    def put(self, rows: Any, state: State) -> None:
        """Set the states of some rows."""
        for array, part in zip(self.states, state, strict=True):
            array[rows] = part

    def last_outputs(self, row: int) -> Array:
        """Return the outputs of the last request of a session, `(recent, outputs)`."""
        recent = int(self.recent[row])
        return self.longer.get(row, self.outputs[row : row + 1])[:recent]

    def newest_inputs(self, row: int) -> Array:
        """Return the stored inputs of a session, oldest first."""
        count = int(self.counts[row])
        stored = min(count - int(self.first[row]), self.history)
        return self.inputs[row, np.arange(count - stored, count) % max(self.history, 1)]

    def expired(self, before: float) -> list[str]:
        """Return the keys of sessions not used since a time.

        They are in the order of their last use, so only these are looked at.
        """
        seen = self.seen_of
        return list(takewhile(lambda key: seen[self._rows[key]] < before, self._rows))

    def _forget(self, row: int) -> None:
        self.recent[row] = 0
        self.counts[row] = 0
        self.first[row] = 0
        self.longer.pop(row, None)
        self.versions.pop(row, None)

"""Timestamps and calendar features of series that advance step by step."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqkeras._arrays import Floats, Integers
from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar, from_integers

#: Timestamps are generated in blocks, because generating each by itself is slow.
BLOCK = 256
#: Blocks in the cache; it is emptied when it is full.
MAX_BLOCKS = 1024


@dataclass(frozen=True)
class Clock:
    """Timestamps and calendar features at a number of steps after a first timestamp.

    First timestamps are passed as integers, see `from_integers`.

    Attributes:
        calendar: which timestamps follow each other.
        dtype: the dtype of the timestamps.
        names: the names of the calendar features.
    """

    calendar: Calendar
    dtype: str
    names: tuple[str, ...]
    _blocks: dict[tuple[int, int, int], Floats] = field(default_factory=dict, repr=False)

    def timestamps(self, begin: Integers, count: Integers) -> Any:
        """Return the timestamps `count[i]` steps after `begin[i]`, as a pandas index."""
        return self.calendar.shift(from_integers(begin, self.dtype), count)

    def features(self, begin: Integers, count: Integers, steps: int) -> Floats:
        """Return calendar features of the `steps` timesteps after `timestamps(begin, count)`.

        Returns:
            `(series, steps, features)`.
        """
        if not self.names:
            return np.empty((len(begin), steps, 0))
        places = list(zip(begin.tolist(), count.tolist(), strict=True))
        features = {place: self._after(*place, steps) for place in set(places)}
        return np.stack([features[place] for place in places])

    def _after(self, begin: int, count: int, steps: int) -> Floats:
        block, first = divmod(count, BLOCK)
        key = (begin, block, steps)
        if key not in self._blocks:
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()
            start = from_integers(np.array([begin]), self.dtype)
            times = self.calendar.span(start, block * BLOCK + 1, (block + 1) * BLOCK + steps)
            self._blocks[key] = _calendar_features.encode(self.names, times, self.calendar)
        return self._blocks[key][first : first + steps]

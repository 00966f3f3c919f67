"""The stamps of series that are counted on, step by step, and what the calendar says of them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar, from_integers

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Stamps that are made at once, for they are costly one by one.
BLOCK = 256
MOST_BLOCKS = 1024


@dataclass(frozen=True)
class Clock:
    """Counts stamps on, without making them: a stamp is where its series began, and a count.

    Attributes:
        calendar: which stamps follow each other.
        dtype: of the stamps.
        names: of the calendar features.
    """

    calendar: Calendar
    dtype: str
    names: tuple[str, ...]
    _blocks: dict[tuple[int, int, int], Floats] = field(default_factory=dict, repr=False)

    def stamps(self, begin: Integers, count: Integers) -> Any:
        """The stamps `count[i]` steps after `begin[i]`, as a pandas index."""
        return self.calendar.shift(from_integers(begin, self.dtype), count)

    def features(self, begin: Integers, count: Integers, steps: int) -> Floats:
        """Calendar features of the `steps` timesteps after each, `(series, steps, features)`."""
        if not self.names:
            return np.empty((len(begin), steps, 0))
        places = list(zip(begin.tolist(), count.tolist(), strict=True))
        found = {place: self._after(*place, steps) for place in set(places)}
        return np.stack([found[place] for place in places])

    def _after(self, begin: int, count: int, steps: int) -> Floats:
        number, first = divmod(count, BLOCK)
        key = begin, number, steps
        if key not in self._blocks:
            if len(self._blocks) >= MOST_BLOCKS:
                self._blocks.clear()
            start = from_integers(np.array([begin]), self.dtype)
            span = number * BLOCK + 1, (number + 1) * BLOCK + steps
            self._blocks[key] = _calendar_features.encode(
                self.names, self.calendar.span(start, *span), self.calendar
            )
        return self._blocks[key][first : first + steps]

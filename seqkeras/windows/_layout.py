"""The position of each window: its series and its first row."""

from typing import NamedTuple

import numpy as np

from seqkeras._arrays import Integers
from seqkeras.windows._spec import WindowSpec


class WindowIndex(NamedTuple):
    """The positions of the windows of a batch, passed to functions for targets and weights.

    Attributes:
        window: `(batch,)`, the number of each window, counted over all series.
        series: `(batch,)`, the number of the window's series.
        start: `(batch,)`, the first row of the window, counted from the start of its series.
        row: `(batch,)`, the first row of the window in the array of all series.

    Example:
        >>> labels = np.array([0.0, 1.0])  # one for each series
        >>> index = WindowIndex(np.arange(3), np.array([0, 0, 1]), np.arange(3), np.arange(3))
        >>> labels[index.series].tolist()
        [0.0, 0.0, 1.0]
    """

    window: Integers
    series: Integers
    start: Integers
    row: Integers


class WindowLayout:
    """All windows of some series, numbered one series after the other.

    Args:
        indptr: `(series + 1,)`, the rows where the series begin and end.
        spec: the shape of a window.

    Attributes:
        count: number of windows.
        counts: `(series,)`, number of windows of each series.
        skipped: `(series,)`, True for series that have rows, but too few for a window.
        unused_rows: number of rows after the last window of a series, or in a series without one.
    """

    def __init__(self, indptr: Integers, spec: WindowSpec) -> None:
        lengths = np.diff(indptr)
        self.indptr = indptr
        self._spec = spec
        self.counts = spec.counts(lengths)
        self.count = int(self.counts.sum())
        self.skipped = (self.counts == 0) & (lengths > 0)
        used = np.where(self.counts, spec.start(self.counts - 1) + spec.rows, 0)
        self.unused_rows = int((lengths - used).sum())
        self._last_window = np.cumsum(self.counts)
        self._first_window = self._last_window - self.counts

    def __call__(self, windows: Integers) -> WindowIndex:
        """Locate the windows with these numbers, which must exist."""
        if len(self.counts) == 1:
            start = windows * self._spec.stride
            return WindowIndex(windows, np.zeros(len(windows), np.int64), start, start)
        series = np.searchsorted(self._last_window, windows, side="right")
        start = (windows - self._first_window[series]) * self._spec.stride
        return WindowIndex(windows, series, start, self.indptr[series] + start)

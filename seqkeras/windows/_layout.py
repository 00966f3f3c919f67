"""Where each window lies: in which series, and from which row on."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras.windows._spec import WindowSpec

Numbers = npt.NDArray[np.int64]


class WindowIndex(NamedTuple):
    """Which windows a batch is made of: what a function for targets or weights is given.

    Attributes:
        window: `(batch,)`, the number of each window, counted over all series.
        series: `(batch,)`, the number of its series.
        start: `(batch,)`, its first row, counted from the start of its series.
        row: `(batch,)`, its first row in the array of all series.

    Example:
        >>> labels = np.array([0.0, 1.0])  # one for each series
        >>> index = WindowIndex(np.arange(3), np.array([0, 0, 1]), np.arange(3), np.arange(3))
        >>> labels[index.series].tolist()
        [0.0, 0.0, 1.0]
    """

    window: Numbers
    series: Numbers
    start: Numbers
    row: Numbers


class Layout:
    """All windows of some series, numbered from series to series.

    Args:
        indptr: `(series + 1,)`, the rows where the series begin and end.
        spec: the shape of a window.

    Attributes:
        count: number of windows.
        counts: `(series,)`, of each series.
        skipped: `(series,)`, True for series that have rows, but too few for a window.
        unused_rows: rows that lie behind the last window of their series, or in a series that
            has none.
    """

    def __init__(self, indptr: Numbers, spec: WindowSpec) -> None:
        lengths = np.diff(indptr)
        self.indptr = indptr
        self._spec = spec
        self.counts = spec.counts(lengths)
        self.count = int(self.counts.sum())
        self.skipped = (self.counts == 0) & (lengths > 0)
        read = spec.start(self.counts - 1) + spec.rows
        self.unused_rows = int((lengths - np.where(self.counts, read, 0)).sum())
        self._last_window = np.cumsum(self.counts)
        self._first_window = self._last_window - self.counts

    def __call__(self, windows: Numbers) -> WindowIndex:
        """Where the windows with these numbers lie, which are numbers of windows."""
        if len(self.counts) == 1:
            start = windows * self._spec.stride
            return WindowIndex(windows, np.zeros(len(windows), np.int64), start, start)
        series = np.searchsorted(self._last_window, windows, side="right")
        start = (windows - self._first_window[series]) * self._spec.stride
        return WindowIndex(windows, series, start, self.indptr[series] + start)

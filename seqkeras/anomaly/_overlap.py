"""From the errors of overlapping windows to one error for each timestep."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Floats, Integers
from seqkeras._checks import Description, bad_argument, check_integer, check_one_of
from seqkeras.anomaly._piece import Piece
from seqkeras.anomaly._score_rows import as_floats

STATISTICS = ("mean", "median", "max", "last")
#: Cells of the largest array that a median needs at a time.
_CHUNK = 2**21


@dataclass(eq=False)
class Overlap(Piece):
    """Combine the errors that overlapping windows give the same timestep.

    Args:
        statistic: `"mean"`, `"median"` or `"max"` over all windows that cover the timestep, which
            therefore also depends on the timesteps after it, or `"last"`: the error at the end of
            the window that ends at the timestep, which depends only on the past (causal).

    Example:
        >>> errors = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
        >>> Overlap("mean").combine(errors, starts=[0, 1], timesteps=5)
        array([ 1.,  3.,  4.,  6., nan])
        >>> Overlap("last").combine(errors, starts=[0, 1], timesteps=5)
        array([nan, nan,  3.,  6., nan])
    """

    statistic: str = "mean"

    @property
    def causal(self) -> bool:
        """Whether the error of a timestep depends only on the past, with a stride of 1."""
        return self.statistic == "last"

    def combine(self, errors: npt.ArrayLike, starts: npt.ArrayLike, timesteps: int) -> Floats:
        """Compute the error of each timestep.

        Args:
            errors: `(windows, lookback)`. NaN are left out (`"last"` returns them).
            starts: `(windows,)`, the timestep where each window begins, increasing. Windows may
                begin before timestep 0 or end after the last one, as padded windows do; what is
                outside is dropped.
            timesteps: length of the series.

        Returns:
            `(timesteps,)`; NaN where no window has an error. Every timestep that a window covers
            has a value, except with `"last"`: it has none before the end of the first window,
            because a window that ends later has seen the future. If windows are several timesteps
            apart, `"last"` reads the newest timesteps of each window, so a timestep waits for the
            end of its window, for less than the distance of windows.

        Raises:
            ArgumentError: the statistic is unknown, shapes do not fit, or starts do not increase.

        Memory:
            `"mean"`, `"max"` and `"last"` need a few arrays of `(timesteps,)` beside the errors,
            `"median"` also about 50 MB.
        """
        check_one_of("statistic", self.statistic, STATISTICS)
        windows, begins = _checked(errors, starts)
        timesteps = check_integer("timesteps", timesteps, minimum=0)
        combine = {"mean": _mean, "median": _median, "max": _max, "last": _last}
        return combine[self.statistic](windows, begins, timesteps)


def _checked(errors: npt.ArrayLike, starts: npt.ArrayLike) -> tuple[Array, Integers]:
    windows = np.asarray(errors)
    if windows.dtype.kind != "f":
        windows = as_floats("errors", errors)
    begins = np.asarray(starts)
    if windows.ndim != 2 or not windows.shape[1]:
        actual = Description(f"shape {windows.shape}")
        raise bad_argument("errors", actual, "of shape (windows, lookback)")
    if begins.shape != (len(windows),) or (begins.size and begins.dtype.kind not in "iu"):
        actual = Description(f"{begins.dtype}, shape {begins.shape}")
        raise bad_argument("starts", actual, f"integers of shape ({len(windows)},)")
    begins = begins.astype(np.int64)
    if (np.diff(begins) <= 0).any():
        raise bad_argument("starts", Description("starts out of order, or repeated"), "increasing")
    return windows, begins


def _mean(windows: Array, starts: Integers, timesteps: int) -> Floats:
    total = np.zeros(timesteps)
    count = np.zeros(timesteps)
    for rows, errors in _columns(windows, starts, timesteps):
        known = ~np.isnan(errors)
        # Starts differ, so no row occurs twice in a column.
        total[rows] += np.where(known, errors, 0.0)
        count[rows] += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _max(windows: Array, starts: Integers, timesteps: int) -> Floats:
    largest = np.full(timesteps, np.nan)
    for rows, errors in _columns(windows, starts, timesteps):
        largest[rows] = np.fmax(largest[rows], errors)
    return largest


def _columns(windows: Array, starts: Integers, timesteps: int) -> Iterator[tuple[Integers, Array]]:
    """Yield, for each position in a window, the timesteps inside the series and their errors."""
    for position in range(windows.shape[1]):
        rows = starts + position
        first, end = np.searchsorted(rows, (0, timesteps))
        yield rows[first:end], windows[first:end, position]


def _median(windows: Array, starts: Integers, timesteps: int) -> Floats:
    result = np.full(timesteps, np.nan)
    lookback = windows.shape[1]
    size = max(1, _CHUNK // lookback)
    for begin in range(0, timesteps, size):
        rows = np.arange(begin, min(timesteps, begin + size))
        first = np.searchsorted(starts, rows - lookback, side="right")
        end = np.searchsorted(starts, rows, side="right")
        most = int((end - first).max())
        if not most:
            continue
        numbers = first[:, np.newaxis] + np.arange(most)
        inside = numbers < end[:, np.newaxis]
        numbers = np.minimum(numbers, len(starts) - 1)
        positions = np.where(inside, rows[:, np.newaxis] - starts[numbers], 0)
        result[rows] = _row_medians(np.where(inside, windows[numbers, positions], np.nan))
    return result


def _row_medians(values: Array) -> Floats:
    """Return the median of the known values of each row; much faster than `np.nanmedian`."""
    ordered = np.sort(values, axis=1)  # NaN come last
    counts = (~np.isnan(ordered)).sum(axis=1)
    row = np.arange(len(ordered))
    low = ordered[row, np.maximum(counts - 1, 0) // 2]
    high = ordered[row, np.minimum(counts // 2, ordered.shape[1] - 1)]
    return np.where(counts > 0, (low + high) / 2, np.nan)


def _last(windows: Array, starts: Integers, timesteps: int) -> Floats:
    result = np.full(timesteps, np.nan)
    if not len(starts):
        return result
    lookback = windows.shape[1]
    stride = int(np.diff(starts).min()) if len(starts) > 1 else 1
    rows = np.arange(timesteps)
    ends = starts + lookback - 1
    number = np.searchsorted(ends, rows)  # the first window that ends at the timestep or later
    number = np.minimum(number, len(ends) - 1)
    wait = ends[number] - rows
    # The first window is new only at its end.
    limit = np.where(number == 0, 1, min(stride, lookback))
    ready = (wait >= 0) & (wait < limit)
    result[ready] = windows[number[ready], lookback - 1 - wait[ready]]
    return result

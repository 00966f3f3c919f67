"""Many series in one array."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Floats, Integers, positions, without_mask
from seqkeras._checks import bad_argument
from seqkeras.windows._numbers import check_position, whole_numbers


class GroupedArray:
    """Series of different lengths, one after the other in one array.

    Series `i` is `values[indptr[i]:indptr[i + 1]]`, a view.

    Args:
        values: `(rows,)` or `(rows, features)`, all series one after the other. They are not
            copied, except for a masked array, in which NaN replaces the masked values.
        indptr: `(series + 1,)` integers that start at 0, never decrease and end at `rows`.

    Raises:
        ArgumentError: `indptr` does not fit `values`.

    Example:
        >>> series = GroupedArray.from_series([[1.0, 2.0, 3.0], [4.0, 5.0]])
        >>> len(series), series.lengths.tolist(), series[1].tolist()
        (2, [3, 2], [4.0, 5.0])
    """

    def __init__(self, values: npt.ArrayLike, indptr: npt.ArrayLike) -> None:
        self.values = _array("values", values)
        bounds = np.asarray(indptr)
        if bounds.ndim != 1 or not len(bounds) or not np.issubdtype(bounds.dtype, np.integer):
            raise bad_argument("indptr", indptr, "a non-empty one-dimensional array of integers")
        self.indptr: Integers = bounds.astype(np.int64)
        if not self.values.ndim:
            raise bad_argument("values", values, "an array of shape (rows,) or (rows, features)")
        rows = len(self.values)
        rising = bool(np.all(np.diff(self.indptr) >= 0))
        if not rising or self.indptr[0] != 0 or self.indptr[-1] != rows:
            expected = (
                f"integers that start at 0, never decrease and end at the {rows} rows of values"
            )
            raise bad_argument("indptr", indptr, expected)

    @classmethod
    def from_series(cls, series: Iterable[npt.ArrayLike]) -> "GroupedArray":
        """Join arrays of shape `(rows,)` or `(rows, features)` into one."""
        arrays = [
            np.asarray(_array(f"series[{number}]", values)) for number, values in enumerate(series)
        ]
        if not arrays:
            raise bad_argument("series", arrays, "one array or more")
        if len({array.shape[1:] for array in arrays}) > 1 or not all(a.ndim for a in arrays):
            shapes = [array.shape for array in arrays[:5]]
            raise bad_argument("series", shapes, "arrays that differ only in their first axis")
        return cls(np.concatenate(arrays), np.cumsum([0, *map(len, arrays)]))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, index: int) -> npt.NDArray[np.generic]:
        index = check_position("series", index, len(self)) % len(self)
        return self.values[self.indptr[index] : self.indptr[index + 1]]

    def __iter__(self) -> Iterator[npt.NDArray[np.generic]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"GroupedArray({len(self)} series, {len(self.values)} rows, {self.values.dtype})"

    @property
    def lengths(self) -> Integers:
        """Number of rows of each series, `(series,)`."""
        return np.diff(self.indptr)

    def extremes(self) -> tuple[Floats, Floats]:
        """Return the smallest and the largest value of each series, each `(series, ...)`.

        Missing values do not count; an all-NaN series gives NaN. Every series must have at least
        one row (not checked).
        """
        starts = self.indptr[:-1]
        lowest = np.fmin.reduceat(self.values, starts, axis=0)
        highest = np.fmax.reduceat(self.values, starts, axis=0)
        return lowest.astype(np.float64), highest.astype(np.float64)

    def select(self, start: npt.ArrayLike, stop: npt.ArrayLike) -> "GroupedArray":
        """Copy rows `start[i]:stop[i]` of each series `i` into a new `GroupedArray`.

        Raises:
            ArgumentError: a range is not inside its series.
        """
        starts = np.broadcast_to(whole_numbers("start", start), len(self))
        stops = np.broadcast_to(whole_numbers("stop", stop), len(self))
        if np.any(starts < 0) or np.any(starts > stops) or np.any(stops > self.lengths):
            raise bad_argument("start, stop", (start, stop), "ranges inside each series")
        return self._rows(self.indptr[:-1] + starts, self.indptr[:-1] + stops)

    def take(self, series: npt.ArrayLike) -> "GroupedArray":
        """Copy the selected series into a new `GroupedArray`.

        Args:
            series: indices of the series, or a boolean for each series.

        Raises:
            ArgumentError: `series` is neither integer indices nor one boolean per series.
            IndexError: an index is out of range.
        """
        chosen = np.arange(len(self))[whole_numbers("series", series, mask_length=len(self))]
        return self._rows(self.indptr[:-1][chosen], self.indptr[1:][chosen])

    def _rows(self, starts: Integers, stops: Integers) -> "GroupedArray":
        lengths = stops - starts
        rows = np.repeat(starts, lengths) + positions(lengths)
        return GroupedArray(self.values[rows], np.concatenate([[0], np.cumsum(lengths)]))


def _array(name: str, values: npt.ArrayLike) -> Array:
    try:
        return np.asanyarray(without_mask(values))
    except ValueError as error:
        expected = "an array of shape (rows,) or (rows, features)"
        raise bad_argument(name, type(values).__name__, expected) from error

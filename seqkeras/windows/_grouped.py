"""Many series in one array."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Floats, Integers, without_mask
from seqkeras._checks import bad_argument
from seqkeras.windows._numbers import check_position, whole_numbers

#: Numbers that are computed at once. Memory for intermediate results does not grow with the series.
BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class Block:
    """Neighboring rows that are computed at once: some series, or a part of a long one.

    A long series is cut at multiples of `BLOCK` from its own first row. So what is computed for a
    series does not depend on the others.

    Attributes:
        series: the range of the series.
        rows: the range of the rows, in the array of all series.
        starts: where the series begin, from the first row of the block.
    """

    series: slice
    rows: slice
    starts: Integers

    def repeat(self, per_series: Array) -> Array:
        """Return for each row of the block the entry of its series."""
        lengths = np.diff(self.starts, append=self.rows.stop - self.rows.start)
        return np.repeat(per_series[self.series], lengths, axis=0)


#: Computes something of each row of a block from the rows and the block.
OfBlock = Callable[[Array, Block], Array]


def cut(indptr: Integers, numbers: int = 1) -> Iterator[Block]:
    """Cut series into blocks, between series where possible.

    Args:
        indptr: where the series begin and end.
        numbers: numbers in each row.
    """
    most = max(1, BLOCK // max(1, numbers))
    first = 0
    while first < len(indptr) - 1:
        start = int(indptr[first])
        last = int(np.searchsorted(indptr, start + most, side="right")) - 1
        if last > first:
            rows = slice(start, int(indptr[last]))
            yield Block(slice(first, last), rows, indptr[first:last] - start)
        else:
            last = first + 1
            stop = int(indptr[last])
            for row in range(start, stop, most):
                rows = slice(row, min(row + most, stop))
                yield Block(slice(first, last), rows, np.zeros(1, np.int64))
        first = last


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
        lowest, highest = self.reduced(np.fmin), self.reduced(np.fmax)
        return lowest.astype(np.float64), highest.astype(np.float64)

    def blocks(self) -> Iterator[Block]:
        """Cut the series into blocks."""
        return cut(self.indptr, self.values[:1].size)

    def reduced(
        self, ufunc: np.ufunc, of: OfBlock = lambda values, block: values, **options: Any
    ) -> Array:
        """Reduce each series to one entry, `(series, ...)`.

        Args:
            ufunc: joins two entries, such as `np.add`.
            of: what is reduced, computed from the rows of a block. Default: the rows.
            **options: options of `ufunc.reduceat`.
        """
        result = np.empty(0)
        done = 0
        for block in self.blocks():
            entries = of(self.values[block.rows], block)
            reduced = ufunc.reduceat(entries, block.starts, axis=0, **options)
            if not done:
                result = np.empty((len(self), *reduced.shape[1:]), reduced.dtype)
            if done > block.series.start:  # further rows of a long series
                reduced = ufunc(result[block.series], reduced)
            result[block.series] = reduced
            done = block.series.stop
            self.release()
        return result

    def transformed(self, of: OfBlock) -> "GroupedArray":
        """Return series of the same lengths, whose rows are computed from the rows of blocks."""
        return self._like(
            (of(self.values[block.rows], block) for block in self.blocks()), self.indptr
        )

    def with_bounds(self, indptr: npt.ArrayLike) -> "GroupedArray":
        """Return the same rows with other bounds of series."""
        return GroupedArray(self.values, indptr)

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
        indptr = np.concatenate([[0], np.cumsum(stops - starts)])
        moved = starts - indptr[:-1]

        def parts() -> Iterator[Array]:
            for block in cut(indptr, self.values[:1].size):
                rows = np.arange(block.rows.start, block.rows.stop)
                yield self.values[rows + block.repeat(moved)]

        return self._like(parts(), indptr)

    def _like(self, parts: Iterable[Array], indptr: Integers) -> "GroupedArray":
        """Return series of neighboring rows, stored as these are: here in memory."""
        values = self.values[:0]
        row = 0
        for number, part in enumerate(parts):
            if not number:
                values = np.empty((indptr[-1], *part.shape[1:]), part.dtype)
            values[row : row + len(part)] = part
            row += len(part)
        return GroupedArray(values, indptr)

    def release(self) -> None:
        """Release the memory that reading has taken, if the values are in a file."""


def _array(name: str, values: npt.ArrayLike) -> Array:
    try:
        return np.asanyarray(without_mask(values))
    except ValueError as error:
        expected = "an array of shape (rows,) or (rows, features)"
        raise bad_argument(name, type(values).__name__, expected) from error

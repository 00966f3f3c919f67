"""Readers of the arrays that a batch is made of."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from seqkeras._arrays import Floats32, Integers, without_mask
from seqkeras._checks import Description, bad_argument
from seqkeras.windows._grouped import GroupedArray
from seqkeras.windows._layout import WindowIndex
from seqkeras.windows._missing import first_unusable, unusable
from seqkeras.windows._sources import Source, open_source


def series_bounds(arguments: Iterable[object]) -> Integers | None:
    """Return the `indptr` of the first `GroupedArray`; None without one, for a single series."""
    for value in arguments:
        if isinstance(value, GroupedArray):
            return value.indptr
    return None


def open_rows(
    label: str,
    value: object,
    bounds: Integers | None,
    *,
    nan_allowed: bool,
    beside: str = "values",
) -> tuple[Source, Integers]:
    """Open an argument with one row for each row of the values.

    Args:
        label: the name of the argument, for errors.
        value: an array, a `GroupedArray`, a memory map or Arrow data.
        bounds: where the series begin and end, `(series + 1,)`. None: all rows are one series.
        nan_allowed: whether values may be missing.
        beside: the name of the argument with the rows that these are read beside, for errors.

    Returns:
        The source of the rows, and the bounds of the series.

    Raises:
        ArgumentError: the lengths of the series, or the number of rows, differ from those of the
            values.
        DataError: a number in memory cannot be used.
    """
    if isinstance(value, GroupedArray):
        if bounds is None or not np.array_equal(value.indptr, bounds):
            expected = f"series of the same lengths as those of {beside}="
            fix = _difference({beside: bounds, label: value.indptr}) if bounds is not None else ""
            raise bad_argument(label, value, expected, fix)
        value = value.values
    starts = bounds[:-1] if bounds is not None else np.zeros(1, np.int64)
    locate = partial(_locate, starts)
    source = open_source(label, value, nan_allowed=nan_allowed, locate=locate)
    if bounds is None:
        bounds = np.array([0, source.shape[0]])
    if source.shape[0] != bounds[-1]:
        expected = f"one row for each of the {bounds[-1]} rows of {beside}"
        raise bad_argument(label, source.shape, expected)
    source.check_all(starts)
    return source, bounds


def _difference(bounds: dict[str, Integers]) -> str:
    """Return the first difference between the series of two arguments, given by their names."""
    (first, of_first), (second, of_second) = ((name, np.diff(b)) for name, b in bounds.items())
    if len(of_first) != len(of_second):
        return f"There are {len(of_first)} series in {first}, and {len(of_second)} in {second}."
    number = int(np.flatnonzero(of_first != of_second)[0])
    rows, others = of_first[number], of_second[number]
    return f"Series {number} has {rows} rows in {first}, and {others} in {second}."


def open_series(label: str, value: object, series: int, *, nan_allowed: bool) -> Source:
    """Open an argument with one row for each series.

    Raises:
        ArgumentError: the number of rows is not `series`.
        DataError: a number in memory cannot be used.
    """
    expected = f"one row for each of the {series} series"
    if isinstance(value, GroupedArray):
        raise bad_argument(label, value, expected)
    source = open_source(label, value, nan_allowed=nan_allowed, locate="series {}".format)
    if source.shape[0] != series:
        raise bad_argument(label, source.shape, expected)
    source.check_all(np.zeros(1, np.int64))
    return source


class RowReader:
    """Reads rows of each window, `(batch, timesteps)` or `(batch, timesteps, features)`.

    Args:
        source: the rows to read from.
        timesteps: number of rows to read for each window.
        offset: number of rows from the first row of a window to the first row that is read.
        sampling_rate: number of rows between neighboring rows that are read.

    Raises:
        DataError: when called, if the rows are in a file: the file has changed, or a number cannot
            be used.
    """

    def __init__(
        self, source: Source, timesteps: int, *, offset: int = 0, sampling_rate: int = 1
    ) -> None:
        self.may_miss = source.may_miss
        self._source = source
        self._offset = offset
        self._sampling_rate = sampling_rate
        self._read = source.windows(timesteps, sampling_rate)

    def __call__(self, index: WindowIndex) -> Floats32:
        return self.at(index.row + self._offset)

    def at(self, first: Integers) -> Floats32:
        """Read the timesteps from each of these rows on."""
        self._source.check_file()
        batch = self._read(first)
        self._source.check_batch(batch, first, self._sampling_rate)
        return batch


class SeriesReader(RowReader):
    """Reads one row for the series of each window, `(batch,)` or `(batch, features)`."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, 1)

    def __call__(self, index: WindowIndex) -> Floats32:
        return self.at(index.series)[:, 0]


class FunctionReader:
    """Calls a function that returns an array whose first axis is the batch.

    Args:
        label: the name of the argument, for errors.
        function: takes a `WindowIndex`.
        nan_allowed: whether values may be missing.

    Raises:
        ArgumentError: when called, if the function does not return numbers for each window.
        DataError: when called, if a number cannot be used.
    """

    def __init__(
        self, label: str, function: Callable[[WindowIndex], Any], *, nan_allowed: bool
    ) -> None:
        self.may_miss = nan_allowed
        self._label = label
        self._function = function

    def __call__(self, index: WindowIndex) -> Floats32:
        result = np.asarray(without_mask(self._function(index)))
        batch = len(index.window)
        if result.dtype.kind not in "buif" or not result.ndim or len(result) != batch:
            actual = f"a function that returned {result.dtype} of shape {result.shape}"
            expected = f"a function that returns numbers, one entry for each of {batch} windows"
            raise bad_argument(self._label, Description(actual), expected)
        place = first_unusable(result, nan_allowed=self.may_miss)
        if place is not None:
            raise unusable(self._label, result[place], f"window {index.window[place[0]]}")
        # Always a copy: missing values are filled in place, and the function may keep its result.
        return np.array(result, dtype=np.float32)


def _locate(starts: Integers, row: int) -> str:
    series = int(np.searchsorted(starts, row, side="right")) - 1
    return f"series {series}, row {row - starts[series]}"

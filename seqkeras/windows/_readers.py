"""The arrays that a batch is made of: from an argument to a reader of its rows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.windows._grouped import GroupedArray
from seqkeras.windows._layout import Numbers, WindowIndex
from seqkeras.windows._missing import Floats, first_unusable, unusable
from seqkeras.windows._sources import Source, source


@dataclass(frozen=True)
class Opened:
    """A source that has been checked.

    Attributes:
        source: the rows.
        where: says which row of which series a row is.
        nan_allowed: whether values may be missing.
    """

    source: Source
    where: Callable[[int], str]
    nan_allowed: bool

    def __post_init__(self) -> None:
        if self.source.array is not None:
            self.check(self.source.array, lambda found: found[0])

    def check(self, numbers: npt.NDArray[Any], row: Callable[[tuple[int, ...]], int]) -> None:
        """Refuses numbers that cannot be used; `row` says where in the source one stands.

        Raises:
            DataError: one is infinite, or missing though none may be.
        """
        found = first_unusable(numbers, nan_allowed=self.nan_allowed)
        if found:
            raise unusable(self.source.name, numbers[found], self.where(int(row(found))))


def series_bounds(arguments: dict[str, object]) -> Numbers:
    """Where the series begin and end, `(series + 1,)`: as a `GroupedArray` says, if there is one.

    Args:
        arguments: what was given, by the names that errors use.
    """
    for value in arguments.values():
        if isinstance(value, GroupedArray):
            return value.indptr
    return np.array([0, source(*next(iter(arguments.items()))).shape[0]])


def open_rows(label: str, value: object, bounds: Numbers, *, nan_allowed: bool) -> Opened:
    """Opens an argument whose rows stand beside those of the values.

    Raises:
        ArgumentError: it has other series, or another number of rows.
        DataError: a number in memory cannot be used.
    """
    if isinstance(value, GroupedArray):
        if not np.array_equal(value.indptr, bounds):
            raise bad_argument(label, value, "series of the lengths that values have")
        value = value.values
    opened = source(label, value)
    if opened.shape[0] != bounds[-1]:
        expected = f"one row for each of the {bounds[-1]} rows of values"
        raise bad_argument(label, opened.shape, expected)
    return Opened(opened, partial(_place, bounds), nan_allowed)


def open_series(label: str, value: object, series: int, *, nan_allowed: bool) -> Opened:
    """Opens an argument with one row for each series.

    Raises:
        ArgumentError: it has another number of rows.
        DataError: a number in memory cannot be used.
    """
    expected = f"one row for each of the {series} series"
    if isinstance(value, GroupedArray):
        raise bad_argument(label, value, expected)
    opened = source(label, value)
    if opened.shape[0] != series:
        raise bad_argument(label, opened.shape, expected)
    return Opened(opened, "series {}".format, nan_allowed)


class OfRows:
    """Reads rows of each window, `(batch, timesteps)` or `(batch, timesteps, features)`.

    Args:
        opened: where to read.
        timesteps: how many rows.
        offset: rows from the first of a window to the first that is read.
        sampling_rate: rows between those that are read.

    Raises:
        DataError: when called, where the rows do not lie in memory: their file has changed, or a
            number cannot be used.
    """

    def __init__(
        self, opened: Opened, timesteps: int, *, offset: int = 0, sampling_rate: int = 1
    ) -> None:
        self.may_miss = opened.nan_allowed and opened.source.may_miss
        self._opened, self._offset, self._sampling_rate = opened, offset, sampling_rate
        self._read = opened.source.windows(timesteps, sampling_rate)

    def __call__(self, index: WindowIndex) -> Floats:
        return self.at(index.row + self._offset)

    def at(self, first: Numbers) -> Floats:
        """The rows from each of these on, wherever a window begins."""
        self._opened.source.check_file()
        batch = self._read(first)
        if self._opened.source.array is None:
            self._opened.check(
                batch, lambda found: first[found[0]] + found[1] * self._sampling_rate
            )
        return batch


class OfSeries(OfRows):
    """Reads the one row of the series of each window, `(batch,)` or `(batch, features)`."""

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened, 1)

    def __call__(self, index: WindowIndex) -> Floats:
        return self.at(index.series)[:, 0]


class OfFunction:
    """Asks a function for an array whose first axis is the batch.

    Args:
        label: the name of the argument.
        function: is given a `WindowIndex`.
        nan_allowed: whether values may be missing.

    Raises:
        ArgumentError: when called: the answer is no array of numbers for these windows.
        DataError: when called: a number cannot be used.
    """

    def __init__(
        self, label: str, function: Callable[[WindowIndex], Any], *, nan_allowed: bool
    ) -> None:
        self.may_miss = nan_allowed
        self._label, self._function = label, function

    def __call__(self, index: WindowIndex) -> Floats:
        answer = np.asarray(self._function(index))
        batch = len(index.window)
        if answer.dtype.kind not in "buif" or not answer.ndim or len(answer) != batch:
            got = f"a function that gave {answer.dtype} of shape {answer.shape}"
            raise bad_argument(
                self._label, got, f"a function that gives numbers, {batch} for {batch} windows"
            )
        found = first_unusable(answer, nan_allowed=self.may_miss)
        if found:
            raise unusable(self._label, answer[found], f"window {index.window[found[0]]}")
        # A copy, as the function may keep what it gave, and missing values are filled in place.
        return np.array(answer, dtype=np.float32)


def _place(bounds: Numbers, row: int) -> str:
    series = int(np.searchsorted(bounds, row, side="right")) - 1
    return f"series {series}, row {row - bounds[series]}"

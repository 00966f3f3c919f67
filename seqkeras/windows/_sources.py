"""Sources of the rows of windows: arrays, memory-mapped files and Arrow data."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from mmap import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Floats32, Integers, without_mask
from seqkeras._checks import Description, bad_argument, bad_data
from seqkeras.windows._gather import RowWindows
from seqkeras.windows._missing import first_lost, first_unusable, lost, unusable, warn_of_rounding

#: A function from the first row of each window, `(batch,)`, to the windows, `(batch, timesteps)` or
#: `(batch, timesteps, features)`.
ReadWindows = Callable[[Integers], Floats32]


class Source(ABC):
    """Rows of numbers. Each number is checked before it becomes part of a batch.

    Args:
        name: the argument that the rows come from, for errors.
        shape: `(rows,)` or `(rows, features)`.
        may_miss: whether values may be missing, as NaN.
        locate: function that describes the place of a row, for errors.
    """

    def __init__(
        self, name: str, shape: tuple[int, ...], *, may_miss: bool, locate: Callable[[int], str]
    ) -> None:
        self.name = name
        self.shape = shape
        self.may_miss = may_miss
        self._locate = locate

    @abstractmethod
    def windows(self, timesteps: int, sampling_rate: int) -> ReadWindows:
        """Return a function that copies windows, given their first rows."""

    @abstractmethod
    def check_all(self, starts: Integers) -> None:
        """Check all numbers now, if they are in memory.

        Args:
            starts: `(series,)`, the first row of each series.

        Raises:
            DataError: a number is infinite, a value is missing although `may_miss` is False, or
                float32 cannot tell the numbers of a series apart.

        Warns:
            RoundedIntegersWarning: float32 rounds integers.
        """

    @abstractmethod
    def check_file(self) -> None:
        """Raise DataError if the file that holds the rows has changed."""

    def check_batch(self, batch: Floats32, first: Integers, sampling_rate: int) -> None:
        """Check the numbers of windows, unless `check_all` has checked them.

        Args:
            batch: `(batch, timesteps, ...)`.
            first: `(batch,)`, the first row of each window.
            sampling_rate: rows between neighboring timesteps.

        Raises:
            DataError: a number is infinite, or a value is missing although `may_miss` is False.
        """
        place = first_unusable(batch, nan_allowed=self.may_miss)
        if place is not None:
            row = int(first[place[0]]) + place[1] * sampling_rate
            raise unusable(self.name, batch[place], self._locate(row))


def open_source(
    name: str, values: object, *, nan_allowed: bool, locate: Callable[[int], str]
) -> Source:
    """Return the source of an array, a memory map or Arrow data.

    Raises:
        ArgumentError: the values are not numbers, or do not have one or two axes.
    """
    # A caller with Arrow data has already imported pyarrow, so it need not be imported here.
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        if isinstance(values, arrow.Array):
            values = arrow.chunked_array([values])
        elif isinstance(values, arrow.RecordBatch):
            values = arrow.Table.from_batches([values])
        if isinstance(values, arrow.ChunkedArray):
            shape = (len(values),)
            return ArrowSource(name, [values], shape, nan_allowed, locate, arrow.types)
        if isinstance(values, arrow.Table) and values.num_columns:
            return ArrowSource(name, values.columns, values.shape, nan_allowed, locate, arrow.types)
    return ArraySource(name, values, nan_allowed, locate)


class ArraySource(Source):
    """Rows of an array, which may be a file mapped into memory.

    Args:
        name: the argument that the rows come from, for errors.
        values: numbers, `(rows,)` or `(rows, features)`.
        nan_allowed: whether values may be missing.
        locate: function that describes the place of a row, for errors.
    """

    def __init__(
        self, name: str, values: Any, nan_allowed: bool, locate: Callable[[int], str]
    ) -> None:
        array = _numbers(name, values)
        may_miss = nan_allowed and array.dtype.kind == "f"
        super().__init__(name, array.shape, may_miss=may_miss, locate=locate)
        self._values = array
        self._is_mapped = _is_mapped(array)
        self._file = _mapped_file(array)
        state = _file_state(*self._file) if self._file is not None else None
        self._file_state = state
        if self._file is not None and state is not None and state[0] < _mapped_bytes(array):
            actual = f"{self._file[0]}, which was truncated after it was mapped"
            raise bad_data(f"The file that {name} is mapped from", actual, "hold all rows")

    def windows(self, timesteps: int, sampling_rate: int) -> ReadWindows:
        return RowWindows(self._values, timesteps, sampling_rate)

    def check_all(self, starts: Integers) -> None:
        if self._is_mapped:
            return
        place = first_unusable(self._values, nan_allowed=self.may_miss)
        if place is not None:
            raise unusable(self.name, self._values[place], self._locate(place[0]))
        warn_of_rounding(self.name, self._values)
        series = first_lost(self._values, starts)
        if series is not None:
            row, number = series
            raise lost(self.name, number, self._locate(row))

    def check_file(self) -> None:
        if self._file is not None and _file_state(*self._file) != self._file_state:
            subject = f"The file that {self.name} is mapped from"
            fix = "Map the file again, and create new Windows from it."
            raise bad_data(
                subject, f"{self._file[0]} has changed since then", "stay as it was", fix
            )

    def check_batch(self, batch: Floats32, first: Integers, sampling_rate: int) -> None:
        if self._is_mapped:
            super().check_batch(batch, first, sampling_rate)


class ArrowSource(Source):
    """Rows of Arrow data, in memory or in a file that Arrow has mapped.

    Args:
        name: the argument that the rows come from, for errors.
        columns: a `pyarrow.ChunkedArray` for each feature.
        shape: `(rows,)` or `(rows, features)`.
        nan_allowed: whether values may be missing; in Arrow, values of any type can be null.
        locate: function that describes the place of a row, for errors.
        types: the module `pyarrow.types`.
    """

    def __init__(
        self,
        name: str,
        columns: list[Any],
        shape: tuple[int, ...],
        nan_allowed: bool,
        locate: Callable[[int], str],
        types: Any,
    ) -> None:
        super().__init__(name, shape, may_miss=nan_allowed, locate=locate)
        self._columns = columns
        self._are_floats = [types.is_floating(column.type) for column in columns]
        for column, is_float in zip(columns, self._are_floats, strict=True):
            kind = column.type
            if not (is_float or types.is_integer(kind) or types.is_boolean(kind)):
                raise bad_argument(
                    name, Description(f"type {kind}"), "Arrow data of numbers or booleans"
                )

    def windows(self, timesteps: int, sampling_rate: int) -> ReadWindows:
        # `partial`, because a nested function could not be pickled.
        return partial(self._read, np.arange(timesteps) * sampling_rate)

    def check_all(self, starts: Integers) -> None:
        """Check nothing yet: the rows may be in a file, so each batch is checked instead."""

    def check_file(self) -> None:
        """Check nothing, because Arrow does not tell which file it has mapped."""

    def _read(self, steps: Integers, first: Integers) -> Floats32:
        rows = first[:, np.newaxis] + steps
        batch = np.empty((rows.size, len(self._columns)), np.float32)
        for number, column in enumerate(self._columns):
            taken = column.take(rows.ravel())
            # Cast in Arrow: in NumPy, integers with nulls become float64, and booleans objects.
            numbers = taken if self._are_floats[number] else taken.cast("float32", safe=False)
            batch[:, number] = numbers.to_numpy()  # nulls become NaN
        return batch.reshape(*rows.shape, *self.shape[1:])


def _numbers(name: str, values: Any) -> npt.NDArray[np.generic]:
    expected = "numbers of shape (rows,) or (rows, features)"
    try:
        array = np.asanyarray(without_mask(values))
    except ValueError as error:  # rows of different lengths
        fix = "Join series of different lengths with GroupedArray.from_series(...)."
        actual = Description(f"{type(values).__name__} of rows of different lengths")
        raise bad_argument(name, actual, expected, fix) from error
    if array.ndim not in (1, 2) or array.dtype.kind not in "buif":
        actual = Description(f"{array.dtype} of shape {array.shape}")
        raise bad_argument(name, actual, expected, _how_to_convert(array))
    return array


def _how_to_convert(array: Any) -> str:
    if array.dtype.kind not in "buif":
        return "Omit columns of timestamps and text, and turn the others into numbers."
    if array.ndim == 3:
        return "For (series, rows, features), use GroupedArray.from_series(list(array))."
    return ""


def _is_mapped(array: Any) -> bool:
    """Return whether a file holds an array, which may then be larger than memory."""
    while array is not None:
        if isinstance(array, mmap):
            return True
        array = getattr(array, "obj" if isinstance(array, memoryview) else "base", None)
    return False


def _mapped_file(array: Any) -> tuple[str, bool] | None:
    """Return the file that an array or its base maps, and whether the map is writable."""
    while array is not None:
        # Results of arithmetic on a memmap are memmaps too, but without a file.
        if isinstance(array, np.memmap) and array.filename is not None:
            return str(array.filename), array.mode not in ("r", "c")
        array = getattr(array, "base", None)
    return None


def _mapped_bytes(array: Any) -> int:
    """Return the size that a file must have for the array that maps it."""
    while isinstance(array.base, np.ndarray):  # up to the memmap of the whole file
        array = array.base
    return int(array.offset + array.nbytes)


def _file_state(path: str, writable: bool) -> tuple[int, int] | None:
    """Return the size and the modification time of a file, or None if it does not exist."""
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return None
    # Writing through the map changes the time as well, so for a writable map only the size counts.
    return state.st_size, 0 if writable else state.st_mtime_ns

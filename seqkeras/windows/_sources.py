"""Where rows come from: arrays, files mapped into memory, and Arrow data, behind one face."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.errors import DataError
from seqkeras.windows._gather import RowWindows

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
#: From the first row of each window to the windows, `(batch, timesteps)` or with features.
Reader = Callable[[Rows], Floats]


class Source(Protocol):
    """Rows of numbers.

    Attributes:
        name: of the argument, for errors.
        shape: `(rows,)` or `(rows, features)`.
        array: the rows, where they lie in memory and may be looked through at once; else None.
        may_miss: whether NaN can stand for a missing value.
    """

    name: str
    shape: tuple[int, ...]
    array: npt.NDArray[np.generic] | None
    may_miss: bool

    def windows(self, timesteps: int, sampling_rate: int) -> Reader:
        """A function that copies windows by their first rows."""

    def check_file(self) -> None:
        """Refuses to go on where the file under the rows is not what it was."""


def source(name: str, values: object) -> Source:
    """The source of an array, a memory map or Arrow data.

    Raises:
        ArgumentError: the values are not numbers of one axis or two.
    """
    # Only who has imported pyarrow can have made such an object.
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        if isinstance(values, (arrow.Array, arrow.ChunkedArray)):
            chunks = getattr(values, "chunks", [values])
            return ArrowSource(name, [[one] for one in chunks], arrow, (len(values),))
        if isinstance(values, (arrow.RecordBatch, arrow.Table)) and values.num_columns:
            batches = values.to_batches() if isinstance(values, arrow.Table) else [values]
            columns = [batch.columns for batch in batches]
            return ArrowSource(name, columns, arrow, (values.num_rows, values.num_columns))
    return ArraySource(name, values)


class ArraySource:
    """Rows of an array, which may lie in a file that is mapped into memory."""

    def __init__(self, name: str, values: Any) -> None:
        array = _numbers(name, values)
        self.name, self.shape = name, array.shape
        self.may_miss = array.dtype.kind == "f"
        self._values = array
        self._file = _mapped_file(array)
        self.array = array if self._file is None else None
        self._state = self._file and _file_state(*self._file)

    def windows(self, timesteps: int, sampling_rate: int) -> Reader:
        """A function that copies windows by their first rows."""
        return RowWindows(self._values, timesteps, sampling_rate)

    def check_file(self) -> None:
        """Refuses to go on where the file under the rows is not what it was."""
        if self._file is not None and _file_state(*self._file) != self._state:
            raise DataError(
                f"The file under {self.name} has changed since these Windows were made: "
                f"{self._file[0]}. Make them anew from the file as it is."
            )


class ArrowSource:
    """Rows of Arrow data, read where they lie: in memory, or in a file that Arrow has mapped.

    Args:
        name: of the argument, for errors.
        pieces: for each run of rows its columns, which are Arrow arrays.
        arrow: the package pyarrow, which is not a dependency.
        shape: `(rows,)` or `(rows, features)`.
    """

    array: npt.NDArray[np.generic] | None = None
    may_miss = True  # any type may have nulls

    def __init__(
        self, name: str, pieces: list[list[Any]], arrow: Any, shape: tuple[int, ...]
    ) -> None:
        self.name, self.shape = name, shape
        pieces = [columns for columns in pieces if len(columns[0])]
        self._pieces = [[_Column(name, one, arrow) for one in columns] for columns in pieces]
        self._ends = np.cumsum([len(columns[0]) for columns in pieces], dtype=np.int64)

    def windows(self, timesteps: int, sampling_rate: int) -> Reader:
        """A function that copies windows by their first rows."""
        # Not a nested function, which could not be pickled.
        return partial(self._windows, np.arange(timesteps) * sampling_rate)

    def check_file(self) -> None:
        """Nothing to check: Arrow does not say which file it has mapped."""

    def _windows(self, steps: Rows, starts: Rows) -> Floats:
        rows = starts[:, np.newaxis] + steps
        return self._take(rows.ravel()).reshape(*rows.shape, *self.shape[1:])

    def _take(self, rows: Rows) -> Floats:
        values = np.empty((len(rows), *self.shape[1:]), np.float32)
        columns = values.reshape(len(rows), -1)
        for piece, first, places in self._by_piece(rows):
            for number, column in enumerate(self._pieces[piece]):
                columns[places, number] = column.take(rows[places] - first)
        return values

    def _by_piece(self, rows: Rows) -> Iterator[tuple[int, int, Rows]]:
        """Which of the rows lie in each piece, and the first row of the piece."""
        pieces = np.searchsorted(self._ends, rows, side="right")
        order = np.argsort(pieces, kind="stable")
        borders = np.flatnonzero(np.diff(pieces[order])) + 1
        for places in np.split(order, borders):
            piece = int(pieces[places[0]])
            yield piece, int(self._ends[piece - 1]) if piece else 0, places


class _Column:
    """An Arrow array of numbers, its buffers as arrays that share their memory."""

    def __init__(self, name: str, column: Any, arrow: Any) -> None:
        kind = column.type
        known = arrow.types.is_integer(kind) or arrow.types.is_floating(kind)
        self._is_bits = arrow.types.is_boolean(kind)
        if not known and not self._is_bits:
            raise bad_argument(name, f"type {kind}", "Arrow data of numbers or booleans")
        valid, data = column.buffers()
        self._offset = column.offset
        self._valid = None if valid is None else np.frombuffer(valid, np.uint8)
        if self._is_bits:
            self._data = np.frombuffer(data, np.uint8)
        else:
            rows = column.offset + len(column)
            self._data = np.frombuffer(data, kind.to_pandas_dtype(), rows)

    def take(self, rows: Rows) -> npt.NDArray[Any]:
        """The numbers in these rows, NaN for nulls."""
        rows = rows + self._offset
        values = _bits(self._data, rows) if self._is_bits else self._data[rows]
        if self._valid is None:
            return values
        return np.where(_bits(self._valid, rows), values.astype(np.float32), np.float32(np.nan))


def _bits(packed: npt.NDArray[np.uint8], rows: Rows) -> npt.NDArray[np.bool_]:
    return (packed[rows >> 3] >> (rows & 7).astype(np.uint8) & 1).astype(bool)


def _numbers(name: str, values: Any) -> npt.NDArray[np.generic]:
    expected = "numbers of shape (rows,) or (rows, features)"
    try:
        array = np.asanyarray(values)
    except ValueError as error:  # rows of different lengths
        fix = "Series of different lengths are a GroupedArray.from_series(...)."
        raise bad_argument(name, type(values).__name__, expected, fix) from error
    if array.ndim not in (1, 2) or array.dtype.kind not in "buif":
        raise bad_argument(name, f"{array.dtype} of shape {array.shape}", expected)
    return array


def _mapped_file(array: Any) -> tuple[str, bool] | None:
    """Name of the file that an array maps, or is a view of, and whether the map can write to it."""
    while array is not None:
        # Results of arithmetic have the class as well, but no file.
        if isinstance(array, np.memmap) and array.filename is not None:
            return str(array.filename), array.mode not in ("r", "c")
        array = getattr(array, "base", None)
    return None


def _file_state(path: str, writable: bool) -> tuple[int, int] | None:
    """Size and time of the last change; None where there is no file."""
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return None
    # A map that can write changes the time itself; only another size must have come from outside.
    return state.st_size, 0 if writable else state.st_mtime_ns

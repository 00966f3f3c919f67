"""Series in a temporary file that is mapped into memory."""

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Self
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Integers
from seqkeras._files import FULL
from seqkeras.windows._grouped import GroupedArray

#: All files that are mapped.
_MAPS: WeakSet[mmap.mmap] = WeakSet()


class RowFile:
    """A temporary file of rows, which are appended until the file is mapped into memory.

    Nothing is left of it once the mapped rows are no longer used, even if the process is killed.
    As a context manager, it is closed at the end.

    Args:
        folder: folder of the file.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._last = np.empty(0)
        self._rows = 0
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def append(self, rows: Array) -> None:
        """Append rows; all have the same shape and dtype.

        Raises:
            OSError: the file cannot be written; if the disk is full, the message says so.
        """
        self._last = rows[:0]
        self._rows += len(rows)
        self._size += rows.nbytes
        with self._checked():
            self._file.write(np.ascontiguousarray(rows).tobytes())

    def mapped(self) -> tuple[Array, mmap.mmap | None]:
        """Return the rows, and what maps them; None if they are empty."""
        shape = (self._rows, *self._last.shape[1:])
        if not self._size:
            return np.empty(shape, self._last.dtype), None
        with self._checked():
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, self._last.dtype).reshape(shape), mapped

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise OSError(
                error.errno,
                f"The disk is full: a temporary array of more than {self._size / 1e6:.0f} MB does "
                f"not fit into {self.folder}. Name a folder with more room: fit(..., scratch=...)",
            ) from error


class MappedSeries(GroupedArray):
    """Series in a temporary file, for those that are larger than memory.

    What is computed from them row by row, such as scaled series, is written to temporary files in
    the same folder.

    Args:
        file: the rows of all series, one series after the other.
        indptr: where the series begin and end.

    Example:
        >>> with RowFile(tempfile.gettempdir()) as file:
        ...     file.append(np.array([1.0, 2.0]))
        ...     file.append(np.array([4.0]))
        ...     series = MappedSeries(file, np.array([0, 2, 3]))
        >>> series.take([1]).values.tolist()
        [4.0]
    """

    def __init__(self, file: RowFile, indptr: Integers) -> None:
        self._folder = file.folder
        release_pages()  # of earlier steps of a fit, which may not be read again
        values, self._map = file.mapped()
        if self._map is not None:
            _MAPS.add(self._map)
        super().__init__(values, indptr)

    def with_bounds(self, indptr: npt.ArrayLike) -> "MappedSeries":
        other = copy(self)
        GroupedArray.__init__(other, self.values, indptr)
        return other

    def _like(self, parts: Iterable[Array], indptr: Integers) -> "MappedSeries":
        with RowFile(self._folder) as file:
            for part in parts:
                file.append(part)
                self.release()
            return MappedSeries(file, indptr)

    def release(self) -> None:
        if self._map is not None:
            _release(self._map)


def release_pages() -> None:
    """Release the memory that reading all mapped files has taken."""
    for mapped in _MAPS:
        _release(mapped)


def _release(mapped: mmap.mmap) -> None:
    # Pages that were read count as memory of the process until they are released.
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)

"""Series in a temporary file that is mapped into memory."""

import errno
import mmap
import tempfile
from collections.abc import Iterable, Iterator
from copy import copy

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Integers
from seqkeras.windows._grouped import GroupedArray

#: Errors of a disk without room.
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class MappedSeries(GroupedArray):
    """Series in a temporary file, for those that are larger than memory.

    What is computed from them row by row, such as scaled series, is written to temporary files in
    the same folder. Nothing is left of a file once its series are no longer used, even if the
    process is killed.

    Args:
        parts: the rows, in arrays of neighboring rows.
        indptr: where the series begin and end.
        folder: folder of the temporary files.

    Raises:
        OSError: a file cannot be written; if the disk is full, the message says so.

    Example:
        >>> parts = [np.array([1.0, 2.0]), np.array([4.0])]
        >>> series = MappedSeries(parts, np.array([0, 2, 3]), tempfile.gettempdir())
        >>> series.take([1]).values.tolist()
        [4.0]
    """

    def __init__(self, parts: Iterable[Array], indptr: Integers, folder: str) -> None:
        self._folder = folder
        values, self._map = _written(parts, folder)
        super().__init__(values, indptr)

    def with_bounds(self, indptr: npt.ArrayLike) -> "MappedSeries":
        other = copy(self)
        GroupedArray.__init__(other, self.values, indptr)
        return other

    def _like(self, parts: Iterable[Array], indptr: Integers) -> "MappedSeries":
        def released() -> Iterator[Array]:
            for part in parts:
                yield part
                self._release()

        return MappedSeries(released(), indptr, self._folder)

    def _release(self) -> None:
        # Pages of a file that were read count as memory of the process until they are released.
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _written(parts: Iterable[Array], folder: str) -> tuple[Array, mmap.mmap | None]:
    """Write neighboring rows to a temporary file, and return them as an array that maps it."""
    values = np.empty(0)
    rows = size = 0
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            for part in parts:
                values = part[:0]
                rows += len(part)
                size += part.nbytes
                file.write(np.ascontiguousarray(part).tobytes())
            file.flush()
        except OSError as error:
            if error.errno in _FULL:
                raise _full(error, folder, size) from error
            raise
        if not size:
            return np.empty((rows, *values.shape[1:]), values.dtype), None
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, values.dtype).reshape(rows, *values.shape[1:]), mapped


def _full(error: OSError, folder: str, size: int) -> OSError:
    return OSError(
        error.errno,
        f"The disk is full: a temporary array of more than {size / 1e6:.0f} MB does not fit into "
        f"{folder}. Choose a folder with more room as scratch=",
    )

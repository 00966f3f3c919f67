"""Windows copied out of a series by their first rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Integers, without_mask
from seqkeras._checks import Description, bad_argument
from seqkeras.windows._numbers import check_size, whole_numbers


def gather(
    values: npt.NDArray[np.generic],
    starts: Integers,
    *,
    timesteps: int,
    sampling_rate: int = 1,
    dtype: npt.DTypeLike = np.float32,
) -> Array:
    """Copy the windows that begin at the rows `starts` out of `values`.

    Args:
        values: `(rows,)` or `(rows, features)`, which may be memory-mapped. Masked values become
            NaN.
        starts: `(batch,)`, the first row of each window.
        timesteps: length of a window.
        sampling_rate: rows between neighboring timesteps, default 1.
        dtype: dtype of the result, default float32.

    Returns:
        `(batch, timesteps)` or `(batch, timesteps, features)`.

    Raises:
        ArgumentError: timesteps or sampling_rate is not an integer >= 1, or starts are not
            integers.
        IndexError: a window begins before the first row of `values`, or ends after the last.

    Example:
        >>> gather(np.arange(10), np.array([0, 5]), timesteps=3, sampling_rate=2).tolist()
        [[0.0, 2.0, 4.0], [5.0, 7.0, 9.0]]
    """
    windows = RowWindows(np.asarray(without_mask(values)), timesteps, sampling_rate)
    starts = whole_numbers("starts", starts)
    if starts.ndim != 1:
        raise bad_argument("starts", Description(f"shape {starts.shape}"), "of shape (batch,)")
    if len(starts) and (starts.min() < 0 or starts.max() >= windows.count):
        raise IndexError(
            f"starts must give windows of {windows.span} rows inside the {len(values)} rows of "
            f"values. Got: {starts.min()} to {starts.max()}."
        )
    return windows(starts.astype(np.int64), dtype)


class RowWindows:
    """All windows of an array, as a view. Only the windows that are read are copied.

    Args:
        values: `(rows,)` or `(rows, features)`, which may be memory-mapped.
        timesteps: length of a window.
        sampling_rate: rows between neighboring timesteps, default 1.

    Attributes:
        count: number of windows.
        span: rows from the first of a window to its last, inclusive.
    """

    def __init__(
        self, values: npt.NDArray[np.generic], timesteps: int, sampling_rate: int = 1
    ) -> None:
        # The views below rely on these numbers: an invalid value would read memory outside the
        # array.
        timesteps = check_size("timesteps", timesteps)
        sampling_rate = check_size("sampling_rate", sampling_rate)
        # Turn a memmap into a plain ndarray: creating memmap views is slow.
        values = np.asarray(values)
        self._arguments = (values, timesteps, sampling_rate)
        self._dtype = values.dtype
        self._shape = (timesteps, *values.shape[1:])
        self.span = (timesteps - 1) * sampling_rate + 1
        self.count = max(0, len(values) - self.span + 1)
        item_bytes = timesteps * values[:1].nbytes
        is_contiguous = values.flags.c_contiguous and sampling_rate == 1 and 0 < item_bytes < 2**31
        if is_contiguous and self.count:
            # One item for each window, so that NumPy copies a window by a single memcpy.
            self._windows = np.ndarray(
                (self.count,), f"V{item_bytes}", values, 0, values.strides[:1]
            )
        else:
            step, *rest = values.strides
            self._windows = np.lib.stride_tricks.as_strided(
                values,
                shape=(self.count, *self._shape),
                strides=(step, step * sampling_rate, *rest),
                writeable=False,
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle the values, not the overlapping views, which would be written one by one.
        return RowWindows, self._arguments

    def __call__(self, starts: Integers, dtype: npt.DTypeLike = np.float32) -> Array:
        """Copy windows.

        Args:
            starts: first rows of the windows, all non-negative (not checked).
            dtype: dtype of the result.
        """
        windows = self._windows[starts]
        if windows.ndim == 1:
            windows = windows.view(self._dtype).reshape(len(starts), *self._shape)
        return windows if windows.dtype == dtype else windows.astype(dtype)

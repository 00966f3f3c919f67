"""Windows by number, without a copy of the series."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import check_integer


def gather(
    values: npt.NDArray[np.generic],
    starts: npt.NDArray[np.int64],
    *,
    timesteps: int,
    sampling_rate: int = 1,
    dtype: npt.DTypeLike = np.float32,
) -> npt.NDArray[Any]:
    """Copies the windows that begin at the rows `starts` out of `values`.

    Args:
        values: `(rows,)` or `(rows, features)`; also a memory-mapped array.
        starts: `(batch,)`, the first row of each window.
        timesteps: length of a window.
        sampling_rate: rows between neighbouring timesteps.
        dtype: of the result.

    Returns:
        `(batch, timesteps)` or `(batch, timesteps, features)`.

    Raises:
        ArgumentError: timesteps or sampling_rate is not an integer >= 1.
        IndexError: a window begins before or reaches beyond `values`.

    Example:
        >>> gather(np.arange(10), np.array([0, 5]), timesteps=3, sampling_rate=2).tolist()
        [[0.0, 2.0, 4.0], [5.0, 7.0, 9.0]]
    """
    # The view below trusts these numbers: a wrong one would read memory that is not ours.
    timesteps = check_integer("timesteps", timesteps)
    sampling_rate = check_integer("sampling_rate", sampling_rate)
    values, starts = np.asanyarray(values), np.asarray(starts)
    span = (timesteps - 1) * sampling_rate + 1
    if not len(starts):
        return np.empty((0, timesteps, *values.shape[1:]), dtype)
    if starts.min() < 0 or starts.max() > len(values) - span:
        raise IndexError(
            f"starts must give windows of {span} rows inside the {len(values)} rows of values. "
            f"Got: {starts.min()} to {starts.max()}."
        )
    # Every window of the series as a view: only the rows asked for are ever copied.
    step, *rest = values.strides
    windows = np.lib.stride_tricks.as_strided(
        values,
        shape=(len(values) - span + 1, timesteps, *values.shape[1:]),
        strides=(step, step * sampling_rate, *rest),
        writeable=False,
    )
    return np.asarray(windows[starts], dtype=dtype)

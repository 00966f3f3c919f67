"""Types of NumPy arrays, and index arithmetic over series that lie one after the other."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Booleans: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]
#: Floats in double precision, in which series are read, scaled and scored.
Floats: TypeAlias = npt.NDArray[np.float64]
#: Floats in single precision, in which networks compute.
Floats32: TypeAlias = npt.NDArray[np.float32]


def positions(lengths: npt.ArrayLike) -> Integers:
    """Return the position of each row within its series.

    Args:
        lengths: `(series,)`, rows of each series.

    Returns:
        `(rows,)`, counted from 0 in each series.

    Example:
        >>> positions([3, 2]).tolist()
        [0, 1, 2, 0, 1]
    """
    lengths = np.asarray(lengths, np.int64)
    starts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) - np.repeat(starts, lengths)

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


def without_mask(values: Any) -> Any:
    """Return a masked array, or a list with such arrays, with NaN for what is masked.

    NumPy itself reads the numbers under a mask as if they were there. Anything else is returned as
    it is.

    Example:
        >>> without_mask(np.ma.masked_array([1, 2, 3], mask=[0, 1, 0])).tolist()
        [1.0, nan, 3.0]
    """
    if isinstance(values, (list, tuple)):
        has_masks = any(isinstance(value, np.ma.MaskedArray) for value in values)
        return [without_mask(value) for value in values] if has_masks else values
    if not isinstance(values, np.ma.MaskedArray):
        return values
    if not np.ma.is_masked(values):
        return values.data
    holds_nan = {"f": values.dtype, "i": np.float64, "u": np.float64, "b": np.float64}
    return np.ma.filled(values.astype(holds_nan.get(values.dtype.kind, object)), np.nan)


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

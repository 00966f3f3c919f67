"""Types of NumPy arrays, positions within joined series, and the tolerance of float32 rounding."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Booleans: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]
#: Double precision, used to read, scale and score series.
Floats: TypeAlias = npt.NDArray[np.float64]
#: Single precision, used by networks.
Floats32: TypeAlias = npt.NDArray[np.float32]

#: Numbers that differ by at most this share of their size count as equal. It is four steps of
#: float32, in which data are often recorded and networks compute.
ROUNDING = 4 * float(np.finfo(np.float32).eps)
#: The share of its level by which rounding of float64 sums may change a constant series.
DOUBLE_ROUNDING = 1e-12


def is_constant(lowest: Array | np.float64, highest: Array | np.float64) -> Booleans:
    """Check whether values in this range differ by no more than rounding; NaN counts as constant.

    Example:
        >>> is_constant(np.array([20.1, 20.1]), np.array([20.100002, 20.2])).tolist()
        [True, False]
    """
    level = np.maximum(np.abs(lowest), np.abs(highest))
    # Halved, because the difference of the largest floats overflows.
    return np.asarray(~(highest / 2 - lowest / 2 > ROUNDING * level / 2))


def rounding(lowest: Array, highest: Array) -> Floats:
    """Return the largest difference that counts as rounding, in a series of this range.

    Example:
        >>> rounding(np.array([1.0, 5.0]), np.array([3.0, 5.0])).round(8).tolist()
        [4.8e-07, 2.38e-06]
    """
    level = np.maximum(np.abs(lowest), np.abs(highest))
    size = np.where(is_constant(lowest, highest), level, highest / 2 - lowest / 2)
    return np.asarray(ROUNDING * np.nan_to_num(size))


def without_mask(values: Any) -> Any:
    """Replace masked values by NaN, in a masked array or in a list of such arrays.

    `np.asarray` would use the numbers under the mask. Values of other types are returned unchanged.

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


def evenly_spaced(count: int, most: int) -> Integers:
    """Return the places of at most `most` of `count` things, evenly spaced from first to last.

    Example:
        >>> evenly_spaced(9, 3).tolist(), evenly_spaced(2, 3).tolist()
        ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


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

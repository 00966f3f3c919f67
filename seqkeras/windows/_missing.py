"""Missing values, and numbers that batches of float32 cannot hold."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras.errors import DataError

Floats = npt.NDArray[np.float32]

# As float64, since in float16 the limit would be infinite.
LIMIT = np.finfo(np.float32).max.astype(np.float64)
# Numbers that are looked through at once: they stay in the cache between the two looks.
BLOCK = 2**18


def first_unusable(values: npt.NDArray[Any], *, nan_allowed: bool) -> tuple[int, ...] | None:
    """Where the first number stands that is infinite, beyond float32, or NaN if not allowed.

    Looks through the values in blocks, and takes no memory that grows with them.
    """
    if values.dtype.kind != "f":
        return None
    rows = max(1, BLOCK * len(values) // max(values.size, 1))
    for start in range(0, len(values), rows):
        block = values[start : start + rows]
        if block.size and not _usable(block, nan_allowed):
            unusable = ~(np.abs(block) <= LIMIT) & ~(np.isnan(block) & nan_allowed)
            row, *rest = np.argwhere(unusable)[0].tolist()
            return start + row, *rest
    return None


def unusable(name: str, number: Any, where: str) -> DataError:
    """The error for a number in some place."""
    if np.isnan(number):
        fix = "Fill them in or cut the series there; Windows can mask them, by missing='mask'."
        return DataError(f"{name} must have no missing values. Got: NaN in {where}. {fix}")
    fix = "Infinite numbers count as errors, not as missing: correct them or make them NaN."
    return DataError(f"{name} must have finite numbers in float32. Got: {number} in {where}. {fix}")


def fill(batch: Floats) -> npt.NDArray[np.bool_]:
    """Puts 0 in the place of NaN; returns where there was a number, in the shape of the batch."""
    missing = np.isnan(batch)
    batch[missing] = 0
    return ~missing


def _usable(block: npt.NDArray[Any], nan_allowed: bool) -> bool:
    # NaN passes through min and max, and compares as False; fmin and fmax skip it.
    if nan_allowed:
        low, high = np.fmin.reduce(block, axis=None), np.fmax.reduce(block, axis=None)
        return not (low < -LIMIT or high > LIMIT)
    return bool(block.min() >= -LIMIT and block.max() <= LIMIT)

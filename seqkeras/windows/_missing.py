"""Missing values, and numbers that float32 cannot hold."""

import numpy as np

from seqkeras._arrays import Array, Booleans, Floats32
from seqkeras._checks import bad_data
from seqkeras.errors import DataError

# As float64, because the limit would be infinite in float16.
LIMIT = np.finfo(np.float32).max.astype(np.float64)
# Numbers that are checked at once: few enough to stay in the cache between two passes.
BLOCK = 2**18


def first_unusable(values: Array, *, nan_allowed: bool) -> tuple[int, ...] | None:
    """Find the first number that is infinite, beyond float32, or NaN if NaN is not allowed.

    The values are checked in blocks, so that memory does not grow with them.

    Returns:
        Its index, or None if all numbers can be used.
    """
    if values.dtype.kind != "f":
        return None
    rows = max(1, BLOCK * len(values) // max(values.size, 1))
    for start in range(0, len(values), rows):
        block = values[start : start + rows]
        if block.size and not _usable(block, nan_allowed):
            bad = ~(np.abs(block) <= LIMIT)
            if nan_allowed:
                bad &= ~np.isnan(block)
            row, *rest = np.argwhere(bad)[0].tolist()
            return start + row, *rest
    return None


def unusable(name: str, number: Array, where: str) -> DataError:
    """Return the error for a number that cannot be used."""
    if np.isnan(number):
        fix = "Fill in missing values, cut the series there, or mask them with missing='mask'."
        return bad_data(name, f"NaN in {where}", "have no missing values", fix)
    fix = "Infinite numbers count as errors, not as missing: correct them, or make them NaN."
    return bad_data(name, f"{number} in {where}", "have finite numbers in float32", fix)


def fill(batch: Floats32) -> Booleans:
    """Replace NaN by 0 in place, and return a mask of the values that were numbers."""
    missing = np.isnan(batch)
    batch[missing] = 0
    return ~missing


def _usable(block: Array, nan_allowed: bool) -> bool:
    # NaN passes through min and max, and compares as False; fmin and fmax skip it.
    if nan_allowed:
        low = np.fmin.reduce(block, axis=None)
        high = np.fmax.reduce(block, axis=None)
        return not (low < -LIMIT or high > LIMIT)
    return bool(block.min() >= -LIMIT and block.max() <= LIMIT)

"""Missing values, and numbers that float32 cannot hold."""

import numpy as np

from seqkeras._arrays import DOUBLE_ROUNDING, Array, Booleans, Floats32, Integers
from seqkeras._checks import bad_data
from seqkeras._warnings import warn
from seqkeras.errors import DataError, RoundedIntegersWarning

# A NumPy scalar: NumPy would cast a Python float to float16 for float16 values, and overflow.
LIMIT = np.finfo(np.float32).max.astype(np.float64)
# Numbers that are checked at once: few enough to stay in the cache between two passes.
BLOCK = 2**18
# float32 represents every integer up to this one exactly.
EXACT = 2**24
# A series that spans more float32 levels than this keeps its shape, even if neighbors become equal.
MANY_LEVELS = 2**16


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
        fix = (
            "Fill in missing values, cut the series there, or mask them with "
            "Windows(..., missing='mask')."
        )
        return bad_data(name, f"NaN in {where}", "have no missing values", fix)
    fix = "Correct the number, or replace it by NaN if it stands for a missing value."
    return bad_data(name, f"{number} in {where}", "have finite numbers in float32", fix)


def warn_of_rounding(name: str, values: Array) -> None:
    """Warn about integers that float32 cannot hold.

    Warns:
        RoundedIntegersWarning: float32 would change an integer.
    """
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 4 or not values.size:
        return
    if max(-int(values.min()), int(values.max())) <= EXACT:
        return
    changed = values[values.astype(np.float32).astype(np.float64) != values]
    if changed.size:
        number = int(changed.flat[0])
        warn(
            f"{name} holds integers that float32 rounds: {number} becomes "
            f"{int(np.float32(number))}. Give ids smaller numbers, for example with "
            "np.unique(ids, return_inverse=True), and subtract the first from timestamps. If "
            "rounding does no harm, pass values.astype('float32').",
            RoundedIntegersWarning,
        )


def first_lost(values: Array, starts: Integers) -> tuple[int, float] | None:
    """Find a series whose steps are too small for float32 at the level of its values.

    Args:
        values: `(rows,)` or `(rows, features)`, checked with `first_unusable`.
        starts: `(series,)`, the first row of each series.

    Returns:
        The first row of the series, and its largest number; None if there is no such series.
    """
    if values.dtype.kind != "f" or values.dtype.itemsize <= 4:
        return None
    bounds = np.unique([*starts[starts < len(values)], len(values)])
    if len(bounds) < 2:
        return None
    low = np.fmin.reduceat(values, bounds[:-1], axis=0)
    high = np.fmax.reduceat(values, bounds[:-1], axis=0)
    level = np.fmax(np.abs(low), np.abs(high))
    resolution = np.spacing(level.astype(np.float32)).astype(np.float64)
    spread = high - low
    for series, *feature in np.argwhere(
        (spread > DOUBLE_ROUNDING * level) & (spread < MANY_LEVELS * resolution)
    ):
        column = values[(slice(bounds[series], bounds[series + 1]), *feature)]
        steps = np.abs(np.diff(column))
        steps = steps[steps > DOUBLE_ROUNDING * level[(series, *feature)]]
        if steps.size and steps.mean() < resolution[(series, *feature)]:
            return int(bounds[series]), float(high[(series, *feature)])
    return None


def lost(name: str, number: float, where: str) -> DataError:
    """Return the error for a series that `first_lost` has found."""
    expected = "change by more than float32 can tell apart at their level"
    fix = (
        "Subtract the level, scale the values (seqkeras.windows.StandardScaler), or pass "
        "values.astype('float32') to train on them as they are."
    )
    return bad_data(name, f"values near {number:.10g} from {where} on", expected, fix)


def fill(batch: Floats32) -> Booleans:
    """Replace NaN by 0 in place, and return a mask of the values that were numbers."""
    missing = np.isnan(batch)
    batch[missing] = 0
    return ~missing


def _usable(block: Array, nan_allowed: bool) -> bool:
    # min and max return NaN if there is any, and its comparisons are False; fmin and fmax skip NaN.
    if nan_allowed:
        low = np.fmin.reduce(block, axis=None)
        high = np.fmax.reduce(block, axis=None)
        return not (low < -LIMIT or high > LIMIT)
    return bool(block.min() >= -LIMIT and block.max() <= LIMIT)

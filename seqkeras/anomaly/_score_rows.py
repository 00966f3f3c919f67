"""Rows, scores and labels as checked arrays."""

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Booleans, Floats, without_mask
from seqkeras._checks import Description, bad_argument, bad_data


def as_rows(name: str, values: npt.ArrayLike, features: int | None = None) -> Floats:
    """Return `(n, features)` as float64; `(n,)` counts as a single feature.

    Raises:
        ArgumentError: other axes, or another number of features than fitted.
        DataError: not numbers.
    """
    rows = as_floats(name, values)
    if rows.ndim == 1:
        rows = rows[:, np.newaxis]
    if rows.ndim != 2 or not rows.shape[1]:
        raise bad_argument(name, Description(f"shape {rows.shape}"), "of shape (n, features)")
    if features is not None and rows.shape[1] != features:
        raise bad_argument(
            name, Description(f"{rows.shape[1]} features"), f"an array with {features} features"
        )
    return rows


def as_scores(name: str, values: npt.ArrayLike, length: int | None = None) -> Floats:
    """Return `(n,)` as float64.

    Raises:
        ArgumentError: other axes, or another length.
        DataError: not numbers.
    """
    scores = as_floats(name, values)
    if scores.ndim != 1 or (length is not None and len(scores) != length):
        expected = f"of shape ({'n' if length is None else length},)"
        raise bad_argument(name, Description(f"shape {scores.shape}"), expected)
    return scores


def as_flags(name: str, values: npt.ArrayLike, length: int) -> Booleans:
    """Return `(n,)` of booleans, from booleans or numbers that are 0 or 1.

    Raises:
        ArgumentError: another shape, or other values.
    """
    flags = np.asarray(without_mask(values))
    if flags.shape != (length,):
        raise bad_argument(name, Description(f"shape {flags.shape}"), f"of shape ({length},)")
    if flags.dtype.kind not in "biuf" or not np.isin(flags, (0, 1)).all():
        raise bad_argument(name, Description("other values"), "booleans, or numbers 0 and 1")
    return flags.astype(bool)


def check_finite(name: str, values: Array, fix: str = "") -> None:
    """Raise DataError if any value is infinite; NaN is missing, not wrong."""
    infinite = np.isinf(values)
    if infinite.any():
        actual = f"{int(infinite.sum())} infinite values"
        raise bad_data(name, actual, "be finite, or NaN where missing", fix)


def as_floats(name: str, values: npt.ArrayLike) -> Floats:
    """Return numbers of any shape as float64.

    Raises:
        DataError: not numbers.
    """
    fix = "Convert timestamps and texts to numbers first."
    numbers = np.asarray(without_mask(values))
    if numbers.dtype.kind not in "biufO":
        raise bad_data(name, f"dtype {numbers.dtype}", "hold real numbers", fix)
    try:
        return numbers.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise bad_data(name, str(error), "hold real numbers", fix) from error

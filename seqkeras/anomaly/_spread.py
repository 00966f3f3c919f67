"""The center and robust spread of each column, and the size of rows of several features."""

import numpy as np

from seqkeras._arrays import Floats, is_constant
from seqkeras._checks import bad_data
from seqkeras.anomaly._score_rows import check_finite

#: The standard deviation of normal values, in units of their median absolute deviation.
NORMAL_MAD = 1.4826022185056018
#: The same in units of their mean absolute deviation.
NORMAL_MEAN_DEVIATION = 1.2533141373155001


def centers_and_spreads(name: str, rows: Floats) -> tuple[Floats, Floats]:
    """Return median and robust standard deviation of each column, NaN left out.

    The spread is 1.4826 times the median absolute deviation from the median, which half of the
    values being anomalies does not move far. Where most values are equal, so that it is 0, it is
    1.2533 times the mean absolute deviation (Iglewicz & Hoaglin 1993). A constant column has a
    spread of 1: a later change counts in the unit of the column.

    Args:
        name: what the rows are, for errors.
        rows: `(n, features)`.

    Returns:
        Two arrays `(features,)`.

    Raises:
        DataError: a column has no known value, or infinite ones.
    """
    check_finite(name, rows)
    empty = np.isnan(rows).all(axis=0)
    if empty.any():
        subject = f"Feature {int(np.argmax(empty))} of {name}"
        fix = "Leave this feature out, or fit on rows in which it is known."
        raise bad_data(subject, f"no known value in {len(rows)} rows", "have known values", fix)
    centers = np.nanmedian(rows, axis=0)
    deviations = np.abs(rows - centers)
    spreads = NORMAL_MAD * np.nanmedian(deviations, axis=0)
    means = NORMAL_MEAN_DEVIATION * np.nanmean(deviations, axis=0)
    constant = is_constant(np.nanmin(rows, axis=0), np.nanmax(rows, axis=0))
    # A median of rounding errors is as good as 0.
    spreads = np.where(spreads > 1e-9 * means, spreads, means)
    return centers, np.where(constant, 1.0, spreads)


def root_mean_square(rows: Floats) -> Floats:
    """Return the root mean square of the known values of each row; NaN where all are missing."""
    known = ~np.isnan(rows)
    counts = known.sum(axis=1)
    squares = np.where(known, rows, 0.0) ** 2
    means = squares.sum(axis=1) / np.maximum(counts, 1)
    return np.where(counts > 0, np.sqrt(means), np.nan)

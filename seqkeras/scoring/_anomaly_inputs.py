"""Labels, predictions and anomaly scores of a series: their checks, and runs of flagged rows."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Booleans, Floats, Integers, without_mask
from seqkeras._checks import Description, bad_argument


class Runs(NamedTuple):
    """Runs of flagged rows: the first row of each, and the row after its last."""

    starts: Integers
    ends: Integers


def find_runs(flags: Booleans) -> Runs:
    """Find the runs of flagged rows.

    Example:
        >>> runs = find_runs(np.array([True, True, False, True]))
        >>> runs.starts.tolist(), runs.ends.tolist()
        ([0, 3], [2, 4])
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return Runs(edges[::2].astype(np.int64), edges[1::2].astype(np.int64))


def touches(flags: Booleans, runs: Runs) -> Booleans:
    """Check for each run whether any of its rows is flagged."""
    totals = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(totals[runs.ends] > totals[runs.starts])


def check_flags(name: str, values: npt.ArrayLike) -> Booleans:
    """Return `values` as booleans if they are one-dimensional, not empty, and all 0 or 1.

    Raises:
        ArgumentError: they are not.
    """
    array = _one_dimensional(name, values)
    if array.dtype != bool:
        invalid = array[(array != 0) & (array != 1)]
        if len(invalid):
            raise bad_argument(name, Description(f"the value {invalid[0]}"), "booleans, or 0 and 1")
    return array.astype(bool)


def check_predictions(
    labels: npt.ArrayLike, predictions: npt.ArrayLike
) -> tuple[Booleans, Booleans]:
    """Return labels and predictions as booleans of the same length.

    Raises:
        ArgumentError: a value is not 0 or 1, they are empty, or their lengths differ.
    """
    flags = check_flags("labels", labels)
    flagged = check_flags("predictions", predictions)
    _check_length("predictions", flagged, flags)
    return flags, flagged


def check_scores(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Booleans, Floats]:
    """Return labels as booleans and scores as float64 of the same length.

    Raises:
        ArgumentError: a label is not 0 or 1, a score is NaN, they are empty, or their lengths
            differ.
    """
    flags = check_flags("labels", labels)
    values = _one_dimensional("scores", scores).astype(np.float64)
    _check_length("scores", values, flags)
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        fix = "Score every row, or leave the rows without a score out of both arrays."
        actual = Description(f"NaN in row {missing[0]} ({len(missing)} in all)")
        raise bad_argument("scores", actual, "numbers without NaN", fix)
    return flags, values


def require_anomalies(flags: Booleans) -> Booleans:
    """Return the labels if they hold an anomaly; without one, recall is not defined.

    Raises:
        ArgumentError: no row is labeled.
    """
    if not flags.any():
        expected = "an array with at least one anomaly"
        raise bad_argument("labels", Description(f"{len(flags)} rows, none labeled"), expected)
    return flags


def require_both(flags: Booleans) -> Booleans:
    """Return the labels if they hold anomalies and normal rows.

    Raises:
        ArgumentError: no row is labeled, or every row is.
    """
    if require_anomalies(flags).all():
        expected = "an array with at least one normal row"
        raise bad_argument("labels", Description(f"{len(flags)} rows, all labeled"), expected)
    return flags


def _one_dimensional(name: str, values: npt.ArrayLike) -> Array:
    array = np.asarray(without_mask(values))
    if array.ndim != 1 or not array.size:
        raise bad_argument(name, Description(f"shape {array.shape}"), "(timesteps,) and not empty")
    if array.dtype.kind not in "biuf":
        raise bad_argument(name, Description(f"dtype {array.dtype}"), "an array of numbers")
    return array


def _check_length(name: str, array: Array, labels: Booleans) -> None:
    if len(array) != len(labels):
        expected = f"as long as labels, {len(labels)} rows"
        raise bad_argument(name, Description(f"{len(array)} rows"), expected)

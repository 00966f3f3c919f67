"""Precision and recall of intervals: anomalies and alarms as runs of rows."""

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Booleans, Floats, Integers, positions
from seqkeras._checks import check_one_of, check_probability
from seqkeras.scoring._anomaly_inputs import (
    Runs,
    check_predictions,
    find_runs,
    require_anomalies,
    touches,
)
from seqkeras.scoring._anomaly_points import PrecisionRecall

BIASES = ("flat", "front", "middle", "back")
CARDINALITIES = ("reciprocal", "one")


def range_precision_recall(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    existence: float = 0.0,
    bias: str = "flat",
    cardinality: str = "reciprocal",
) -> PrecisionRecall:
    """Compute range-based precision and recall (Tatbul et al. 2018).

    Recall is the mean over the anomalies, precision the mean over the alarms, where an alarm is a
    run of flagged rows. The reward of each is the share of it that the other side covers.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        predictions: `(timesteps,)`, True or 1 where a row is flagged.
        existence: weight from 0 to 1 of finding an anomaly at all, no matter how much of it; the
            alpha of the paper. It applies to recall only, as there. Default 0.
        bias: which rows of an anomaly weigh more in recall: "flat" (default), "front", "middle" or
            "back". Precision is always flat, as the paper suggests.
        cardinality: "reciprocal" (default) divides a reward by the number of runs that the covered
            part is in, so that one alarm is better than many; "one" does not.

    Raises:
        ArgumentError: the lengths differ, a value is not 0 or 1, no row is labeled, or an option
            is invalid.

    Example:
        >>> range_precision_recall([0, 1, 1, 1, 1, 0], [0, 1, 0, 0, 1, 1], bias="front")
        PrecisionRecall(precision=0.75, recall=0.25)
    """
    flags, flagged = check_predictions(labels, predictions)
    require_anomalies(flags)
    weight = check_probability("existence", existence)
    check_one_of("bias", bias, BIASES)
    divides = check_one_of("cardinality", cardinality, CARDINALITIES) == "reciprocal"
    detected = touches(flagged, find_runs(flags))
    covered = _covered(flags, flagged, bias, divides)
    recall = weight * np.mean(detected) + (1 - weight) * np.mean(covered)
    precision = np.mean(_covered(flagged, flags, "flat", divides)) if flagged.any() else 0.0
    return PrecisionRecall(float(precision), float(recall))


def overlap_precision_recall(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> PrecisionRecall:
    """Count events: anomalies that an alarm overlaps, and alarms that overlap no anomaly.

    An alarm is a run of flagged rows. The numbers of found anomalies, missed anomalies and false
    alarms are the true positives, false negatives and false positives (Hundman et al. 2018; the
    overlap segments of Orion, Alnegheimish et al. 2022). A single alarm over the whole series gets
    a perfect F1, so state the share of flagged rows next to it, as `anomaly_report` does.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        predictions: `(timesteps,)`, True or 1 where a row is flagged.

    Raises:
        ArgumentError: the lengths differ, a value is not 0 or 1, or no row is labeled.

    Example:
        >>> overlap_precision_recall([1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0])
        PrecisionRecall(precision=0.5, recall=0.5)
    """
    flags, flagged = check_predictions(labels, predictions)
    require_anomalies(flags)
    detected = touches(flagged, find_runs(flags))
    hits = int(detected.sum())
    false_alarms = int((~touches(flags, find_runs(flagged))).sum())
    return PrecisionRecall(hits / max(1, hits + false_alarms), hits / len(detected))


def _covered(flags: Booleans, other: Booleans, bias: str, divides: bool) -> Floats:
    """Return for each run of `flags` its weight that is also in `other`, from 0 to 1."""
    runs = find_runs(flags)
    weights = _weights(runs, len(flags), bias)
    whole = np.add.reduceat(weights, runs.starts)
    covered = np.add.reduceat(np.where(other, weights, 0.0), runs.starts) / whole
    return covered / np.maximum(1, _overlaps(runs, other)) if divides else covered


def _overlaps(runs: Runs, other: Booleans) -> Integers:
    """Count the runs of `other` that each run overlaps."""
    others = find_runs(other)
    before = np.searchsorted(others.ends, runs.starts, side="right")
    begun = np.searchsorted(others.starts, runs.ends, side="left")
    return np.asarray(begun - before, dtype=np.int64)


def _weights(runs: Runs, rows: int, bias: str) -> Floats:
    """Return the weight of each row within its run, and 0 outside."""
    lengths = runs.ends - runs.starts
    from_front = positions(lengths) + 1
    from_back = np.repeat(lengths, lengths) - from_front + 1
    shapes = {
        "flat": np.ones(len(from_front)),
        "front": from_back,
        "back": from_front,
        "middle": np.minimum(from_front, from_back),
    }
    weights = np.zeros(rows)
    weights[np.repeat(runs.starts, lengths) + from_front - 1] = shapes[bias]
    return weights

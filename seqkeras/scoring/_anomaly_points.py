"""Precision and recall of flagged rows."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Booleans, Floats
from seqkeras._warnings import warn
from seqkeras.errors import SeqkerasWarning
from seqkeras.scoring._anomaly_inputs import (
    check_predictions,
    check_scores,
    find_runs,
    require_anomalies,
    touches,
)


class PrecisionRecall(NamedTuple):
    """Precision, recall and their harmonic mean F1, each from 0 to 1.

    Args:
        precision: the share of what was flagged that is an anomaly; 0 if nothing was flagged.
        recall: the share of the anomalies that was flagged.

    Example:
        >>> PrecisionRecall(precision=0.5, recall=1.0).f1
        0.6666666666666666
    """

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall; 0 if both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def point_precision_recall(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> PrecisionRecall:
    """Compute precision and recall of rows, each counted by itself.

    A long anomaly weighs more than a short one, and a flag one row beside an anomaly counts as
    wrong.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        predictions: `(timesteps,)`, True or 1 where a row is flagged.

    Raises:
        ArgumentError: the lengths differ, a value is not 0 or 1, or no row is labeled.

    Example:
        >>> point_precision_recall([0, 1, 1, 0], [0, 1, 0, 0])
        PrecisionRecall(precision=1.0, recall=0.5)
    """
    flags, flagged = check_predictions(labels, predictions)
    return _count_rows(require_anomalies(flags), flagged)


def best_threshold(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Find the threshold with the highest point F1; rows with `scores >= threshold` are flagged.

    The labels choose the threshold, so that a score computed with it is an upper bound: no detector
    knows the labels in advance. Among equally good thresholds, the highest is returned.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        scores: `(timesteps,)`, higher for rows that are more likely anomalous.

    Raises:
        ArgumentError: the lengths differ, a label is not 0 or 1, a score is NaN, or no row is
            labeled.

    Example:
        >>> best_threshold([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9])
        0.3
    """
    flags, values = check_scores(labels, scores)
    return _best_threshold(require_anomalies(flags), values)


def point_adjusted_precision_recall(
    labels: npt.ArrayLike, predictions: npt.ArrayLike
) -> PrecisionRecall:
    """Count rows, with each anomaly as flagged in full if any of its rows is (Xu et al. 2018).

    Use the result only to compare with old publications, as the warning says: random scores reach
    an F1 of .967 on the series of NAB, and beat most detectors (Kim et al. 2022).

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        predictions: `(timesteps,)`, True or 1 where a row is flagged.

    Raises:
        ArgumentError: as in `point_precision_recall`.

    Warns:
        SeqkerasWarning: always.
    """
    flags, flagged = check_predictions(labels, predictions)
    require_anomalies(flags)
    warn(
        "Point-adjusted F1 misleads: an anomaly counts as found in full if a single row of it is "
        "flagged, so random scores reach 0.967 on the series of NAB. Report vus_pr or "
        "affiliation_precision_recall instead, and the lines of anomaly_report.",
        SeqkerasWarning,
    )
    runs = find_runs(flags)
    lengths = runs.ends - runs.starts
    adjusted = flagged.copy()
    adjusted[flags] |= np.repeat(touches(flagged, runs), lengths)
    return _count_rows(flags, adjusted)


def _count_rows(flags: Booleans, flagged: Booleans) -> PrecisionRecall:
    hits = int(np.sum(flags & flagged))
    return PrecisionRecall(hits / max(1, int(flagged.sum())), hits / int(flags.sum()))


def _best_threshold(flags: Booleans, values: Floats) -> float:
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    hits = np.cumsum(flags[order])
    flagged = np.arange(1, len(values) + 1)
    f1 = 2 * hits / (flagged + flags.sum())
    # Rows with equal scores are flagged together.
    last_of_equals = np.append(ordered[1:] != ordered[:-1], True)
    return float(ordered[np.argmax(np.where(last_of_equals, f1, -1))])

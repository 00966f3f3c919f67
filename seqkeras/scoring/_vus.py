"""Volumes under the surfaces of ranges: VUS-PR and VUS-ROC (Paparrizos et al. 2022)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Booleans, Floats, Integers
from seqkeras._checks import check_integer
from seqkeras.scoring._anomaly_inputs import Runs, check_scores, find_runs, require_both

#: Thresholds of a curve, at equally spaced ranks of the scores, as in TSB-AD.
THRESHOLDS = 250


def vus_pr(labels: npt.ArrayLike, scores: npt.ArrayLike, *, window: int) -> float:
    """Compute the volume under the precision-recall surface, from 0 to 1 (Paparrizos et al. 2022).

    Each anomaly gets slopes on both sides, over which its label falls from 1 to 0, so that a
    detection shortly before or after an anomaly counts in part. The area under the precision-recall
    curve is averaged over slopes of all widths, from none to `window` rows for both sides together.
    Recall is multiplied by the share of anomalies with a flagged row. No threshold has to be
    chosen, and only the order of the scores matters.

    The result equals that of TSB-AD 1.5 with the same `slidingWindow`, which evaluates a curve at
    250 thresholds. A larger window gives higher scores: compare only scores with the same window,
    and report it. Scores that are all equal get about the share of anomalous rows.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        scores: `(timesteps,)`, higher for rows that are more likely anomalous.
        window: the widest slopes, in rows; 0 for none. Use the length of a season, or of a typical
            anomaly.

    Raises:
        ArgumentError: the lengths differ, a label is not 0 or 1, a score is NaN, the window is not
            an integer >= 0, or there is no anomaly or no normal row.

    Example:
        >>> labels = [0, 0, 0, 1, 1, 0, 0, 0]
        >>> vus_pr(labels, [0, 0, 0, 9, 9, 0, 0, 0], window=4)
        1.0
        >>> round(vus_pr(labels, [0, 0, 9, 0, 0, 0, 0, 0], window=4), 3)
        0.462
    """
    return volumes(*check_scores(labels, scores), window).pr


def vus_roc(labels: npt.ArrayLike, scores: npt.ArrayLike, *, window: int) -> float:
    """Compute the volume under the ROC surface, from 0 to 1 (Paparrizos et al. 2022).

    It is `vus_pr` with the area under the curve of true and false positive rates. Anomalies are
    rare, and a small false positive rate can mean many false alarms, so prefer `vus_pr`.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        scores: `(timesteps,)`, higher for rows that are more likely anomalous.
        window: the widest slopes, in rows; 0 for none.

    Raises:
        ArgumentError: as in `vus_pr`.

    Example:
        >>> vus_roc([0, 0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 9, 9, 0, 0, 0], window=4)
        1.0
    """
    return volumes(*check_scores(labels, scores), window).roc


class Volumes(NamedTuple):
    """The volumes under both surfaces."""

    pr: float
    roc: float


def volumes(flags: Booleans, scores: Floats, window: int) -> Volumes:
    """Compute both volumes from checked labels and scores.

    Raises:
        ArgumentError: the window is not an integer >= 0, or there is no anomaly or no normal row.
    """
    widths = range(check_integer("window", window, minimum=0) + 1)
    runs = find_runs(require_both(flags))
    rank = _ranks(scores)
    flagged = _cumulative_counts(rank)
    slopes = np.array([_flagged_slopes(flags, runs, rank, width) for width in widths])
    existence = _existence(flags, runs, rank, widths)
    anomalous = int(flags.sum())
    # Flagged parts of slopes count in full as hits, and half as rows that should be flagged.
    hits = _cumulative_counts(rank[flags]) + slopes
    positives = anomalous + slopes / 2
    recall = np.minimum(hits / positives, 1) * existence
    false_rate = (flagged - hits) / (len(flags) - positives)
    begin = np.zeros((len(widths), 1))
    end = np.ones((len(widths), 1))
    steps = np.diff(recall, prepend=begin)
    across = np.diff(np.hstack([begin, false_rate, end]))
    up = np.hstack([begin, recall, end])
    precision_areas = np.sum(steps * hits / flagged, axis=1)
    rate_areas = np.sum(across * (up[:, 1:] + up[:, :-1]) / 2, axis=1)
    return Volumes(float(np.mean(precision_areas)), float(np.mean(rate_areas)))


def _ranks(scores: Floats) -> Integers:
    """Return for each row the number of the first, highest threshold that flags it."""
    falling = np.sort(scores)[::-1]
    thresholds = falling[np.linspace(0, len(scores) - 1, THRESHOLDS).astype(np.int64)]
    return np.searchsorted(-thresholds, -scores).astype(np.int64)


def _cumulative_counts(ranks: Integers, weights: Floats | None = None) -> Floats:
    return np.cumsum(np.bincount(ranks, weights, THRESHOLDS), dtype=np.float64)


def _flagged_slopes(flags: Booleans, runs: Runs, rank: Integers, width: int) -> Floats:
    """Return the flagged part of the slopes of this width, by threshold."""
    distances = np.arange(1, width // 2 + 1)
    heights = np.sqrt(1 - distances / max(1, width))
    rows = np.concatenate(
        [runs.starts[:, np.newaxis] - distances, runs.ends[:, np.newaxis] - 1 + distances]
    )
    inside = (rows >= 0) & (rows < len(flags))
    inside[inside] = ~flags[rows[inside]]
    labels = np.bincount(rows[inside], np.broadcast_to(heights, rows.shape)[inside], len(flags))
    return _cumulative_counts(rank, np.minimum(labels, 1))  # where slopes overlap, they add up to 1


def _existence(flags: Booleans, runs: Runs, rank: Integers, widths: range) -> Floats:
    """Return the share of anomalies with a flagged row, by width and threshold.

    Anomalies whose slopes meet count as a single anomaly.
    """
    earliest = np.minimum.reduceat(np.where(flags, rank, THRESHOLDS), runs.starts)
    shares = []
    for width in widths:
        reach = width // 2
        left = np.maximum(runs.starts - reach, 0)
        right = np.minimum(runs.ends - 1 + reach, len(rank) - 1)
        earliest = np.minimum(earliest, np.minimum(rank[left], rank[right]))
        apart = runs.ends[:-1] - 1 + reach < runs.starts[1:] - reach
        groups = np.flatnonzero(np.concatenate([[True], apart]))
        shares.append(_cumulative_counts(np.minimum.reduceat(earliest, groups)) / len(groups))
    return np.array(shares)

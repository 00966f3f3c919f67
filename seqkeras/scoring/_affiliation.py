"""Affiliation: precision and recall by distances in time (Huet et al. 2022).

Each anomaly has a zone: the rows that are nearer to it than to any other anomaly. Within a zone, a
distance is turned into a probability: the chance that a point chosen at random in the zone would be
farther away. A flagged row at index i is the interval [i, i + 1).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Floats, Integers, positions
from seqkeras.scoring._anomaly_inputs import (
    Runs,
    check_predictions,
    find_runs,
    require_anomalies,
)
from seqkeras.scoring._anomaly_points import PrecisionRecall


class Zones(NamedTuple):
    """The bounds of each zone, and of the anomaly in it."""

    left: Floats
    right: Floats
    start: Floats
    end: Floats


class Parts(NamedTuple):
    """Alarms cut at the bounds of zones: the zone of each part, and its bounds."""

    zone: Integers
    start: Floats
    end: Floats


def affiliation_precision_recall(
    labels: npt.ArrayLike, predictions: npt.ArrayLike
) -> PrecisionRecall:
    """Compute precision and recall from distances in time (Huet et al. 2022).

    Precision asks how near the flagged rows are to the anomaly of their zone, recall how near each
    row of an anomaly is to a flagged row. A distance counts as the probability that a random row of
    the zone would be farther away, so flags at random get about 0.5, and only 1 is perfect. Recall
    is the mean over all anomalies, precision over those with a flagged row in their zone.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        predictions: `(timesteps,)`, True or 1 where a row is flagged.

    Raises:
        ArgumentError: the lengths differ, a value is not 0 or 1, or no row is labeled.

    Example:
        >>> affiliation_precision_recall([0, 0, 0, 1, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0])
        PrecisionRecall(precision=0.625, recall=0.75)
    """
    flags, flagged = check_predictions(labels, predictions)
    zones = _zones(find_runs(require_anomalies(flags)), len(flags))
    parts = _cut(find_runs(flagged), zones)
    count = len(zones.left)
    flagged_length = np.bincount(parts.zone, parts.end - parts.start, count)
    near = np.bincount(parts.zone, _precision_integrals(parts, zones), count)
    reached = flagged_length > 0
    precision = float(np.mean(near[reached] / flagged_length[reached])) if reached.any() else 0.0
    recalled = np.bincount(parts.zone, _recall_integrals(parts, zones), count)
    return PrecisionRecall(precision, float(np.mean(recalled / (zones.end - zones.start))))


def _zones(anomalies: Runs, rows: int) -> Zones:
    middles = (anomalies.ends[:-1] + anomalies.starts[1:]) / 2
    return Zones(
        left=np.concatenate([[0.0], middles]),
        right=np.concatenate([middles, [float(rows)]]),
        start=anomalies.starts.astype(np.float64),
        end=anomalies.ends.astype(np.float64),
    )


def _cut(alarms: Runs, zones: Zones) -> Parts:
    first = np.searchsorted(alarms.ends, zones.left, side="right")
    after = np.searchsorted(alarms.starts, zones.right, side="left")
    counts = after - first
    zone = np.repeat(np.arange(len(counts)), counts)
    alarm = first[zone] + positions(counts)
    return Parts(
        zone=zone,
        start=np.maximum(alarms.starts[alarm], zones.left[zone]),
        end=np.minimum(alarms.ends[alarm], zones.right[zone]),
    )


def _precision_integrals(parts: Parts, zones: Zones) -> Floats:
    """Integrate over each part the probability that a random point is farther from the anomaly."""
    left, right, start, end = (bound[parts.zone] for bound in zones)
    nearer_side = np.minimum(start - left, right - end)

    def integral(offset: Floats) -> Floats:
        """Integrate from the edge of the anomaly to this distance; 0 on its other side."""
        distance = _above_zero(offset)
        both_sides = np.minimum(distance, nearer_side)
        nearer = (end - start) * distance + distance**2 / 2
        nearer += both_sides**2 / 2 + nearer_side * (distance - both_sides)
        return np.asarray(distance - nearer / (right - left))

    inside = _above_zero(np.minimum(parts.end, end) - np.maximum(parts.start, start))
    left_side = integral(start - parts.start) - integral(start - parts.end)
    right_side = integral(parts.end - end) - integral(parts.start - end)
    return np.asarray(inside + left_side + right_side)


def _recall_integrals(parts: Parts, zones: Zones) -> Floats:
    """Integrate, over the rows of the anomaly nearest to each part, the probability that a random
    point is farther from the row than the part is.
    """
    left, right, start, end = (bound[parts.zone] for bound in zones)
    same_zone = parts.zone[1:] == parts.zone[:-1]
    middles = (parts.end[:-1] + parts.start[1:]) / 2
    nearest_from = left.copy()
    nearest_from[1:][same_zone] = middles[same_zone]
    nearest_to = right.copy()
    nearest_to[:-1][same_zone] = middles[same_zone]
    first = np.maximum(start, nearest_from)
    last = np.minimum(end, nearest_to)

    inside = _above_zero(np.minimum(last, parts.end) - np.maximum(first, parts.start))
    before = _farther(parts.start - last, parts.start - first, parts.start - left, right - left)
    behind = _farther(first - parts.end, last - parts.end, right - parts.end, right - left)
    return np.asarray(inside + before + behind)


def _farther(nearest: Floats, farthest: Floats, reach: Floats, width: Floats) -> Floats:
    """Integrate the probability over rows on one side of a part, by their distance from it.

    Args:
        nearest: the distance where the rows begin; below 0 where they begin inside the part.
        farthest: the distance where they end.
        reach: the distance of the bound of the zone on this side.
        width: width of the zone.
    """

    def integral(distance: Floats) -> Floats:
        # A random point is nearer within `distance` on both sides, but the zone ends at `reach`.
        nearer = np.where(distance <= reach / 2, distance**2, reach * distance - reach**2 / 4)
        return np.asarray(distance - nearer / width)

    begin = _above_zero(nearest)
    return np.asarray(integral(np.maximum(farthest, begin)) - integral(begin))


def _above_zero(values: Floats) -> Floats:
    return np.asarray(np.maximum(values, 0))

"""Alarms: intervals of flagged timesteps, with their severity."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._checks import check_integer, check_one_of
from seqkeras.anomaly._score_rows import as_flags, as_floats, as_scores


class Alarm(NamedTuple):
    """An interval of timesteps that are anomalous.

    Attributes:
        start: its first timestep.
        stop: the timestep after its last one.
        severity: how far scores were above the threshold, in the unit of the score.
        peak: the timestep that was farthest above the threshold.
    """

    start: int
    stop: int
    severity: float
    peak: int


def find_alarms(
    flags: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: npt.ArrayLike,
    *,
    merge: int = 0,
    severity: str = "max",
) -> list[Alarm]:
    """Return the intervals of flagged timesteps, in order of time.

    Args:
        flags: `(n,)`, True where a timestep is anomalous.
        scores: `(n,)`.
        threshold: the value that scores were compared with, a number or `(n,)`.
        merge: intervals with fewer timesteps than this between them become one; default 0: none.
        severity: `"max"` or `"mean"` of scores minus threshold over the flagged timesteps.

    Raises:
        ArgumentError: shapes differ, or an option is unknown.

    Example:
        >>> scores = [0.0, 3.0, 5.0, 0.0, 2.0]
        >>> find_alarms([False, True, True, False, True], scores, 1.0)
        [Alarm(start=1, stop=3, severity=4.0, peak=2), Alarm(start=4, stop=5, severity=1.0, peak=4)]
        >>> find_alarms([False, True, True, False, True], scores, 1.0, merge=2)
        [Alarm(start=1, stop=5, severity=4.0, peak=2)]
    """
    check_one_of("severity", severity, ("max", "mean"))
    check_integer("merge", merge, minimum=0)
    values = as_scores("scores", scores)
    flagged = np.flatnonzero(as_flags("flags", flags, len(values)))
    limits = as_floats("threshold", threshold)
    if limits.ndim:
        limits = as_scores("threshold", limits, len(values))
    if not len(flagged):
        return []
    excesses = (values - limits)[flagged]
    apart = np.diff(flagged) - 1 >= max(1, merge)
    begins = np.concatenate([[0], np.flatnonzero(apart) + 1])
    alarms = []
    for begin, end in zip(begins, [*begins[1:], len(flagged)], strict=True):
        part = excesses[begin:end]
        size = part.max() if severity == "max" else part.mean()
        peak = flagged[begin + int(np.argmax(part))]
        stop = flagged[end - 1] + 1
        alarms.append(Alarm(int(flagged[begin]), int(stop), float(size), int(peak)))
    return alarms

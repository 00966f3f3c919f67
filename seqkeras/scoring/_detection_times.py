"""What an operator feels: how often an alarm is false, and how long a detection takes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Floats
from seqkeras._checks import Description, bad_argument, check_positive
from seqkeras.errors import ArgumentError
from seqkeras.scoring._anomaly_inputs import (
    check_predictions,
    find_runs,
    require_anomalies,
    touches,
)

SECONDS_PER_DAY = 86_400


def false_alarms_per_day(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    timestamps: npt.ArrayLike | None = None,
    step_seconds: float | None = None,
) -> float:
    """Compute how many false alarms there are on an average day.

    A false alarm is a run of flagged rows without a labeled row. An alarm that lasts ten rows
    counts once. The days are those of the whole series, anomalies included.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous; all may be 0.
        predictions: `(timesteps,)`, True or 1 where a row is flagged.
        timestamps: `(timesteps,)`, dates as `datetime64` or numbers in seconds, never falling. The
            last row lasts as long as the median step.
        step_seconds: instead of timestamps, the seconds from each row to the next.

    Raises:
        ArgumentError: the lengths differ, a value is not 0 or 1, not exactly one of timestamps and
            `step_seconds` is given, timestamps fall or are missing, or they span no time.

    Example:
        >>> false_alarms_per_day([0, 0, 0, 1], [1, 1, 0, 1], step_seconds=21_600)
        1.0
    """
    flags, flagged = check_predictions(labels, predictions)
    seconds = _seconds(len(flags), timestamps, step_seconds)
    last_step = step_seconds
    if last_step is None:
        last_step = np.median(np.diff(seconds)) if len(seconds) > 1 else 0
    span = float(seconds[-1] + last_step)
    if span <= 0:
        raise bad_argument("timestamps", Description("no time between them"), "a span of time")
    false = ~touches(flags, find_runs(flagged))
    return float(false.sum() / (span / SECONDS_PER_DAY))


def seconds_to_detect(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    timestamps: npt.ArrayLike | None = None,
    step_seconds: float | None = None,
) -> Floats:
    """Measure the time from the first row of each anomaly to the first row of it that is flagged.

    Rows that are flagged before an anomaly do not count. The median that treats missed anomalies as
    infinitely late is `np.median(np.nan_to_num(seconds, nan=np.inf))`.

    Args:
        labels: `(timesteps,)`, True or 1 where a row is anomalous.
        predictions: `(timesteps,)`, True or 1 where a row is flagged.
        timestamps: `(timesteps,)`, dates as `datetime64` or numbers in seconds, never falling.
        step_seconds: instead of timestamps, the seconds from each row to the next.

    Returns:
        `(anomalies,)`, in seconds; NaN for an anomaly without a flagged row.

    Raises:
        ArgumentError: the lengths differ, a value is not 0 or 1, no row is labeled, not exactly one
            of timestamps and `step_seconds` is given, or timestamps fall or are missing.

    Example:
        >>> seconds_to_detect([0, 1, 1, 0, 1], [1, 0, 1, 0, 0], step_seconds=60).tolist()
        [60.0, nan]
    """
    flags, flagged = check_predictions(labels, predictions)
    seconds = _seconds(len(flags), timestamps, step_seconds)
    runs = find_runs(require_anomalies(flags))
    alarms = np.append(np.flatnonzero(flagged), len(flags))
    first = alarms[np.searchsorted(alarms, runs.starts)]
    detected = first < runs.ends
    times = np.append(seconds, np.nan)
    return np.where(detected, times[first] - times[runs.starts], np.nan)


def _seconds(rows: int, timestamps: npt.ArrayLike | None, step_seconds: Any) -> Floats:
    """Return the time of each row in seconds after the first."""
    if (timestamps is None) == (step_seconds is None):
        raise ArgumentError("Pass either timestamps or step_seconds, which times the alarms need.")
    if timestamps is None:
        return np.arange(rows, dtype=np.float64) * check_positive("step_seconds", step_seconds)
    times = np.asarray(timestamps)
    if times.shape != (rows,):
        actual = Description(f"shape {times.shape}")
        raise bad_argument("timestamps", actual, f"one for each row, shape ({rows},)")
    if times.dtype.kind not in "Mmiuf":
        actual = Description(f"dtype {times.dtype}")
        fix = "Use np.asarray(column, dtype='datetime64[s]')."
        raise bad_argument("timestamps", actual, "datetime64, or numbers in seconds", fix)
    if times.dtype.kind in "Mm":
        seconds = np.diff(times) / np.timedelta64(1, "s")
    else:
        seconds = np.diff(times.astype(np.float64))
    wrong = np.flatnonzero(~(seconds >= 0))
    if len(wrong):
        actual = Description(f"{times[wrong[0] + 1]} after {times[wrong[0]]}, row {wrong[0] + 1}")
        fix = "Sort the rows first."
        raise bad_argument("timestamps", actual, "in order, and none missing", fix)
    return np.concatenate([[0.0], np.cumsum(seconds)])

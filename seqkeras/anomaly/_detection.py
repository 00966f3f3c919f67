"""What a detector says about series, from one pass over them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seqkeras._arrays import Array, Booleans, Floats, Integers
from seqkeras._checks import bad_argument, nearest
from seqkeras.anomaly._alarms import Alarm, find_alarms
from seqkeras.anomaly._detection_plots import DetectedSeries, draw_detection
from seqkeras.anomaly._series_reader import RowForm, SeriesRows, resolve_columns

#: Series that are drawn unless others are named.
_MOST_SERIES = 4


@dataclass(frozen=True)
class Detection:
    """Scores and thresholds of the rows of series, series after series.

    Attributes:
        rows: the series.
        scores: `(rows,)`.
        limits: `(rows,)`, what each score is compared with.
    """

    rows: SeriesRows
    scores: Floats
    limits: Floats

    @property
    def flags(self) -> Booleans:
        """Return whether each row is flagged."""
        return np.asarray(self.scores > self.limits)

    def alarms(self, *, merge: int = 0, severity: str = "max") -> list[list[Alarm]]:
        """Return the flagged intervals of each series."""
        form = self.rows.form
        return find_all_alarms(form, self.scores, self.limits, merge=merge, severity=severity)

    def split(self, per_row: Array) -> list[Array]:
        """Return the part of each series of an array `(rows, ...)`."""
        return split_series(per_row, self.rows.form)


def find_all_alarms(
    form: RowForm, scores: Floats, limits: Floats, *, merge: int, severity: str
) -> list[list[Alarm]]:
    """Return the intervals of each series in which scores are above the limits."""
    parts = zip(split_series(scores, form), split_series(limits, form), strict=True)
    return [
        find_alarms(np.asarray(score > limit), score, limit, merge=merge, severity=severity)
        for score, limit in parts
    ]


def split_series(per_row: Array, form: RowForm) -> list[Array]:
    """Return the part of each series of an array `(rows, ...)`."""
    return np.split(per_row, form.indptr[1:-1])


def plot_detection(
    detection: Detection,
    scored: Integers,
    *,
    times: Array | None = None,
    expected: tuple[str, Floats] | None = None,
    series: Any = None,
    features: Any = None,
    merge: int = 0,
    title: str = "",
) -> Any:
    """Draw series with the flagged intervals, and below them scores and threshold.

    Args:
        detection: scores and thresholds.
        scored: positions of the scored features.
        times: timestamps of the rows, in the order of the input. None: timesteps are numbered.
        expected: what the network expects `(rows, scored)`, and its name. None: not drawn.
        series, features, merge, title: as for `Detector.plot`.

    Raises:
        ArgumentError: a series or a feature does not exist.
    """
    rows = detection.rows
    form = rows.form
    count = rows.values.values.shape[1]
    if times is not None:
        times = times if form.order is None else times[form.order]
    names = form.names or tuple(f"feature {number}" for number in range(count))
    context = np.setdiff1d(np.arange(count), scored)
    chosen: Any = [*scored.tolist(), *context.tolist()]
    if features is not None:
        chosen = resolve_columns("features", features, form.names, count)
    name, values = expected if expected is not None else ("", None)
    alarms = detection.alarms(merge=merge)
    parts = [
        DetectedSeries(
            label,
            None if times is None else detection.split(times)[number],
            np.asarray(rows.values[number], np.float64),
            names,
            scored,
            None if values is None else detection.split(values)[number],
            detection.split(detection.scores)[number],
            detection.split(detection.limits)[number],
            alarms[number],
        )
        for number, label in _series_to_draw(form, series)
    ]
    return draw_detection(parts, chosen, expected_name=name, title=title)


def _series_to_draw(form: RowForm, series: Any) -> list[tuple[int, str]]:
    """Return the numbers and labels of series chosen by id or number; None: the first ones."""
    ids = list(form.ids) if form.ids is not None else list(range(len(form.indptr) - 1))
    labels = [str(name) for name in ids] if form.ids is not None else [f"series {n}" for n in ids]
    if form.ids is None and not form.is_panel:
        labels = [""]
    if series is None:
        return list(enumerate(labels))[:_MOST_SERIES]
    members = series if isinstance(series, list | tuple) else [series]
    for name in members:
        if name not in ids:
            raise bad_argument("series", name, f"among {ids[:20]}", nearest(name, ids))
    return [(ids.index(name), labels[ids.index(name)]) for name in members]

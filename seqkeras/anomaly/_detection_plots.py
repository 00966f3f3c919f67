"""Plots of detections: series with flagged intervals, and scores with their threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqkeras._arrays import Array, Floats, Integers
from seqkeras._drawing import (
    ACTUAL,
    BANDS,
    FORECAST,
    HISTORY,
    blank,
    dress,
    legend_above,
    show_dates,
)
from seqkeras._lazy import import_optional
from seqkeras.anomaly._alarms import Alarm

#: More features than this are drawn as one heat map instead of a line each.
MOST_LINES = 4
#: More points of a line than this are reduced to the smallest and the largest of each interval.
MOST_POINTS = 4000
#: Most names along the axis of a heat map; more would overlap.
MOST_NAMES = 25
#: Spreads from the median at which the colors of a heat map end.
_LIMIT = 4.0
#: Scores above this multiple of the threshold would make it look like zero on a linear axis.
_LINEAR = 30.0
#: Color of flagged intervals behind lines of any color.
_FLAGGED = {"facecolor": "#ffe0cf", "edgecolor": "#ffc9ad", "lw": 0.8, "zorder": 0.5}


@dataclass(frozen=True)
class DetectedSeries:
    """A series, and what a detector says about it.

    Attributes:
        label: name of the series, empty if it has none.
        times: `(n,)`, timestamps; None: timesteps are numbered.
        values: `(n, features)`.
        names: names of the features.
        scored: the features that are scored.
        expected: `(n, scored)`, what the network expects; None: not drawn.
        scores: `(n,)`.
        limits: `(n,)`, the thresholds that scores are compared with.
        alarms: flagged intervals.
    """

    label: str
    times: Array | None
    values: Floats
    names: tuple[str, ...]
    scored: Integers
    expected: Floats | None
    scores: Floats
    limits: Floats
    alarms: list[Alarm]


def draw_detection(
    parts: Sequence[DetectedSeries],
    features: Sequence[int],
    *,
    expected_name: str = "expected",
    title: str = "",
) -> Any:
    """Draw the features of each series with flagged intervals, and below them the score.

    Args:
        parts: the series.
        features: the features to draw, a line each; as a heat map if there are more than four.
        expected_name: label of what the network expects.
        title: title of the figure, default none.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    is_map = len(features) > MOST_LINES
    # A heat map needs room for its rows.
    heights = [max(2.4, min(6.0, 0.2 * len(features)))] if is_map else [1.8] * len(features)
    heights.append(1.5)
    figure = blank(10, 0.6 + len(parts) * (sum(heights) + 0.35 * len(heights)), title)
    axes = figure.subplots(
        len(heights) * len(parts), 1, squeeze=False, height_ratios=heights * len(parts)
    )
    for part, rows in zip(parts, axes[:, 0].reshape(len(parts), -1), strict=True):
        *panels, below = rows
        x = _numbers(part.times, len(part.values))
        if is_map:
            _draw_map(panels[0], x, part, features)
        else:
            for axis, feature in zip(panels, features, strict=True):
                _draw_feature(axis, x, part, feature, expected_name)
        _draw_scores(below, x, part)
        if part is parts[0]:
            # The others have the same lines.
            legend_above(below)
            if not is_map:
                legend_above(panels[0])
        for axis in panels:
            axis.sharex(below)
            axis.tick_params(labelbottom=False)
        if part.times is not None:
            show_dates(below, part.times)
    return figure


def _draw_feature(
    axis: Any, x: Floats, part: DetectedSeries, feature: int, expected_name: str
) -> None:
    position = np.flatnonzero(part.scored == feature)
    name = part.names[feature] + ("" if len(position) else " (context)")
    _draw_line(axis, x, part.values[:, feature], color=HISTORY, lw=1, label="series")
    if part.expected is not None and len(position):
        # Wider and below the series, because the two are nearly equal where nothing happens.
        values = part.expected[:, position[0]]
        _draw_line(axis, x, values, color=BANDS[-1], lw=2.6, zorder=1.5, label=expected_name)
    _draw_alarms(axis, x, part.alarms, label="flagged")
    dress(axis, _title(part.label, name), "")


def _draw_scores(axis: Any, x: Floats, part: DetectedSeries) -> None:
    _draw_line(axis, x, part.scores, color=FORECAST, lw=1, label="score")
    _draw_line(axis, x, part.limits, color=ACTUAL, lw=1.2, ls="--", label="threshold")
    _draw_alarms(axis, x, part.alarms)
    dress(axis, _title(part.label, "score"), "")
    limit = float(np.median(part.limits))
    highest = float(part.scores.max())
    if 0 < limit * _LINEAR < highest:
        axis.set_yscale("symlog", linthresh=limit)
        ticks = import_optional("matplotlib.ticker", extra="plot")
        axis.yaxis.set_major_locator(ticks.FixedLocator(_powers(limit, highest)))
        axis.yaxis.set_major_formatter(ticks.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_locator(ticks.NullLocator())


def _powers(limit: float, highest: float) -> list[float]:
    """Return zero and at most four powers of ten, about evenly spaced, up to the highest score."""
    powers = np.arange(np.ceil(np.log10(limit)), np.floor(np.log10(highest)) + 1)
    return [0.0, *(10.0 ** powers[:: -(-len(powers) // 4)])]


def _draw_map(axis: Any, x: Floats, part: DetectedSeries, features: Sequence[int]) -> None:
    """Draw a row of colors for each feature, and the flagged intervals on top of them."""
    colors = import_optional("matplotlib.colors", extra="plot")
    palette = colors.LinearSegmentedColormap.from_list("", [FORECAST, "#ffffff", ACTUAL])
    values, starts = _extremes(_standard(part.values[:, list(features)]))
    edges = np.append(x[starts], x[-1] + (x[-1] - x[-2] if len(x) > 1 else 1))
    rows = np.arange(len(features) + 1) - 0.5
    style = {"cmap": palette, "vmin": -_LIMIT, "vmax": _LIMIT, "rasterized": True}
    axis.pcolormesh(edges, rows, values.T, **style)
    axis.set_ylim(len(features) - 0.5, -0.5)
    transforms = import_optional("matplotlib.transforms", extra="plot")
    points = transforms.ScaledTranslation(0, 5 / 72, axis.figure.dpi_scale_trans)
    shifted = axis.get_xaxis_transform() + points
    for alarm in part.alarms:
        # Above the map, because colors behind it would not be seen, and colors over it would mix.
        span = [x[alarm.start], x[alarm.stop - 1]]
        line = {"color": ACTUAL, "lw": 3, "clip_on": False, "solid_capstyle": "butt"}
        axis.plot(span, [1, 1], transform=shifted, marker="|", ms=3, **line)
    note = f"{len(features)} features: orange high, blue low for each; bars on top: flagged"
    dress(axis, "", "", grid="x")
    axis.set_title(_title(part.label, note), loc="left", fontsize=10, pad=11)
    axis.grid(visible=False)
    step = -(-len(features) // MOST_NAMES)
    ticks = list(range(0, len(features), step))
    names = [_short(part.names[features[tick]]) for tick in ticks]
    axis.set_yticks(ticks, names, fontsize=8 if len(ticks) <= 12 else 6)


def _draw_line(axis: Any, x: Floats, values: Floats, **style: Any) -> None:
    known = ~np.isnan(values)
    x = x[known]
    values = values[known]
    rows = _outline(values)
    axis.plot(x[rows], values[rows], **style)


def _draw_alarms(axis: Any, x: Floats, alarms: Sequence[Alarm], label: str = "") -> None:
    # Edges have a width in points, so that a single timestep of a long series can be seen.
    spans = [(x[alarm.start], x[alarm.stop - 1] - x[alarm.start]) for alarm in alarms]
    style = _FLAGGED | ({"label": label} if label else {})
    axis.broken_barh(spans, (0, 1), transform=axis.get_xaxis_transform(), **style)


def _outline(values: Floats) -> Integers:
    """Return rows that look like all rows when drawn: the extremes of each short interval."""
    if len(values) <= MOST_POINTS:
        return np.arange(len(values))
    starts = _starts(len(values), MOST_POINTS // 2)
    stops = np.append(starts[1:], len(values))
    bins = list(zip(starts.tolist(), stops.tolist(), strict=True))
    lowest = [start + int(values[start:stop].argmin()) for start, stop in bins]
    highest = [start + int(values[start:stop].argmax()) for start, stop in bins]
    return np.unique([0, *lowest, *highest, len(values) - 1])


def _extremes(values: Floats) -> tuple[Floats, Integers]:
    """Return the values `(n, features)` farthest from zero in each interval, and its start."""
    starts = _starts(len(values), min(len(values), MOST_POINTS // 4))
    lowest = np.minimum.reduceat(values, starts)
    highest = np.maximum.reduceat(values, starts)
    return np.where(-lowest > highest, lowest, highest), starts


def _starts(length: int, intervals: int) -> Integers:
    return np.arange(intervals) * length // intervals


def _standard(values: Floats) -> Floats:
    """Return distances from the median of each feature, in robust spreads."""
    low, center, high = np.quantile(values, [0.05, 0.5, 0.95], axis=0)
    # The quantiles of a normal distribution are 3.29 standard deviations apart.
    spread = (high - low) / 3.29
    spread = np.where(spread > 0, spread, values.std(axis=0))
    return (values - center) / np.where(spread > 0, spread, 1.0)


def _numbers(times: Array | None, length: int) -> Floats:
    if times is None:
        return np.arange(float(length))
    if times.dtype.kind == "M":
        dates = import_optional("matplotlib.dates", extra="plot")
        return np.asarray(dates.date2num(times), np.float64)
    return np.asarray(times, np.float64)


def _title(label: str, name: str) -> str:
    return f"{label}: {name}" if label else name


def _short(name: str, most: int = 18) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"

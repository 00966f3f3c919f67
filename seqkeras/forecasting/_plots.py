"""Plots of forecasts, backtests, components and importances."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from seqkeras._drawing import (
    ACTUAL,
    BANDS,
    BAR,
    FORECAST,
    HISTORY,
    blank,
    dress,
    legend_above,
    show_dates,
    timestamps,
)

#: Largest number of names along an axis; more would overlap.
MOST_NAMES = 12


def draw(
    parts: dict[str, Any],
    time: str,
    target: str,
    levels: tuple[float, ...],
    *,
    title: str = "",
) -> Any:
    """Draw a panel for each series: history, forecast, bands and actual values.

    Args:
        parts: a pair of frames for each label, history and forecast.
        time: column of the timestamps.
        target: column of the values in the history.
        levels: levels of the bands, in percent.
        title: title of the figure, default none.

    Returns:
        A `matplotlib.figure.Figure`.
    """

    def panel(axis: Any, frames: Any) -> Any:
        history, forecast = frames
        _draw_series(axis, history, forecast, (time, target), levels)
        return forecast[time]

    return _below_each_other(parts, target, title, panel)


def _below_each_other(
    parts: dict[str, Any], target: str, title: str, panel: Callable[[Any, Any], Any]
) -> Any:
    """Draw a panel for each part with `panel`, which returns its timestamps."""
    figure = blank(10, 1.2 + 3.6 * len(parts), title)
    axes = np.atleast_1d(figure.subplots(len(parts), 1))
    for axis, (label, frames) in zip(axes, parts.items(), strict=True):
        show_dates(axis, timestamps(panel(axis, frames)))
        dress(axis, label, target)
    legend_above(axes[0])
    return figure


class Curves(NamedTuple):
    """What is drawn of a series.

    Attributes:
        past: times and values of the history.
        times: those of the forecast and its bands, after the newest of the history.
        forecast: the forecast, after the newest value, to connect it with the history.
        bands: lower and upper ends by level, in percent, the widest first: narrower ones are drawn
            over it.
        actual: times and values after the history; empty if there are none.
    """

    past: tuple[Any, Any]
    times: Any
    forecast: Any
    bands: dict[float, tuple[Any, Any]]
    actual: tuple[Any, Any]


def curves_of(
    history: Any, forecast: Any, columns: tuple[str, str], levels: tuple[float, ...]
) -> Curves:
    """Return the curves of a series, from the frames of its history and forecast."""
    time, target = columns
    start = forecast[time].iloc[0]
    past = history[history[time] < start]
    actual = history[history[time] >= start]

    def ahead(column: str) -> Any:
        return np.append(past[target].to_numpy()[-1:], forecast[column].to_numpy())

    return Curves(
        past=(timestamps(past[time]), past[target].to_numpy()),
        times=np.append(timestamps(past[time])[-1:], timestamps(forecast[time])),
        forecast=ahead("yhat"),
        bands={
            level: (ahead(f"yhat-lo-{level:g}"), ahead(f"yhat-hi-{level:g}"))
            for level in sorted(levels, reverse=True)
        },
        actual=(timestamps(actual[time]), actual[target].to_numpy()),
    )


def _draw_series(
    axis: Any, history: Any, forecast: Any, columns: tuple[str, str], levels: tuple[float, ...]
) -> None:
    curves = curves_of(history, forecast, columns, levels)
    axis.plot(*curves.past, color=HISTORY, lw=1.4, label="history")
    for number, (level, band) in enumerate(curves.bands.items()):
        style = {"color": BANDS[min(number, len(BANDS) - 1)], "lw": 0}
        axis.fill_between(curves.times, *band, label=f"{level:g} % interval", **style)
    axis.plot(curves.times, curves.forecast, color=FORECAST, lw=2, label="forecast")
    if len(curves.actual[0]):
        style = {"color": ACTUAL, "lw": 0, "marker": "o", "ms": 4}
        axis.plot(*curves.actual, label="actual", **style)


def draw_backtest(parts: dict[str, Any], time: str, target: str, *, title: str = "") -> Any:
    """Draw a panel for each series: actual values, and forecasts from each origin with bands.

    Args:
        parts: rows of the frame of a backtest, by label.
        time: column of the timestamps.
        target: column of the actual values.
        title: title of the figure, default none.

    Returns:
        A `matplotlib.figure.Figure`.
    """

    def panel(axis: Any, rows: Any) -> Any:
        _draw_origins(axis, rows, time)
        actual = rows.drop_duplicates(time).sort_values(time)
        axis.plot(timestamps(actual[time]), actual[target], color=ACTUAL, lw=1.4, label="actual")
        return actual[time]

    return _below_each_other(parts, target, title, panel)


def _draw_origins(axis: Any, rows: Any, time: str) -> None:
    """Draw a line and bands from each cutoff; one-step forecasts are joined to a single line."""
    low = "yhat-lo-"
    levels = sorted((float(name.removeprefix(low)) for name in rows if low in name), reverse=True)
    single = not rows["cutoff"].duplicated().any()
    for _, group in [("", rows)] if single else rows.groupby("cutoff"):
        times = timestamps(group[time])
        for number, level in enumerate(levels):
            style = {"color": BANDS[min(number, len(BANDS) - 1)], "lw": 0, "alpha": 0.6}
            band = (group[f"{low}{level:g}"], group[f"yhat-hi-{level:g}"])
            axis.fill_between(times, *band, label=f"{level:g} % interval", **style)
        axis.plot(times, group["yhat"], color=FORECAST, lw=1.6, label="forecast")
        axis.plot(times[:1], group["yhat"].iloc[:1], color=FORECAST, marker="o", ms=4)


def draw_comparison(
    scores: Any,
    label: str,
    frames: Any,
    columns: tuple[str, str],
    levels: tuple[float, ...],
    *,
    title: str = "",
) -> Any:
    """Draw a bar for the score of each contender, and a forecast below them.

    Args:
        scores: rows of the table of a `Comparison`, the best first; its first column is the score
            by which the contenders were ranked, its second one the same score on the last horizon.
        label: name of the series below.
        frames: its history and its forecast.
        columns: the columns of timestamps and of the values in the history.
        levels: levels of the bands, in percent.
        title: title of the figure, default none.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    bars = 0.8 + 0.32 * len(scores)
    figure = blank(10, 1.6 + bars + 3.6, title)
    above, below = figure.subplots(2, 1, height_ratios=(bars, 3.6))
    choice, final = scores.columns[:2]
    places = np.arange(len(scores))[::-1]
    above.barh(places, scores[final], color=BAR, label=f"{final} on the last horizon")
    style = {"color": ACTUAL, "lw": 0, "marker": "o", "ms": 5}
    above.plot(scores[choice], places, label="before it, by which they were ranked", **style)
    dress(above, "", "", grid="x")
    above.set_yticks(places, scores.index)
    legend_above(above)
    history, forecast = frames
    _draw_series(below, history, forecast, columns, levels)
    show_dates(below, timestamps(forecast[columns[0]]))
    dress(below, label, columns[1])
    legend_above(below)
    return figure


def draw_components(parts: dict[str, Any], time: str, *, title: str = "") -> Any:
    """Draw a column for each series: the forecast over the season, and the components below it.

    Args:
        parts: rows of the frame of `Components`, by label.
        time: column of the timestamps; the components are the columns after `yhat`.
        title: title of the figure, default none.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    columns = next(iter(parts.values())).columns.tolist()
    season, *added = columns[columns.index("yhat") + 1 :]
    heights = [2, *(1 for _ in added)]
    figure = blank(max(8, 4.5 * len(parts)), 1 + 1.3 * sum(heights), title)
    axes = figure.subplots(
        len(heights), len(parts), squeeze=False, sharex="col", height_ratios=heights
    )
    for column, (label, rows) in zip(axes.T, parts.items(), strict=True):
        times = timestamps(rows[time])
        column[0].plot(times, rows[season], color=HISTORY, lw=1.4, label=season)
        column[0].plot(times, rows["yhat"], color=FORECAST, lw=2, label="forecast")
        dress(column[0], label, "")
        for axis, name in zip(column[1:], added, strict=True):
            axis.sharey(column[1])  # one scale for all components, so that small ones look small
            axis.fill_between(times, 0, rows[name], color=BAR, lw=0)
            axis.plot(times, rows[name], color=FORECAST, lw=1.2)
            dress(axis, f"+ {name}", "")
        show_dates(column[-1], times, most=6)
    legend_above(axes[0, 0])
    return figure


def draw_importance(frame: Any, error: float, *, title: str = "") -> Any:
    """Draw bars of the target's lags and, if there are several features, of the features.

    Args:
        frame: the frame of an `Importance`.
        error: mean absolute error of the unchanged forecasts.
        title: title of the figure, default none.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    whole = frame["lag"] == "all"
    features = frame[whole].sort_values("importance")
    lags = frame[~whole].iloc[::-1]
    label = f"increase of the error, which is {error:.3g}"
    if len(features) == 1:
        figure = blank(10, 3.6, title)
        _draw_lags(figure.subplots(), lags)
        figure.supylabel(label, fontsize=10)
        return figure
    figure = blank(11, max(3.6, 1.6 + 0.32 * len(features)), title)
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    _bars(left.barh, features, "xerr")
    dress(left, "when a feature is permuted", "", grid="x")
    left.set_yticks(range(len(features)), features["feature"])
    left.set_xlabel(label)
    _draw_lags(right, lags)
    return figure


def _draw_lags(axis: Any, lags: Any) -> None:
    _bars(axis.bar, lags, "yerr")
    dress(axis, f"when a part of the lookback of {lags['feature'].iloc[0]} is permuted", "")
    # Every n-th lag, counted from the newest one, which is on the right as in plots over time.
    ticks = np.arange(len(lags))[:: len(lags) // -MOST_NAMES]
    axis.set_xticks(ticks, lags["lag"].iloc[ticks])
    axis.set_xlabel("timesteps before the forecast")


def _bars(draw: Any, rows: Any, spread: str) -> None:
    style = {"color": BAR, "error_kw": {"ecolor": HISTORY, "lw": 1.4}}
    draw(range(len(rows)), rows["importance"], **{spread: rows["spread"].fillna(0)}, **style)

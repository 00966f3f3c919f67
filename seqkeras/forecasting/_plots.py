"""Pictures of forecasts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from seqkeras._lazy import optional

HISTORY, FORECAST, ACTUAL = "#4a5568", "#0b7285", "#d9480f"
BANDS = ("#d7ebef", "#a9d3db", "#7cbac6")


def draw(
    parts: dict[str, Any],
    time: str,
    target: str,
    levels: tuple[float, ...],
    *,
    title: str = "",
) -> Any:
    """One panel for each series: history, forecast, bands, and what came.

    Args:
        parts: for each label a pair of frames, history and forecast.
        time: column of the stamps.
        target: column of the values in the history.
        levels: of the bands.
        title: above the picture.

    Returns:
        A `matplotlib.figure.Figure`.
    """

    def panel(axis: Any, frames: Any) -> Any:
        history, forecast = frames
        _draw_one(axis, history, forecast, (time, target), levels)
        return forecast[time]

    return _below_each_other(parts, target, title, panel)


def _below_each_other(
    parts: dict[str, Any], target: str, title: str, panel: Callable[[Any, Any], Any]
) -> Any:
    """A panel for each part, which `panel` draws on an axis; it gives the stamps of that."""
    figure = blank(10, 1.2 + 3.6 * len(parts), title)
    axes = np.atleast_1d(figure.subplots(len(parts), 1))
    for axis, (label, frames) in zip(axes, parts.items(), strict=True):
        show_dates(axis, stamps(panel(axis, frames)))
        dress(axis, label, target)
    legend_above(axes[0])
    return figure


def _draw_one(
    axis: Any, history: Any, forecast: Any, columns: tuple[str, str], levels: tuple[float, ...]
) -> None:
    time, target = columns
    start = forecast[time].iloc[0]
    past, came = history[history[time] < start], history[history[time] >= start]
    axis.plot(stamps(past[time]), past[target], color=HISTORY, lw=1.4, label="history")

    def ahead(column: str) -> Any:
        """Starts at the newest value, so that forecast and history are one line."""
        return np.append(past[target].to_numpy()[-1:], forecast[column].to_numpy())

    times = np.append(stamps(past[time])[-1:], stamps(forecast[time]))
    # The widest band comes first, so that the narrower ones lie on it.
    for number, level in enumerate(sorted(levels, reverse=True)):
        low, high = ahead(f"yhat-lo-{level:g}"), ahead(f"yhat-hi-{level:g}")
        style = {"color": BANDS[min(number, len(BANDS) - 1)], "lw": 0}
        axis.fill_between(times, low, high, label=f"{level:g} % interval", **style)
    axis.plot(times, ahead("yhat"), color=FORECAST, lw=2, label="forecast")
    if len(came):
        style = {"color": ACTUAL, "lw": 0, "marker": "o", "ms": 4}
        axis.plot(stamps(came[time]), came[target], label="what came", **style)


def draw_backtest(parts: dict[str, Any], time: str, target: str, *, title: str = "") -> Any:
    """One panel for each series: what came, and the forecasts from each origin with bands.

    Args:
        parts: for each label the rows of the frame of a backtest.
        time: column of the stamps.
        target: column of what came.
        title: above the picture.

    Returns:
        A `matplotlib.figure.Figure`.
    """

    def panel(axis: Any, rows: Any) -> Any:
        _draw_origins(axis, rows, time)
        came = rows.drop_duplicates(time).sort_values(time)
        axis.plot(stamps(came[time]), came[target], color=ACTUAL, lw=1.4, label="what came")
        return came[time]

    return _below_each_other(parts, target, title, panel)


def _draw_origins(axis: Any, rows: Any, time: str) -> None:
    """A line and bands from each cutoff on; forecasts of one step are one line together."""
    low = "yhat-lo-"
    levels = sorted((float(one.removeprefix(low)) for one in rows if low in one), reverse=True)
    single = not rows["cutoff"].duplicated().any()
    for _, some in [("", rows)] if single else rows.groupby("cutoff"):
        times = stamps(some[time])
        for number, level in enumerate(levels):
            style = {"color": BANDS[min(number, len(BANDS) - 1)], "lw": 0, "alpha": 0.6}
            band = some[f"{low}{level:g}"], some[f"yhat-hi-{level:g}"]
            axis.fill_between(times, *band, label=f"{level:g} % interval", **style)
        axis.plot(times, some["yhat"], color=FORECAST, lw=1.6, label="forecast")
        axis.plot(times[:1], some["yhat"].iloc[:1], color=FORECAST, marker="o", ms=4)


def legend_above(axis: Any) -> None:
    """Each label once, above the right end: nothing is hidden there."""
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    axis.legend(handles.values(), handles, frameon=False, ncols=6, fontsize=9, **place)


def stamps(column: Any) -> Any:
    """Stamps that matplotlib can place: the start of periods, the wall clock of time zones."""
    if column.dtype.kind == "O":
        column = column.dt.to_timestamp()
    elif column.dtype.kind == "M":
        column = column.dt.tz_localize(None)
    return column.to_numpy()


def blank(width: float, height: float, title: str) -> Any:
    """An empty `matplotlib.figure.Figure` of this size in inches."""
    # Figure, not pyplot: no window, no global state, and it works without a screen.
    figure = optional("matplotlib.figure", extra="plot").Figure(
        figsize=(width, height), layout="constrained", dpi=150
    )
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    return figure


def show_dates(axis: Any, times: Any, *, most: int = 9) -> None:
    """At most so many short labels, with the year or the month once at the end of the axis."""
    if times.dtype.kind != "M":
        return
    dates = optional("matplotlib.dates", extra="plot")
    locator = dates.AutoDateLocator(minticks=3, maxticks=most)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))


def dress(axis: Any, title: str, label: str, *, grid: str = "y") -> None:
    """Title and label, a light grid, and nothing else around the drawing."""
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_ylabel(label)
    axis.grid(axis=grid, color="#e2e8f0", lw=0.8)
    axis.set_axisbelow(True)
    axis.margins(x=0.01)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(length=0)

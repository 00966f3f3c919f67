"""Pictures of forecasts."""

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
    figure = blank(10, 1.2 + 3.6 * len(parts), title)
    axes = np.atleast_1d(figure.subplots(len(parts), 1))
    for number, (axis, (label, (history, forecast))) in enumerate(
        zip(axes, parts.items(), strict=True)
    ):
        _draw_one(axis, history, forecast, (time, target), levels)
        dress(axis, label, target)
        if number == 0:
            axis.legend(loc="upper left", frameon=False, ncols=2, fontsize=9)
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

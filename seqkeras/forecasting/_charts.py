"""Pictures of a fit: how it was trained, and what its forecasts are made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqkeras.forecasting._plots import (
    ACTUAL,
    FORECAST,
    HISTORY,
    blank,
    dress,
    legend_above,
    show_dates,
    stamps,
)

#: More names than this along an axis run into each other.
MOST_NAMES = 12
BAR = "#4ba3b1"


def draw_losses(
    loss: Sequence[float], held_out: Sequence[float], best: int, *, title: str = ""
) -> Any:
    """The losses by epoch, and the epoch whose weights were kept.

    Args:
        loss: on the training windows, from the first epoch on.
        held_out: on the held-out windows, from before the first epoch on; may be empty.
        best: the number of the epoch; 0 is before the first.
        title: above the picture.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = blank(8, 4, title)
    axis = figure.subplots()
    mark = {"marker": "o", "ms": 3} if len(loss) < 15 else {}
    axis.plot(range(1, len(loss) + 1), loss, color=HISTORY, lw=1.4, label="training", **mark)
    if held_out:
        axis.plot(range(len(held_out)), held_out, color=FORECAST, lw=2, label="held out", **mark)
        label = f"kept: epoch {best}" if best else "kept: untrained"
        style = {"color": ACTUAL, "lw": 0, "marker": "o", "ms": 7}
        axis.plot([best], [held_out[best]], label=label, **style)
    dress(axis, "", "loss")
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=9)
    return figure


def draw_components(parts: dict[str, Any], time: str, *, title: str = "") -> Any:
    """A column for each series: the forecast over the season, and what is added below it.

    Args:
        parts: for each label the rows of the frame of `Components`.
        time: column of the stamps; the components are the columns behind `yhat`.
        title: above the picture.

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
        times = stamps(rows[time])
        column[0].plot(times, rows[season], color=HISTORY, lw=1.4, label=season)
        column[0].plot(times, rows["yhat"], color=FORECAST, lw=2, label="forecast")
        dress(column[0], label, "")
        for axis, name in zip(column[1:], added, strict=True):
            axis.sharey(column[1])  # one scale: what is small looks small
            axis.fill_between(times, 0, rows[name], color=BAR, lw=0)
            axis.plot(times, rows[name], color=FORECAST, lw=1.2)
            dress(axis, f"+ {name}", "")
        show_dates(column[-1], times, most=6)
    legend_above(axes[0, 0])
    return figure


def draw_importance(frame: Any, error: float, *, title: str = "") -> Any:
    """Bars of the lags of the target, and beside them bars of the features if there are several.

    Args:
        frame: that of an `Importance`.
        error: of the forecasts as they are.
        title: above the picture.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    whole = frame["lag"] == "all"
    features, lags = frame[whole].sort_values("importance"), frame[~whole].iloc[::-1]
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
    # Counted from the newest, which is on the right as in every picture of time.
    shown = np.arange(len(lags))[:: len(lags) // -MOST_NAMES]
    axis.set_xticks(shown, lags["lag"].iloc[shown])
    axis.set_xlabel("timesteps before the forecast")


def _bars(draw: Any, rows: Any, spread: str) -> None:
    style = {"color": BAR, "error_kw": {"ecolor": HISTORY, "lw": 1.4}}
    draw(range(len(rows)), rows["importance"], **{spread: rows["spread"].fillna(0)}, **style)

"""Pictures of a fit: what its forecasts are read from."""

from typing import Any

import numpy as np

from seqkeras.forecasting._plots import HISTORY, blank, dress

#: More names than this along an axis run into each other.
MOST_NAMES = 12
BAR = "#4ba3b1"


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

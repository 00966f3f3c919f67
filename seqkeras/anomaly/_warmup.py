"""How large errors usually are near the start of a series, where the network has read little."""

import dataclasses
from typing import Any

import numpy as np

from seqkeras._arrays import Floats, Integers
from seqkeras.windows import GroupedArray

#: Smallest spread of errors, in spreads of the feature: a series without noise is predicted almost
#: exactly, and rounding is no anomaly.
LEAST_SPREAD = 1e-3


def with_warmup(errors: Any, series: GroupedArray, lookback: int, most: int) -> Any:
    """Return errors whose `warmup` is fitted to windows of the training series.

    Each window is scored as a series of its own. Usual errors are those of its last quarter.

    Args:
        errors: `ForecastErrors` or causal `WindowErrors`, without a warmup.
        series: the training series, `(rows, features)`.
        lookback: rows of a window.
        most: number of windows, evenly spaced.
    """
    windows = [
        series[number][row : row + lookback]
        for number, row in _starts(series.lengths, lookback, most)
    ]
    scores = errors.score(GroupedArray.from_series(windows)).reshape(-1, lookback)
    usual = float(np.median(scores[:, -max(1, lookback // 4) :]))
    warmup = np.ones(lookback)
    if usual > 0:
        warmup = np.maximum(np.median(scores, axis=0) / usual, 1.0)
    return dataclasses.replace(errors, warmup=warmup)


def _starts(lengths: Integers, lookback: int, most: int) -> list[tuple[int, int]]:
    """Return series and first rows of evenly spaced windows."""
    counts = np.maximum(lengths - lookback + 1, 0)
    total = int(counts.sum())
    numbers = np.unique(np.linspace(0, total - 1, min(most, total)).astype(np.int64))
    bounds = np.cumsum(counts)
    series = np.searchsorted(bounds, numbers, side="right")
    rows = numbers - (bounds - counts)[series]
    return list(zip(series.tolist(), rows.tolist(), strict=True))


def fit_errors(error: Any, residuals: Floats) -> None:
    """Fit an error measure, and keep its spreads from vanishing.

    Args:
        error: the measure.
        residuals: `(n, features)`, in spreads of the features.
    """
    error.fit(residuals)
    error.spread_ = np.maximum(error.spread_, LEAST_SPREAD)

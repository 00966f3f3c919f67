"""Forecasts that need no training, and that every other one must beat."""

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, check_integer
from seqkeras.scoring._terms import Floats

#: Of the normal distribution, two-sided 90 %.
NORMAL_90 = 1.645


def naive(history: npt.ArrayLike, *, horizon: int, season_length: int = 1) -> Floats:
    """The last season, repeated; the last value for `season_length=1`.

    Args:
        history: `(rows,)`, the newest last.
        horizon: timesteps to forecast.
        season_length: timesteps of one season; all rows where there are fewer.

    Returns:
        `(horizon,)`.

    Raises:
        ArgumentError: the history is empty or not one-dimensional.

    Example:
        >>> naive([1.0, 2.0, 3.0], horizon=3, season_length=2).tolist()
        [2.0, 3.0, 2.0]
    """
    past = _one_series(history)
    season = past[-min(check_integer("season_length", season_length), len(past)) :]
    return np.resize(season, check_integer("horizon", horizon))


def naive2(history: npt.ArrayLike, *, horizon: int, season_length: int = 1) -> Floats:
    """The last value of the series without its season, and the season put on again.

    The forecast that the M4 competition measures others by (Makridakis et al. 2020). Where
    `is_seasonal` finds a season, the series is divided by the indices of the classical
    multiplicative decomposition; else this is the naive forecast.

    Args:
        history: `(rows,)`, the newest last.
        horizon: timesteps to forecast.
        season_length: timesteps of one season; 1 for none.

    Returns:
        `(horizon,)`.

    Raises:
        ArgumentError: the history is empty or not one-dimensional, or it has a season and values
            that are not above 0.

    Example:
        >>> naive2([1.0, 3.0] * 12, horizon=3, season_length=2).round(6).tolist()
        [1.0, 3.0, 1.0]
    """
    past = _one_series(history)
    horizon = check_integer("horizon", horizon)
    if not is_seasonal(past, season_length=season_length):
        return np.full(horizon, past[-1])
    if np.min(past) <= 0:
        fix = "Its season is a factor; naive has one that is not."
        raise bad_argument("history", float(np.min(past)), "above 0 everywhere", fix)
    indices = _seasonal_indices(past, season_length)
    steps = np.arange(len(past), len(past) + horizon) % season_length
    return past[-1] / indices[(len(past) - 1) % season_length] * indices[steps]


def is_seasonal(history: npt.ArrayLike, *, season_length: int) -> bool:
    """Whether the autocorrelation one season back stands out at 90 % (the test of M4).

    By Bartlett's formula for the error of an autocorrelation. A series of less than three seasons,
    or without any change, counts as not seasonal.

    Example:
        >>> is_seasonal([1.0, 3.0] * 8, season_length=2)
        True
    """
    past, season = _one_series(history), check_integer("season_length", season_length)
    centered = past - past.mean()
    variance = float(centered @ centered)
    if season == 1 or len(past) < 3 * season or variance == 0:
        return False
    lags = [centered[lag:] @ centered[:-lag] / variance for lag in range(1, season + 1)]
    error = np.sqrt((1 + 2 * np.sum(np.square(lags[:-1]))) / len(past))
    return bool(abs(lags[-1]) > NORMAL_90 * error)


def _seasonal_indices(past: Floats, season: int) -> Floats:
    """The index of each place in the season: mean ratio to the centred moving average."""
    even = season % 2 == 0
    weights = np.ones(season + even)
    weights[[0, -1]] = 0.5 if even else 1.0
    trend = np.convolve(past, weights / season, mode="valid")
    first = len(weights) // 2
    ratios = np.full(len(past), np.nan)
    ratios[first : first + len(trend)] = past[first : first + len(trend)] / trend
    means = np.array([np.nanmean(ratios[place::season]) for place in range(season)])
    return means / means.mean()


def _one_series(history: npt.ArrayLike) -> Floats:
    past = np.asarray(history, dtype=np.float64)
    if past.ndim != 1 or not len(past):
        raise bad_argument("history", past.shape, "(rows,) with one row or more")
    return past

"""Simple forecasts without training, as a baseline for all others."""

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Floats, is_constant, without_mask
from seqkeras._checks import bad_argument, check_integer

#: Quantile of the normal distribution for a two-sided 90 % test.
NORMAL_90 = 1.645


def naive(history: npt.ArrayLike, *, horizon: int, season_length: int = 1) -> Floats:
    """Repeat the last season, or the last value for `season_length=1`.

    Args:
        history: `(rows,)`, the newest last.
        horizon: timesteps to forecast.
        season_length: timesteps of one season, default 1. A shorter history is repeated as a whole.

    Returns:
        `(horizon,)`.

    Raises:
        ArgumentError: the history is empty or not one-dimensional.

    Example:
        >>> naive([1.0, 2.0, 3.0], horizon=3, season_length=2).tolist()
        [2.0, 3.0, 2.0]
    """
    past = _check_history(history)
    season = past[-min(check_integer("season_length", season_length), len(past)) :]
    return np.resize(season, check_integer("horizon", horizon))


def naive2(history: npt.ArrayLike, *, horizon: int, season_length: int = 1) -> Floats:
    """Repeat the last seasonally adjusted value, and apply the season again.

    This is the benchmark forecast of the M4 competition (Makridakis et al. 2020). If `is_seasonal`
    finds a season, the series is divided by the indices of the classical multiplicative
    decomposition; otherwise this is the naive forecast.

    Args:
        history: `(rows,)`, the newest last.
        horizon: timesteps to forecast.
        season_length: timesteps of one season, default 1: no season.

    Returns:
        `(horizon,)`.

    Raises:
        ArgumentError: the history is empty or not one-dimensional, or it is seasonal and has values
            of 0 or below.

    Example:
        >>> naive2([1.0, 3.0] * 12, horizon=3, season_length=2).round(6).tolist()
        [1.0, 3.0, 1.0]
    """
    past = _check_history(history)
    horizon = check_integer("horizon", horizon)
    if not is_seasonal(past, season_length=season_length):
        return np.full(horizon, past[-1])
    if np.min(past) <= 0:
        fix = "Use naive, which does not divide by the season."
        raise bad_argument("history", float(np.min(past)), "above 0 everywhere", fix)
    indices = _seasonal_indices(past, season_length)
    steps = np.arange(len(past), len(past) + horizon) % season_length
    return past[-1] / indices[(len(past) - 1) % season_length] * indices[steps]


def is_seasonal(history: npt.ArrayLike, *, season_length: int) -> bool:
    """Test whether the autocorrelation at the lag of one season is significant at 90 %, as in M4.

    The error of an autocorrelation follows Bartlett's formula. A series that is shorter than three
    seasons, or that never changes, counts as not seasonal.

    Example:
        >>> is_seasonal([1.0, 3.0] * 8, season_length=2)
        True
    """
    past = _check_history(history)
    season = check_integer("season_length", season_length)
    if season == 1 or len(past) < 3 * season or is_constant(np.min(past), np.max(past)):
        return False
    return abs(seasonal_score(past, season)) > NORMAL_90


def seasonal_score(values: Floats, season_length: int) -> float:
    """Return the autocorrelation at the lag of one season, in units of its standard error.

    The error is that of an autocorrelation that is 0 (Bartlett 1946), from those at shorter lags.

    Args:
        values: `(rows,)`, more than `season_length`, not all equal.
        season_length: timesteps of one season.
    """
    spectrum = np.fft.rfft(values - values.mean(), 2 * len(values))
    products = np.fft.irfft(np.abs(spectrum) ** 2)[: season_length + 1]
    correlations = products[1:] / products[0]
    error = np.sqrt((1 + 2 * np.sum(correlations[:-1] ** 2)) / len(values))
    return float(correlations[-1] / error)


def _seasonal_indices(past: Floats, season: int) -> Floats:
    """Return the mean ratio to the centered moving average, for each position in the season."""
    if season % 2:
        weights = np.ones(season)
    else:
        weights = np.ones(season + 1)
        weights[[0, -1]] = 0.5
    trend = np.convolve(past, weights / season, mode="valid")
    first = len(weights) // 2
    ratios = np.full(len(past), np.nan)
    ratios[first : first + len(trend)] = past[first : first + len(trend)] / trend
    means = np.array([np.nanmean(ratios[position::season]) for position in range(season)])
    return means / means.mean()


def _check_history(history: npt.ArrayLike) -> Floats:
    past = np.asarray(without_mask(history), dtype=np.float64)
    if past.ndim != 1 or not len(past):
        raise bad_argument("history", past.shape, "(rows,) with at least one row")
    return past

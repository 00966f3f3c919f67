"""Simple forecasts that are linear in the window: the seasonal naive forecast and smoothing."""

import itertools

import numpy as np

from seqkeras._arrays import Floats

#: Weight of each older season in the seasonal profile, relative to the season after it.
_SEASON_DECAYS = (0.5, 0.9)
#: Share of the newest row in the level, the smoothing parameter alpha.
_ALPHAS = (0.1, 0.3, 0.6, 0.9)
#: How the trend changes (the smoothing parameter beta) and is damped (phi): no trend, a trend that
#: is the same for the whole window, and one that follows the newest rows and fades out.
_TRENDS = ((None, 1.0), (0.0, 1.0), (0.1, 0.9))


def simple_forecasts(lookback: int, horizon: int, season_length: int) -> Floats:
    """Return the simple forecasts of a window as matrices, `(forecasts, lookback, horizon)`.

    A window `(lookback,)` times a matrix is a forecast `(horizon,)`. The first one is the seasonal
    naive forecast; with a season, the second is the last value. The others are exponential
    smoothing with a linear or damped trend (Gardner 1985) of the window without its seasonal
    profile, for several fixed parameters; the profile is added to the forecast. The weights of a
    window sum to 1 for each step of the horizon, so a forecast follows any shift of the window.

    Args:
        lookback: timesteps of the window.
        horizon: timesteps to forecast.
        season_length: timesteps of one season, at most `lookback`; 1 for no season.

    Example:
        >>> simple_forecasts(4, 2, 2)[0].T
        array([[0., 0., 1., 0.],
               [0., 0., 0., 1.]])
    """
    # A linear function maps the identity to its matrix.
    windows = np.eye(lookback)
    forecasts = [_seasonal_naive(windows, horizon, season_length)]
    if season_length > 1:
        forecasts.append(_seasonal_naive(windows, horizon, 1))
    decays = _SEASON_DECAYS if lookback >= 2 * season_length > 2 else (1.0,)
    for decay in decays:
        profile = _seasonal_profile(windows, season_length, decay)
        level = windows - _repeated(profile, lookback, first=-lookback)
        season = _repeated(profile, horizon)
        for alpha, (beta, phi) in itertools.product(_ALPHAS, _TRENDS):
            forecasts.append(_smoothed(level, horizon, season_length, alpha, beta, phi) + season)
    return np.stack(forecasts)


def _seasonal_naive(windows: Floats, horizon: int, season_length: int) -> Floats:
    return _repeated(windows[:, -season_length:], horizon)


def _seasonal_profile(windows: Floats, season_length: int, decay: float) -> Floats:
    """Return the mean season relative to its level, `(batch, season_length)`, oldest row first."""
    count = windows.shape[1] // season_length
    seasons = windows[:, -count * season_length :].reshape(len(windows), count, season_length)
    weights = decay ** np.arange(count)[::-1]
    relative = seasons - seasons.mean(axis=2, keepdims=True)
    return np.einsum("bcs,c->bs", relative, weights / weights.sum())


def _repeated(profile: Floats, steps: int, first: int = 0) -> Floats:
    """Repeat a profile over `steps`, the first of which takes its row `first`."""
    return profile[:, (first + np.arange(steps)) % profile.shape[1]]


def _smoothed(
    windows: Floats,
    horizon: int,
    season_length: int,
    alpha: float,
    beta: float | None,
    phi: float,
) -> Floats:
    """Return forecasts of exponential smoothing without seasons.

    Args:
        windows: `(batch, lookback)`.
        horizon: timesteps to forecast.
        season_length: rows whose mean begins the level, at least 2 if there are as many.
        alpha: share of a new row in the level.
        beta: share of a new change in the trend; None for no trend.
        phi: damping of the trend in each step.
    """
    lookback = windows.shape[1]
    size = min(lookback, max(season_length, 2))
    level = windows[:, :size].mean(axis=1)
    trend = np.zeros_like(level)
    if beta is not None:
        trend = (windows[:, -size:].mean(axis=1) - level) / max(1, lookback - size)
        level = level - trend * (size + 1) / 2
    for row in windows.T:
        new_level = alpha * row + (1 - alpha) * (level + phi * trend)
        if beta:
            trend = beta * (new_level - level) + (1 - beta) * phi * trend
        level = new_level
    growth = np.cumsum(phi ** np.arange(1, horizon + 1))
    return level[:, np.newaxis] + trend[:, np.newaxis] * growth

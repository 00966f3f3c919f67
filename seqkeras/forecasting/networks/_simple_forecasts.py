"""Simple forecasts of a window: exponential smoothing, with and without a season."""

import itertools
from dataclasses import dataclass

import numpy as np

from seqkeras._arrays import Array, Floats, Integers

#: Weight of each older season in a seasonal profile, relative to the season after it.
_SEASON_DECAYS = (0.5, 0.9)
#: Share of the newest row in the level, the smoothing parameter alpha.
_ALPHAS = (0.1, 0.3, 0.6, 0.9)
#: How the trend changes (the smoothing parameter beta) and is damped (phi): no trend, a trend that
#: is the same for the whole window, and one that follows the newest rows and fades out.
_TRENDS = ((None, 1.0), (0.0, 1.0), (0.1, 0.9))
#: Largest number of rows of a window that show which forecasts suit it.
_MOST_JUDGED = 48


@dataclass(frozen=True, eq=False)
class SimpleForecasts:
    """Forecasts of a window by exponential smoothing with several fixed parameters, as matrices.

    A smoother has a level, and no trend, a linear one or a damped one (Gardner 1985). Each smooths
    the window as it is, and, where there is a season, also the window without each of its seasonal
    profiles, which is added to the forecast. All this is linear in the window, and follows any
    shift of it.

    Attributes:
        profiles: `(lookback, profiles, season_length)`, from a window to its mean season, relative
            to the level and with the oldest row first.
        levels: `(lookback, smoothers)`, from a smoothed window to the last level.
        trends: `(lookback, smoothers)`, from a smoothed window to the last trend.
        growths: `(smoothers, horizon)`, how often the last trend is added to the last level.
        errors: `(lookback, smoothers, rows)`, from a smoothed window to the errors of its newest
            rows, each forecast from the rows before it.
    """

    profiles: Floats
    levels: Floats
    trends: Floats
    growths: Floats
    errors: Floats

    @classmethod
    def of(cls, lookback: int, horizon: int, season_length: int) -> "SimpleForecasts":
        """Return the simple forecasts of windows.

        Args:
            lookback: timesteps of the window.
            horizon: timesteps to forecast.
            season_length: timesteps of one season, at most `lookback`; 1 for no season.
        """
        windows = np.eye(lookback)  # a linear function maps the identity to its matrix
        decays: tuple[float, ...] = ()
        if season_length > 1:
            decays = _SEASON_DECAYS if lookback >= 2 * season_length else (1.0,)
        profiles = [_profile(windows, season_length, decay) for decay in decays]
        smoothers = [(alpha, *trend) for alpha, trend in itertools.product(_ALPHAS, _TRENDS)]
        rows = max(1, min(lookback // 2, _MOST_JUDGED))
        paths = [_smoothed(windows, season_length, *each)[..., -1 - rows :] for each in smoothers]
        levels, trends = np.array(paths).transpose(1, 2, 0, 3)
        phi = np.array([[phi] for *_, phi in smoothers])
        ahead = (levels + phi * trends)[..., :-1]
        return cls(
            profiles=np.array(profiles).reshape(-1, lookback, season_length).transpose(1, 0, 2),
            levels=levels[..., -1],
            trends=trends[..., -1],
            growths=np.cumsum(phi ** np.arange(1, horizon + 1), axis=1),
            errors=ahead - windows[:, np.newaxis, -rows:],
        )

    def __len__(self) -> int:
        """Return the number of forecasts."""
        return (1 + self.profiles.shape[1]) * len(self.growths)

    def read(self, windows: Array) -> tuple[Array, Array]:
        """Return all forecasts of windows, and how large their errors in the newest rows are.

        The forecasts of the windows as they are come first, then those with each of the profiles.

        Args:
            windows: `(batch, lookback)`.

        Returns:
            The forecasts, `(batch, forecasts, horizon)`, and the mean squares of these errors,
            `(batch, forecasts)`.
        """
        lookback, horizon = windows.shape[1], self.growths.shape[1]
        last = windows[:, -1:]
        relative = windows - last
        profiles = product(relative, self.profiles)
        plain = relative[:, np.newaxis]
        smoothed = np.concatenate(
            [plain, plain - repeated(profiles, lookback, first=-lookback)], axis=1
        )
        grown = product(smoothed, self.trends)[..., np.newaxis] * self.growths.astype(last.dtype)
        forecasts = product(smoothed, self.levels)[..., np.newaxis] + grown
        forecasts[:, 1:] += repeated(profiles, horizon)[:, :, np.newaxis]
        squares = np.square(product(smoothed, self.errors)).mean(axis=-1)
        shape = len(windows), len(self)
        return forecasts.reshape(*shape, -1) + last[..., np.newaxis], squares.reshape(shape)


def seasonal_naive(windows: Array, horizon: int, season_length: int) -> Array:
    """Return the last season of windows `(batch, lookback)`, repeated over the horizon."""
    return repeated(windows[:, -season_length:], horizon)


def repeated(seasons: Array, steps: int, first: int = 0) -> Array:
    """Repeat seasons, the last axis, over `steps`, the first of which takes the row `first`."""
    return seasons[..., rows_of_season(seasons.shape[-1], steps, first)]


def rows_of_season(season_length: int, steps: int, first: int = 0) -> Integers:
    """Return the row of its season for each of `steps`, the first of which has the row `first`."""
    return (first + np.arange(steps)) % season_length


def product(x: Array, matrix: Floats) -> Array:
    """Multiply the last axis of `x` by the first one of `matrix`, in the dtype of `x`."""
    return np.tensordot(x, matrix.astype(x.dtype), axes=1)


def _profile(windows: Floats, season_length: int, decay: float) -> Floats:
    """Return the mean season relative to its level, `(batch, season_length)`, oldest row first."""
    count = windows.shape[1] // season_length
    seasons = windows[:, -count * season_length :].reshape(len(windows), count, season_length)
    weights = decay ** np.arange(count)[::-1]
    relative = seasons - seasons.mean(axis=2, keepdims=True)
    return np.einsum("bcs,c->bs", relative, weights / weights.sum())


def _smoothed(
    windows: Floats, season_length: int, alpha: float, beta: float | None, phi: float
) -> Floats:
    """Return the level and the trend of exponential smoothing, before the first and after each row.

    Args:
        windows: `(batch, lookback)`.
        season_length: rows whose mean begins the level, at least 2 if there are as many.
        alpha: share of a new row in the level.
        beta: share of a new change in the trend; None for no trend.
        phi: damping of the trend in each step.

    Returns:
        `(2, batch, 1 + lookback)`.
    """
    lookback = windows.shape[1]
    size = min(lookback, max(season_length, 2))
    level = windows[:, :size].mean(axis=1)
    trend = np.zeros_like(level)
    if beta is not None:
        trend = (windows[:, -size:].mean(axis=1) - level) / max(1, lookback - size)
        level = level - trend * (size + 1) / 2
    path = [(level, trend)]
    for row in windows.T:
        new_level = alpha * row + (1 - alpha) * (level + phi * trend)
        if beta:
            trend = beta * (new_level - level) + (1 - beta) * phi * trend
        level = new_level
        path.append((level, trend))
    return np.array(path).transpose(1, 2, 0)

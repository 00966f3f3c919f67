"""A mean of simple forecasts, in which each window has its own shares."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from seqkeras._arrays import Array, Floats
from seqkeras.forecasting.networks._shares import LEAST_ERROR, POWER
from seqkeras.forecasting.networks._simple_forecasts import SimpleForecasts, rows_of_season

#: Smallest mean square of the recent errors of all forecasts, and of one relative to that of all.
_LEAST_SQUARE = 1e-12
_LEAST_RATIO = 1e-6
#: Powers that are tried for the ratio of recent errors.
RECENT_POWERS = (0.0, 0.5, 1.0)
#: Largest number of forecast values that are computed at once, to limit memory.
_MOST_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class SimpleMean:
    """A mean of simple forecasts, whose shares fall with the errors to expect in a window.

    The recent errors of a forecast are those in the newest rows of the window. How they compare
    with the recent errors of all forecasts is known before the horizon is. The error to expect is
    the mean error over all windows, times a power of this ratio, which is relative to its
    (geometric) mean over all windows. So each series of a panel has shares that suit it.

    Attributes:
        simple: the forecasts.
        errors: `(forecasts,)`, the error to expect of each where the ratio is 1.
        recent_power: power of the ratio, from 0 to 1. With 0, all windows have the same shares.
    """

    simple: SimpleForecasts
    errors: Floats
    recent_power: float

    @classmethod
    def fit(cls, simple: SimpleForecasts, x: Array, y: Array) -> "SimpleMean":
        """Measure the errors on windows, and choose the power with the smallest error of the mean.

        Args:
            simple: the forecasts.
            x: `(windows, lookback)`, at least one window.
            y: `(windows, horizon)`, without missing values.
        """
        errors, logarithms = np.zeros((2, len(simple)))
        for part in _parts(len(x), simple):
            forecasts, squares = simple.read(x[part])
            errors += np.abs(y[part, np.newaxis] - forecasts).mean(axis=2).sum(axis=0)
            logarithms += _log_ratios(squares).sum(axis=0)
        errors = np.maximum(errors / len(x), LEAST_ERROR)
        usual = np.exp(logarithms / len(x))
        means = [cls(simple, errors / usual**power, power) for power in RECENT_POWERS]
        totals = np.zeros(len(means))
        for part in _parts(len(x), simple):
            read = simple.read(x[part])
            totals += [np.abs(y[part] - mean._weighted(*read)).sum() for mean in means]
        return means[totals.argmin()]

    def predict(self, x: Array) -> Array:
        """Return the forecasts of windows `(batch, lookback)`, `(batch, horizon)`."""
        forecasts = np.empty((len(x), self.simple.growths.shape[1]), x.dtype)
        for part in _parts(len(x), self.simple):
            forecasts[part] = self._weighted(*self.simple.read(x[part]))
        return forecasts

    def _weighted(self, forecasts: Array, squares: Array) -> Array:
        """Return the mean of `(batch, forecasts, horizon)`, from the mean squares of errors."""
        logarithms = -POWER * (np.log(self.errors) + self.recent_power * _log_ratios(squares))
        shares = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return (shares[:, np.newaxis].astype(forecasts.dtype) @ forecasts)[:, 0]

    def build(self, relative: keras.KerasTensor, share: float) -> keras.KerasTensor:
        """Return the forecast times a share, computed by layers of Keras.

        Args:
            relative: `(batch, lookback)`, the window relative to its newest value, as is the
                forecast.
            share: share of this mean in another one.
        """
        simple = self.simple
        lookback, profile_count, season_length = simple.profiles.shape
        smoothers, horizon = simple.growths.shape
        smoothed = ops.expand_dims(relative, axis=1)
        if profile_count:
            profiles = _linear(relative, simple.profiles.reshape(lookback, -1), "profiles")
            profiles = _reshaped(profiles, profile_count, season_length)
            rows = rows_of_season(season_length, lookback, first=-lookback)
            inside = ops.take(profiles, rows, axis=-1)
            smoothed = ops.concatenate([smoothed, ops.subtract(smoothed, inside)], axis=1)
        shares = self._build_shares(smoothed)
        to_states = np.stack([simple.levels, simple.trends], axis=2).reshape(lookback, -1)
        states = _reshaped(_linear(smoothed, to_states, "levels_and_trends"), len(simple), 2)
        states = _reshaped(ops.multiply(states, ops.expand_dims(shares, axis=-1)), -1)
        growths = np.stack([np.ones_like(simple.growths), simple.growths], axis=1)
        growths = np.tile(growths.reshape(-1, horizon), (1 + profile_count, 1))
        forecast = _linear(states, share * growths, "growths")
        if not profile_count:
            return forecast
        to_profiles = np.repeat(np.eye(1 + profile_count)[:, 1:], smoothers, axis=0)
        profile_shares = _linear(shares, to_profiles, "profile_shares")
        profiles = ops.multiply(profiles, ops.expand_dims(profile_shares, axis=-1))
        to_steps = np.eye(season_length)[:, rows_of_season(season_length, horizon)]
        to_steps = np.tile(share * to_steps, (profile_count, 1))
        return ops.add(forecast, _linear(_reshaped(profiles, -1), to_steps, "season"))

    def _build_shares(self, smoothed: keras.KerasTensor) -> keras.KerasTensor:
        """Return the shares, `(batch, forecasts)`, from `(batch, 1 + profiles, lookback)`."""
        count = len(self.simple)
        lookback, _, rows = self.simple.errors.shape
        errors = _linear(smoothed, self.simple.errors.reshape(lookback, -1), "recent_errors")
        squares = ops.square(_reshaped(errors, count, rows))
        squares = _linear(squares, np.full((rows, 1), 1 / rows), "mean_squares")
        squares = _reshaped(squares, count)
        mean = _linear(squares, np.full((count, 1), 1 / count), "mean_square")
        ratios = ops.divide(squares, ops.add(mean, _LEAST_SQUARE))
        logarithms = ops.log(ops.add(ratios, _LEAST_RATIO))
        bias = -POWER * np.log(self.errors)
        powers = -POWER / 2 * self.recent_power * np.eye(count)
        return _linear(logarithms, powers, "shares", bias, "softmax")


def _parts(windows: int, simple: SimpleForecasts) -> Iterator[slice]:
    """Yield the windows in parts that are small enough to be read at once."""
    rows = max(1, _MOST_VALUES // (len(simple) * simple.growths.shape[1]))
    for first in range(0, windows, rows):
        yield slice(first, first + rows)


def _log_ratios(squares: Array) -> Array:
    """Return the logarithm of the root of mean squares, relative to the mean over all forecasts."""
    ratios = squares / (squares.mean(axis=1, keepdims=True) + _LEAST_SQUARE)
    return np.log(ratios + _LEAST_RATIO) / 2


def _linear(
    x: keras.KerasTensor,
    kernel: Floats,
    name: str,
    bias: Floats | None = None,
    activation: str | None = None,
) -> keras.KerasTensor:
    dense = layers.Dense(
        kernel.shape[1],
        activation,
        use_bias=bias is not None,
        kernel_initializer="zeros",  # JAX would compile random numbers for each shape
        dtype=keras.config.floatx(),  # mixed precision must not round the forecast
        name=name,
    )
    y = dense(x)
    dense.set_weights([kernel] if bias is None else [kernel, bias])
    return y


def _reshaped(x: keras.KerasTensor, *shape: int) -> keras.KerasTensor:
    return layers.Reshape(shape, dtype=keras.config.floatx())(x)

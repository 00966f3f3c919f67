"""The mean of simple forecasts, with shares of each window's own."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from seqkeras.forecasting.networks import _simple_mean
from seqkeras.forecasting.networks._shares import shares
from seqkeras.forecasting.networks._simple_forecasts import SimpleForecasts
from seqkeras.forecasting.networks._simple_mean import SimpleMean

LOOKBACK, HORIZON, SEASON = 12, 3, 4


def waves(count, random):
    """Series with a season, each with one of its own, and noise."""
    seasons = random.normal(size=(count, SEASON))
    return np.tile(seasons, 5)[:, : LOOKBACK + HORIZON] + random.normal(0, 0.3, (count, 15))


def walks(count, random):
    """Series without a season, whose last value is the best forecast."""
    return random.normal(size=(count, 15)).cumsum(axis=1)


def split(series):
    return series[:, :LOOKBACK], series[:, LOOKBACK:]


def mean_of(x, y):
    return SimpleMean.fit(SimpleForecasts.of(LOOKBACK, HORIZON, SEASON), x, y)


def error(forecast, y):
    return np.abs(y - forecast).mean()


def test_each_series_of_a_mixed_panel_gets_the_forecasts_that_suit_it():
    """Nearly as good for each kind as if all series were of this kind; the same for all is not."""
    random = np.random.default_rng(0)
    kinds = [waves(300, random), walks(300, random)]
    x, y = split(np.concatenate(kinds))
    mixed = mean_of(x, y)
    assert mixed.recent_power == 1
    for kind in kinds:
        x_kind, y_kind = split(kind)
        own = error(mean_of(x_kind, y_kind).predict(x_kind), y_kind)
        assert error(mixed.predict(x_kind), y_kind) < 1.05 * own
    forecasts, _ = mixed.simple.read(x)
    same = shares(np.abs(y[:, np.newaxis] - forecasts).mean(axis=(0, 2)))
    for_all = np.einsum("f,bfh->bh", same, forecasts)
    assert error(mixed.predict(x), y) < 0.93 * error(for_all, y)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_shares_fall_with_the_error_in_the_windows_and_in_this_window(power, monkeypatch):
    monkeypatch.setattr(_simple_mean, "RECENT_POWERS", (power,))
    x, y = split(walks(50, np.random.default_rng(0)))
    mean = mean_of(x, y)
    forecasts, squares = mean.simple.read(x)
    ratios = np.sqrt(squares / squares.mean(axis=1, keepdims=True)) ** power
    usual = np.exp(np.log(ratios).mean(axis=0))
    expected = np.abs(y[:, np.newaxis] - forecasts).mean(axis=(0, 2)) * ratios / usual
    weights = expected**-8.0 / (expected**-8.0).sum(axis=1, keepdims=True)
    by_hand = (weights[..., np.newaxis] * forecasts).sum(axis=1)
    np.testing.assert_allclose(mean.predict(x), by_hand, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [waves, walks])
def test_recent_errors_count_as_much_as_makes_the_error_smallest(kind, monkeypatch):
    x, y = split(kind(40, np.random.default_rng(0)))
    mean = mean_of(x, y)
    errors = {}
    for power in _simple_mean.RECENT_POWERS:
        monkeypatch.setattr(_simple_mean, "RECENT_POWERS", (power,))
        errors[power] = error(mean_of(x, y).predict(x), y)
    assert len(set(errors.values())) == 3
    assert mean.recent_power == min(errors, key=errors.get)


def test_windows_without_any_error_are_continued():
    constant = np.full((20, LOOKBACK + HORIZON), 7.0)
    x, y = split(constant)
    np.testing.assert_allclose(mean_of(x, y).predict(x), y)
    unlike, _ = split(walks(20, np.random.default_rng(0)))
    assert np.isfinite(mean_of(x, y).predict(unlike)).all()


def test_windows_are_read_in_parts(monkeypatch):
    x, y = split(walks(50, np.random.default_rng(0)))
    together = mean_of(x, y)
    monkeypatch.setattr(_simple_mean, "_MOST_VALUES", 2000)  # 18 windows
    in_parts = mean_of(x, y)
    np.testing.assert_allclose(in_parts.errors, together.errors)
    np.testing.assert_allclose(in_parts.predict(x), together.predict(x))
    assert in_parts.predict(x[:0]).shape == (0, HORIZON)


@pytest.mark.backends
@pytest.mark.parametrize("season", [1, 4])
def test_layers_of_keras_give_the_same(season):
    x, y = split(waves(40, np.random.default_rng(0)))
    mean = SimpleMean.fit(SimpleForecasts.of(LOOKBACK, HORIZON, season), x, y)
    mean = replace(mean, errors=np.linspace(1, 2, len(mean.simple)), recent_power=0.7)
    window = keras.Input((LOOKBACK,))
    model = keras.Model(window, mean.build(window, 0.5))
    relative = (x - x[:, -1:]).astype("float32")
    output = model.predict_on_batch(relative)
    np.testing.assert_allclose(output, 0.5 * mean.predict(relative), atol=1e-5)

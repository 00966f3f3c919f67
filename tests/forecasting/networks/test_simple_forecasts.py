"""Simple forecasts as matrices."""

import numpy as np
import pytest
import scipy.signal

from seqkeras.forecasting.networks._simple_forecasts import simple_forecasts
from seqkeras.scoring import naive

WINDOW = np.random.default_rng(0).normal(size=20).cumsum()


def test_the_first_ones_are_the_seasonal_naive_forecast_and_the_last_value():
    season, last = simple_forecasts(20, 9, 7)[:2]
    np.testing.assert_allclose(WINDOW @ season, naive(WINDOW, horizon=9, season_length=7))
    np.testing.assert_allclose(WINDOW @ last, np.full(9, WINDOW[-1]))


@pytest.mark.parametrize(
    ("lookback", "horizon", "season"),
    [(1, 1, 1), (1, 4, 1), (2, 3, 2), (13, 5, 12), (30, 40, 7)],
)
def test_forecasts_follow_any_shift_of_the_window(lookback, horizon, season):
    matrices = simple_forecasts(lookback, horizon, season)
    assert matrices.shape[1:] == (lookback, horizon)
    np.testing.assert_allclose(matrices.sum(axis=1), 1, atol=1e-9)


def test_without_a_season_there_is_exponential_smoothing():
    """Its level, as an independent recursive filter."""
    start = WINDOW[:2].mean()
    for alpha, number in ((0.1, 1), (0.9, 10)):
        filtered, _ = scipy.signal.lfilter(
            [alpha], [1, alpha - 1], WINDOW, zi=[(1 - alpha) * start]
        )
        forecast = WINDOW @ simple_forecasts(20, 3, 1)[number]
        np.testing.assert_allclose(forecast, np.full(3, filtered[-1]))


def test_a_wave_is_continued_by_all_but_the_last_value():
    wave = np.tile([3.0, -1.0, 4.0, 0.0], 6)
    forecasts = wave @ simple_forecasts(24, 6, 4)
    others = np.delete(forecasts, 1, axis=0)
    np.testing.assert_allclose(others, np.tile(wave[:6], (len(others), 1)), atol=0.6)


def test_a_line_is_continued_by_a_trend_of_the_whole_window():
    line = np.arange(16.0)
    forecasts = line @ simple_forecasts(16, 3, 1)
    assert np.isclose(forecasts, [16, 17, 18], atol=1e-9).all(axis=1).sum() == 4  # for each alpha

"""Simple forecasts as matrices."""

import numpy as np
import pytest
import scipy.signal

from seqkeras.forecasting.networks._simple_forecasts import SimpleForecasts, seasonal_naive
from seqkeras.scoring import naive

WINDOW = np.random.default_rng(0).normal(size=20).cumsum()
#: Numbers of the forecasts without a trend, in the order of alpha: 0.1, 0.3, 0.6, 0.9.
WITHOUT_TREND = (0, 3, 6, 9)


def forecasts_of(window, horizon, season_length):
    simple = SimpleForecasts.of(len(window), horizon, season_length)
    return simple.read(window[np.newaxis])[0][0]


def filtered(alpha):
    """Return the levels of simple smoothing after each row, as an independent filter."""
    start = WINDOW[:2].mean()
    return scipy.signal.lfilter([alpha], [1, alpha - 1], WINDOW, zi=[(1 - alpha) * start])[0]


def test_the_seasonal_naive_forecast_is_that_of_the_scores():
    forecast = seasonal_naive(WINDOW[np.newaxis], 9, 7)[0]
    np.testing.assert_allclose(forecast, naive(WINDOW, horizon=9, season_length=7))


@pytest.mark.parametrize(
    ("lookback", "horizon", "season"),
    [(1, 1, 1), (1, 4, 1), (2, 3, 2), (13, 5, 12), (30, 40, 7)],
)
def test_forecasts_follow_any_shift_of_the_window(lookback, horizon, season):
    simple = SimpleForecasts.of(lookback, horizon, season)
    windows = np.random.default_rng(0).normal(size=(3, lookback))
    forecasts, squares = simple.read(windows)
    assert forecasts.shape == (3, len(simple), horizon)
    assert squares.shape == (3, len(simple))
    shifted, same_squares = simple.read(windows + 100)
    np.testing.assert_allclose(shifted, forecasts + 100)
    np.testing.assert_allclose(same_squares, squares, atol=1e-9)


def test_without_a_season_there_is_exponential_smoothing():
    forecasts = forecasts_of(WINDOW, 3, 1)
    for alpha, number in ((0.1, WITHOUT_TREND[0]), (0.9, WITHOUT_TREND[-1])):
        np.testing.assert_allclose(forecasts[number], np.full(3, filtered(alpha)[-1]))


def test_errors_are_those_of_the_newest_rows_one_step_ahead():
    _, squares = SimpleForecasts.of(20, 3, 1).read(WINDOW[np.newaxis])
    for alpha, number in ((0.1, WITHOUT_TREND[0]), (0.9, WITHOUT_TREND[-1])):
        errors = filtered(alpha)[9:-1] - WINDOW[10:]
        np.testing.assert_allclose(squares[0, number], np.square(errors).mean())


def test_a_wave_is_continued_by_the_forecasts_with_a_season():
    wave = np.tile([3.0, -1.0, 4.0, 0.0], 6)
    forecasts = forecasts_of(wave, 6, 4)
    without, with_season = np.split(forecasts, [12])
    assert len(with_season) == 24  # for each of two profiles
    np.testing.assert_allclose(with_season, np.tile(wave[:6], (24, 1)), atol=1e-9)
    assert np.abs(without - wave[:6]).max(axis=1).min() > 1


def test_the_newest_of_two_seasons_counts_more():
    """How much more is different in the two profiles; a window of one season has one profile."""
    window = np.array([0.0, 0.0, 0.0, 0.0, 3.0, -3.0, 3.0, -3.0])
    first, last = forecasts_of(window, 4, 4)[[12, 24]]
    assert np.ptp(first) > np.ptp(last) > 3
    assert len(SimpleForecasts.of(7, 4, 4)) == 24


def test_a_line_is_continued_by_a_trend_of_the_whole_window():
    forecasts = forecasts_of(np.arange(16.0), 3, 1)
    assert np.isclose(forecasts, [16, 17, 18], atol=1e-9).all(axis=1).sum() == 4  # for each alpha

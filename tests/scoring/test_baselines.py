"""Tests of the simple forecasts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError
from seqkeras.scoring import is_seasonal, naive, naive2, owa


def seasonal(rows, season, noise=0.0):
    steps = np.arange(rows)
    factors = 1 + 0.5 * np.sin(2 * np.pi * steps / season)
    return (100 + steps) * factors + noise * np.random.default_rng(0).normal(size=rows)


def test_naive_repeats_the_last_season():
    history = np.arange(10)
    assert naive(history, horizon=5, season_length=3).tolist() == [7, 8, 9, 7, 8]
    assert naive(history, horizon=2).tolist() == [9, 9]
    assert naive(history[:2], horizon=3, season_length=7).tolist() == [0, 1, 0]


@pytest.mark.parametrize("season", [4, 7, 12])
def test_naive2_applies_the_season_to_the_last_level(season):
    history = seasonal(6 * season, season)
    forecast = naive2(history, horizon=2 * season, season_length=season)
    factors = 1 + 0.5 * np.sin(2 * np.pi * np.arange(2 * season) / season)
    level = history[-1] / factors[(len(history) - 1) % season]
    np.testing.assert_allclose(forecast, level * factors, rtol=0.03)


@given(st.lists(st.floats(1, 9), min_size=1, max_size=40), st.integers(1, 9))
def test_naive2_without_a_season_is_naive(history, season):
    if not is_seasonal(history, season_length=season):
        forecast = naive2(history, horizon=3, season_length=season)
        assert forecast.tolist() == naive(history, horizon=3).tolist()


def test_a_season_is_detected_through_noise_and_only_if_there_is_one():
    assert is_seasonal(seasonal(60, 12, noise=5), season_length=12)
    assert not is_seasonal(np.random.default_rng(0).normal(size=60), season_length=12)
    assert not is_seasonal(seasonal(35, 12), season_length=12)  # fewer than three seasons
    assert not is_seasonal(np.ones(60), season_length=12)
    assert not is_seasonal(seasonal(60, 12), season_length=1)


def test_naive2_refuses_a_season_that_is_not_a_factor():
    with pytest.raises(ArgumentError, match="history must be above 0 everywhere"):
        naive2(seasonal(60, 12) - 300, horizon=3, season_length=12)


@pytest.mark.parametrize("baseline", [naive, naive2])
@pytest.mark.parametrize("history", [[], [[1.0]]], ids=["empty", "two axes"])
def test_an_invalid_history_is_refused(baseline, history):
    with pytest.raises(ArgumentError, match="history must be"):
        baseline(history, horizon=2)


def test_owa_is_1_for_naive2_itself_and_refuses_to_divide_by_zero():
    assert owa(smape=13.2, mase=1.9, naive2_smape=13.2, naive2_mase=1.9) == 1
    with pytest.raises(ArgumentError, match="naive2_mase must be a finite number > 0"):
        owa(smape=1.0, mase=1.0, naive2_smape=1.0, naive2_mase=0.0)

"""Tests of smoothing against pandas, and of its streaming form."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.anomaly import ExponentialSmoothing, MovingAverage
from seqkeras.errors import ArgumentError

some_scores = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)), max_size=30)


@given(scores=some_scores, halflife=st.floats(0.1, 50))
def test_exponential_smoothing_is_that_of_pandas(scores, halflife):
    series = pd.Series(scores, dtype=float)
    expected = series.ewm(halflife=halflife).mean().where(series.notna())
    smoothed = ExponentialSmoothing(halflife).smooth(scores)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-9, atol=1e-6)


@given(scores=some_scores, window=st.integers(0, 8).map(lambda half: 2 * half + 1))
def test_a_moving_average_is_that_of_pandas(scores, window):
    series = pd.Series(scores, dtype=float)
    expected = series.rolling(window, center=True, min_periods=1).mean().where(series.notna())
    smoothed = MovingAverage(window).smooth(scores)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-9, atol=1e-6)


@given(scores=st.lists(st.one_of(st.floats(), st.just(np.inf)), max_size=30))
def test_single_steps_give_the_same_numbers_as_the_batch(scores):
    smoothing = ExponentialSmoothing(halflife=3)
    state = smoothing.initial_state()
    steps = []
    with np.errstate(over="ignore", invalid="ignore"):
        for score in scores:
            smoothed, state = smoothing.step(score, state)
            steps.append(smoothed)
        np.testing.assert_array_equal(steps, smoothing.smooth(scores))


def test_a_state_is_not_changed_by_a_step():
    smoothing = ExponentialSmoothing()
    _, state = smoothing.step(1.0, smoothing.initial_state())
    before = state.copy()
    smoothing.step(2.0, state)
    np.testing.assert_array_equal(state, before)


def test_only_exponential_smoothing_is_causal():
    scores = np.random.default_rng(0).random(50)
    future = np.concatenate([scores[:25], scores[25:] + 9])
    for smoothing in (ExponentialSmoothing(), MovingAverage()):
        same = smoothing.smooth(scores)[:25] == smoothing.smooth(future)[:25]
        assert same.all() == smoothing.causal


def test_a_huge_score_does_not_spoil_those_far_from_it():
    scores = np.ones(100)
    scores[10] = 1e300
    assert (MovingAverage(5).smooth(scores)[13:] == 1).all()
    scores[10] = np.inf
    for smoothing in (ExponentialSmoothing(), MovingAverage()):
        smoothed = smoothing.smooth(scores)
        assert smoothed[10] == np.inf
        np.testing.assert_allclose(np.delete(smoothed, 10), 1)


def test_a_long_gap_ends_with_the_first_known_score():
    scores = np.concatenate([[5.0], np.full(5000, np.nan), [1.0, 1.0]])
    np.testing.assert_array_equal(ExponentialSmoothing(2).smooth(scores)[-2:], [1.0, 1.0])


def test_wrong_parameters_are_refused():
    with pytest.raises(ArgumentError, match="halflife must be a finite number > 0"):
        ExponentialSmoothing(halflife=0).smooth([1.0])
    with pytest.raises(ArgumentError, match="For example 5"):
        MovingAverage(window=4).smooth([1.0])
    with pytest.raises(ArgumentError, match=r"shape \(n,\)"):
        MovingAverage().smooth([[1.0]])

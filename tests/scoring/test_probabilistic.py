"""Tests of metrics of quantiles and intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqkeras.errors import ArgumentError
from seqkeras.scoring import crps, interval_score, mae, mase, msis, wql

finite = st.floats(-1e4, 1e4, allow_subnormal=False)


@given(hnp.arrays(np.float64, 7, elements=finite), st.lists(finite, min_size=1, max_size=6))
def test_crps_of_a_sample_is_the_energy_form(actual, sample):
    """Compare with E|X - y| - E|X - X'| / 2, for equally spaced quantiles (Gneiting & Raftery)."""
    ordered = np.sort(sample)
    shares = (np.arange(len(ordered)) + 0.5) / len(ordered)
    spread = np.abs(ordered[:, None] - ordered).mean() / 2
    expected = np.abs(actual[:, None] - ordered).mean() - spread
    quantiles = np.broadcast_to(ordered, (7, len(ordered)))
    assert crps(actual, quantiles, probabilities=shares) == pytest.approx(expected, abs=1e-8)


def test_crps_of_a_normal_forecast_is_the_closed_form():
    """Compare with Gneiting & Raftery 2007, equation 21, at y = 0.7 for N(0, 1)."""
    shares = (np.arange(400) + 0.5) / 400
    draws = np.random.default_rng(0).normal(size=400_000)
    quantiles = np.quantile(draws, shares)
    y = 0.7
    density = math.exp(-y * y / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + math.erf(y / math.sqrt(2)))
    expected = y * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi)
    assert crps([y], quantiles[None], probabilities=shares) == pytest.approx(expected, abs=5e-3)


@given(
    hnp.arrays(np.float64, (3, 2), elements=finite),
    hnp.arrays(np.float64, (3, 2), elements=finite),
    st.sets(st.floats(0.01, 0.4)),
)
def test_crps_of_a_point_is_its_absolute_error(actual, guess, tails):
    shares = sorted({0.5, *tails, *(1 - tail for tail in tails)})
    quantiles = np.repeat(guess[..., None], len(shares), axis=-1)
    score = crps(actual, quantiles, probabilities=shares)
    assert score == pytest.approx(mae(actual, guess), abs=1e-8)


def test_crps_is_lowest_for_the_true_distribution():
    y = np.random.default_rng(0).normal(size=20_000)
    shares = np.array([0.025, 0.1, 0.5, 0.9, 0.975])
    honest = np.quantile(y, shares)
    scores = [
        crps(y, np.broadcast_to(factor * honest, (len(y), 5)), probabilities=shares)
        for factor in (0.5, 0.8, 1.0, 1.25, 2.0)
    ]
    assert np.argmin(scores) == 2


@given(
    hnp.arrays(np.float64, (4, 3), elements=finite),
    hnp.arrays(np.float64, (4, 3, 2), elements=finite),
)
def test_wql_agrees_with_a_loop(actual, quantiles):
    shares = [0.2, 0.7]
    size = np.abs(actual).sum()
    if size == 0:
        with pytest.raises(ArgumentError, match="divides by the sum of their sizes"):
            wql(actual, quantiles, probabilities=shares)
        return
    losses = 0.0
    for place in np.ndindex(4, 3):
        for number, share in enumerate(shares):
            error = actual[place] - quantiles[place][number]
            losses += 2 * (share * error if error > 0 else (share - 1) * error)
    score = wql(actual, quantiles, probabilities=shares)
    assert score == pytest.approx(losses / 2 / size, rel=1e-9, abs=1e-12)


def test_the_interval_score_is_the_width_plus_a_penalty_for_values_outside():
    low = [0.0] * 3
    high = [2.0] * 3
    assert interval_score([1.0, 1.0, 2.0], low, high, level=95) == 2
    assert interval_score([1.0, -1.0, 3.5], low, high, level=90) == pytest.approx(2 + 20 * 2.5 / 3)


def test_the_interval_score_is_lowest_at_the_true_quantiles():
    y = np.random.default_rng(1).normal(size=20_000)
    scores = [
        interval_score(y, np.full_like(y, -bound), np.full_like(y, bound), level=80)
        for bound in (0.7 * 1.2816, 1.2816, 1.4 * 1.2816)
    ]
    assert np.argmin(scores) == 1


def test_msis_is_scaled_like_mase():
    history = [1.0, 4.0, 2.0, 6.0, 3.0]
    actual = [5.0, 9.0]
    low = [4.0, 4.0]
    high = [6.0, 6.0]
    scale = mae(actual, [0.0, 0.0]) / mase(actual, [0.0, 0.0], history=history, season_length=2)
    expected = interval_score(actual, low, high, level=80) / scale
    score = msis(actual, low, high, level=80, history=history, season_length=2)
    assert score == pytest.approx(expected)


@pytest.mark.parametrize(
    ("quantiles", "shares", "message"),
    [
        ([[1.0, 2.0]], [0.9, 0.1], "probabilities must be increasing numbers"),
        ([[1.0, 2.0]], [0.0, 0.5], "probabilities must be increasing numbers"),
        ([[1.0, 2.0]], [10, 90], "probabilities must be increasing numbers"),
        ([[1.0]], [], "probabilities must be increasing numbers"),
        ([[1.0, 2.0]], [0.5], r"quantiles must be an array of shape \(1, 1\)"),
        ([1.0], [0.5], r"quantiles must be an array of shape \(1, 1\)"),
    ],
)
@pytest.mark.parametrize("metric", [wql, crps])
def test_quantiles_and_probabilities_that_do_not_fit_are_refused(
    metric, quantiles, shares, message
):
    with pytest.raises(ArgumentError, match=message):
        metric([1.0], quantiles, probabilities=shares)


@pytest.mark.parametrize("level", [0, 0.95, 100, -5, float("nan"), True, "95", None])
def test_a_level_that_is_no_percentage_is_refused(level):
    with pytest.raises(ArgumentError, match="level must be a percentage from 1 to below 100"):
        interval_score([1.0], [0.0], [2.0], level=level)
    with pytest.raises(ArgumentError, match="level must be a percentage from 1 to below 100"):
        msis([1.0], [0.0], [2.0], level=level, history=[1.0, 2.0])


def test_nan_is_not_hidden():
    nan = float("nan")
    assert np.isnan(crps([nan], [[1.0]], probabilities=[0.5]))
    assert np.isnan(interval_score([nan], [0.0], [1.0], level=80))

"""Tests of metrics against independent formulas and published numbers."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqkeras._arrays import rounding
from seqkeras.errors import ArgumentError
from seqkeras.scoring import coverage, crps, mae, mase, naive, rmse, seasonal_scales, smape, wql

# Quarterly Australian beer production, megalitres, 1992 to 2010. Hyndman & Athanasopoulos,
# Forecasting: Principles and Practice, 3rd edition, section 5.8, fit on 1992-2007, score on the
# ten quarters after, and print the numbers below.
BEER = np.concatenate(
    [
        [
            443,
            410,
            420,
            532,
            433,
            421,
            410,
            512,
            449,
            381,
            423,
            531,
            426,
            408,
            416,
            520,
        ],
        [
            409,
            398,
            398,
            507,
            432,
            398,
            406,
            526,
            428,
            397,
            403,
            517,
            435,
            383,
            424,
            521,
        ],
        [
            421,
            402,
            414,
            500,
            451,
            380,
            416,
            492,
            428,
            408,
            406,
            506,
            435,
            380,
            421,
            490,
        ],
        [
            435,
            390,
            412,
            454,
            416,
            403,
            408,
            482,
            438,
            386,
            405,
            491,
            427,
            383,
            394,
            473,
        ],
        [420, 390, 410, 488, 415, 398, 419, 488, 414, 374],
    ]
).astype(float)
HISTORY, ACTUAL = BEER[:64], BEER[64:]
BEER_FORECASTS = {
    "mean": (np.full(10, HISTORY.mean()), 38.45, 34.83, 2.44),
    "naive": (np.full(10, HISTORY[-1]), 62.69, 57.40, 4.01),
    "seasonal naive": (np.resize(HISTORY[-4:], 10), 14.31, 13.40, 0.94),
    "drift": (
        HISTORY[-1] + np.arange(1, 11) * (HISTORY[-1] - HISTORY[0]) / 63,
        64.90,
        58.88,
        4.12,
    ),
}

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
pairs = hnp.array_shapes(max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float64, shape, elements=finite)] * 2)
)


@pytest.mark.parametrize("name", BEER_FORECASTS)
def test_scores_are_those_of_the_textbook(name):
    forecast, published_rmse, published_mae, published_mase = BEER_FORECASTS[name]
    assert rmse(ACTUAL, forecast) == pytest.approx(published_rmse, abs=0.0051)
    assert mae(ACTUAL, forecast) == pytest.approx(published_mae, abs=0.0051)
    score = mase(ACTUAL, forecast, history=HISTORY, season_length=4)
    assert score == pytest.approx(published_mase, abs=0.0051)


@given(pairs)
def test_mae_and_rmse_agree_with_scikit_learn(pair):
    actual, forecast = pair
    flat = (actual.ravel(), forecast.ravel())
    assert mae(actual, forecast) == pytest.approx(sklearn.metrics.mean_absolute_error(*flat))
    expected = sklearn.metrics.root_mean_squared_error(*flat)
    assert rmse(actual, forecast) == pytest.approx(expected)


@given(pairs)
def test_smape_agrees_with_a_loop_is_symmetric_and_bounded(pair):
    actual, forecast = pair
    terms = [
        0.0 if a == f == 0 else 200 * abs(a - f) / (abs(a) + abs(f))
        for a, f in zip(actual.ravel(), forecast.ravel(), strict=True)
    ]
    score = smape(actual, forecast)
    assert score == pytest.approx(sum(terms) / len(terms))
    assert score == pytest.approx(smape(forecast, actual))
    assert 0 <= score <= 200.0001


def test_smape_of_a_wrong_sign_or_a_zero_is_200_and_of_two_zeros_0():
    assert smape([1.0, 5.0], [-2.0, 0.0]) == 200
    assert smape([0.0], [0.0]) == 0


@given(
    hnp.arrays(np.float64, st.integers(5, 30), elements=finite),
    hnp.arrays(np.float64, 4, elements=finite),
    st.integers(1, 4),
)
def test_mase_agrees_with_a_loop(history, forecast, season):
    changes = [abs(history[i] - history[i - season]) for i in range(season, len(history))]
    actual = np.arange(4.0)
    if sum(changes) == 0:
        with pytest.raises(ArgumentError, match=f"differences at lag {season} are 0"):
            mase(actual, forecast, history=history, season_length=season)
        return
    errors = [abs(a - f) for a, f in zip(actual, forecast, strict=True)]
    expected = (sum(errors) / 4) / (sum(changes) / len(changes))
    score = mase(actual, forecast, history=history, season_length=season)
    assert score == pytest.approx(expected)


def test_mase_is_1_for_the_seasonal_naive_forecast_on_its_own_history():
    score = mase(HISTORY[4:], HISTORY[:-4], history=HISTORY, season_length=4)
    assert score == pytest.approx(1)


@given(
    st.lists(
        hnp.arrays(np.float64, st.integers(0, 12), elements=finite | st.just(np.nan)), max_size=5
    ),
    st.integers(1, 4),
)
def test_seasonal_scales_agree_with_a_loop_over_series(series, season):
    indptr = np.cumsum([0, *(len(values) for values in series)])
    scales = seasonal_scales(np.concatenate([[], *series]), indptr, season)
    assert scales.shape == (len(series),)
    for values, scale in zip(series, scales, strict=True):
        changes = np.abs(values[season:] - values[:-season])
        changes = changes[~np.isnan(changes)]
        changed = len(changes) and changes.max() > rounding(np.nanmin(values), np.nanmax(values))
        expected = changes.mean() if changed else np.nan
        np.testing.assert_allclose(scale, expected)


@pytest.mark.parametrize("level", [0.0, 1e6])
@pytest.mark.parametrize("jitter", [1e-16, 1e-8])
def test_changes_that_are_rounding_are_no_changes(level, jitter):
    season = level + np.array([0.3, 7.0])
    history = np.tile(season, 4) + 7 * jitter * np.arange(8)
    assert np.isnan(seasonal_scales(history, [0, 8], 2)).all()


def test_a_slow_rise_at_a_high_level_is_a_change():
    history = 1e8 + 10.0 * np.arange(100)
    np.testing.assert_allclose(seasonal_scales(history, [0, 100], 1), [10])


def test_mase_ignores_missing_values_of_the_history():
    assert mase([4.0, 5.0], [4.0, 4.0], history=[1.0, 2.0, np.nan, 7.0, 8.0]) == 0.5


@pytest.mark.parametrize("factor", [1e-3, 1e6])
def test_mase_and_smape_do_not_depend_on_the_unit(factor):
    forecast = BEER_FORECASTS["naive"][0]
    score = mase(ACTUAL * factor, forecast * factor, history=HISTORY * factor, season_length=4)
    assert score == pytest.approx(mase(ACTUAL, forecast, history=HISTORY, season_length=4))
    assert smape(ACTUAL * factor, forecast * factor) == pytest.approx(smape(ACTUAL, forecast))


def test_coverage_counts_the_bounds_as_inside():
    assert coverage([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 4.0, 0.0], [5.0, 2.0, 5.0, 3.9]) == 0.5


def test_coverage_of_a_normal_sample_is_the_level():
    sample = np.random.default_rng(0).normal(size=(100, 100))
    bounds = np.full_like(sample, 1.2816)
    assert coverage(sample, -bounds, bounds) == pytest.approx(0.8, abs=0.01)


def test_nan_is_not_hidden():
    nan = float("nan")
    assert np.isnan(coverage([nan, 1.0], [0.0, 0.0], [2.0, 2.0]))
    assert np.isnan(smape([nan], [1.0]))
    assert np.isnan(mae([nan, 1.0], [1.0, 1.0]))


@pytest.mark.parametrize("metric", [mae, rmse, smape])
def test_whole_numbers_do_not_overflow(metric):
    small = np.array([200, 100], dtype=np.uint8)
    assert metric(small, small[::-1]) == pytest.approx(metric([200.0, 100.0], [100.0, 200.0]))


@pytest.mark.parametrize("metric", [mae, rmse, smape])
@pytest.mark.parametrize(
    ("actual", "forecast", "shapes"),
    [
        ([1.0, 2.0], [1.0], ["(2,)", "(1,)"]),
        # Broadcasting would score every pair of rows, also those that do not belong together.
        ([[1.0], [2.0]], [1.0, 2.0], ["(2, 1)", "(2,)"]),
        ([], [], ["(0,)", "not empty"]),
    ],
)
def test_shapes_that_differ_are_refused(metric, actual, forecast, shapes):
    with pytest.raises(ArgumentError, match="forecast must be") as caught:
        metric(actual, forecast)
    assert all(shape in str(caught.value) for shape in shapes)


@pytest.mark.parametrize(
    ("history", "season", "message"),
    [
        ([1.0, 2.0], 2, r"history must be \(rows,\) with more than 2 rows\. Got: history=\(2,\)"),
        ([[1.0, 2.0]], 1, r"Got: history=\(1, 2\)"),
        ([1.0, np.nan, 1.0], 1, "at least one change from season to season"),
        ([1.0, 2.0, 1.0, 2.0], 2, "at least one change from season to season"),
        ([1.0, 2.0], 0, "season_length must be an integer >= 1. Got: season_length=0"),
    ],
)
def test_mase_refuses_a_history_without_a_scale(history, season, message):
    with pytest.raises(ArgumentError, match=message):
        mase([1.0], [1.0], history=history, season_length=season)


def test_coverage_refuses_bounds_of_another_shape():
    with pytest.raises(ArgumentError, match=r"shape of actual, \(2,\)"):
        coverage([1.0, 2.0], [0.0, 0.0], [3.0])


def test_what_a_mask_hides_is_missing():
    plain = np.array([1.0, 100.0, 3.0, 4.0, 6.0])
    masked = np.ma.masked_array(plain, plain == 100)
    with_nan = np.where(plain == 100, np.nan, plain)
    quantiles = np.stack([plain - 1, plain + 1], axis=-1)
    for score in (
        lambda values: mae(values, plain),
        lambda values: rmse(plain, values),
        lambda values: smape(values, plain),
        lambda values: mase(plain, plain, history=values, season_length=1),
        lambda values: seasonal_scales(values, [0, 5], 1),
        lambda values: coverage(values, plain - 1, plain + 1),
        lambda values: crps(values, quantiles, probabilities=[0.1, 0.9]),
        lambda values: wql(values, quantiles, probabilities=[0.1, 0.9]),
        lambda values: naive(values, horizon=3, season_length=4),
    ):
        np.testing.assert_equal(score(masked), score(with_nan))

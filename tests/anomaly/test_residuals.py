"""Tests of errors against SciPy and formulas, with missing rows and constant features."""

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.anomaly import L1, L2, GaussianNLL, Mahalanobis
from seqkeras.errors import ArgumentError, DataError

MEASURES = (L1, L2, Mahalanobis, GaussianNLL)
each_measure = pytest.mark.parametrize("measure", MEASURES)


def residuals(rows=500, seed=0):
    """Return correlated residuals of three features of very different size."""
    mix = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -0.4], [0.0, 0.0, 1.0]])
    return np.random.default_rng(seed).normal(size=(rows, 3)) @ mix * [1e-3, 1.0, 1e4]


def test_l1_and_l2_are_means_over_features():
    rows = residuals()
    np.testing.assert_allclose(L1(scaled=False).fit(rows).score(rows), np.abs(rows).mean(axis=1))
    l2 = L2(scaled=False).fit(rows).score(rows)
    np.testing.assert_allclose(l2, np.sqrt((rows**2).mean(axis=1)))


@pytest.mark.parametrize("measure", [L1, L2])
def test_a_quiet_feature_counts_as_much_as_a_loud_one(measure):
    rows = residuals(5000)
    error = measure().fit(rows)
    spread = scipy.stats.median_abs_deviation(rows, scale="normal")
    np.testing.assert_allclose(error.spread_, spread, rtol=1e-6)
    sizes = error.score(np.diag(spread) * 10)
    np.testing.assert_allclose(sizes, sizes[0])
    unscaled = measure(scaled=False).fit(rows).score(np.diag(spread) * 10)
    assert unscaled[2] > 1e6 * unscaled[0]


def test_mahalanobis_without_shrinkage_is_that_of_scipy():
    rows = residuals()
    error = Mahalanobis(shrinkage=0).fit(rows)
    center = np.median(rows, axis=0)
    spread = scipy.stats.median_abs_deviation(rows, scale="normal")
    standard = np.clip((rows - center) / spread, -3, 3)
    inverse = np.linalg.inv(np.cov(standard, rowvar=False))
    expected = [
        scipy.spatial.distance.mahalanobis(row / spread, center / spread, inverse) for row in rows
    ]
    np.testing.assert_allclose(error.score(rows), np.array(expected) / np.sqrt(3), rtol=1e-6)


@pytest.mark.parametrize("shrinkage", [0.0, 0.2])
def test_the_likelihood_is_that_of_scipy_also_of_parts_of_rows(shrinkage):
    rows = residuals() * [1e3, 2.0, 1e-4]  # SciPy takes very unequal sizes for singular
    error = GaussianNLL(shrinkage).fit(rows)
    covariance = error.covariance_ * np.outer(error.spread_, error.spread_)
    logpdf = scipy.stats.multivariate_normal(error.center_, covariance).logpdf
    np.testing.assert_allclose(error.score(rows), -logpdf(rows) / 3, rtol=1e-6)
    part = rows.copy()
    part[:, 1] = np.nan
    both = [0, 2]
    logpdf = scipy.stats.multivariate_normal(
        error.center_[both], covariance[np.ix_(both, both)]
    ).logpdf
    np.testing.assert_allclose(error.score(part), -logpdf(rows[:, both]) / 2, rtol=1e-6)


def test_usual_rows_have_a_mahalanobis_error_near_one_for_any_number_of_features():
    for features in (1, 3, 20):
        rows = np.random.default_rng(0).normal(size=(5000, features))
        square_mean = np.mean(Mahalanobis().fit(rows).score(rows) ** 2)
        assert square_mean == pytest.approx(1, abs=0.05)


def test_correlated_features_count_once():
    noise = np.random.default_rng(0).normal(size=(2000, 1))
    rows = np.hstack([noise, noise + 0.01 * np.random.default_rng(1).normal(size=(2000, 1))])
    together, apart = Mahalanobis().fit(rows).score([[3.0, 3.0], [3.0, -3.0]])
    assert apart > 5 * together


@each_measure
def test_anomalies_in_training_rows_hardly_change_the_error(measure):
    clean = residuals(2000)
    dirty = clean.copy()
    dirty[::50] *= 1000
    probe = residuals(50, seed=1) * 5
    before, after = (measure().fit(rows).score(probe) for rows in (clean, dirty))
    np.testing.assert_allclose(after, before, rtol=0.2)


@each_measure
def test_missing_residuals_are_left_out_and_empty_rows_have_no_error(measure):
    rows = residuals()
    rows[::7, 0] = np.nan
    rows[3] = np.nan
    error = measure().fit(rows)
    scores = error.score(rows)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [3]
    assert np.isfinite(scores[7])


@each_measure
@pytest.mark.parametrize("rounding", [0.0, 1e-8])
def test_a_feature_that_never_changed_keeps_its_unit_and_a_change_counts(measure, rounding):
    rows = residuals()
    rows[:, 1] = 0.5 + rounding * np.random.default_rng(0).normal(size=len(rows))
    error = measure().fit(rows)
    assert error.spread_[1] == 1
    usual = np.array([[0.0, 0.5, 0.0]])
    changed = np.array([[0.0, 9.5, 0.0]])
    assert np.isfinite(error.score(rows)).all()
    assert 2 < error.score(changed)[0] - error.score(usual)[0] < 20


@pytest.mark.parametrize("shrinkage", [1e-3, 2e-3, 0.05])
def test_both_ways_to_invert_the_covariance_agree(shrinkage):
    rows = residuals()
    rows[::5, 2] = np.nan
    error = Mahalanobis(shrinkage).fit(rows)
    for part in ([0, 1], [0, 1, 2]):
        standard = ((rows[1] - error.center_) / error.spread_)[part]
        inverse = np.linalg.pinv(error.covariance_[np.ix_(part, part)])
        expected = np.sqrt(standard @ inverse @ standard / len(part))
        row = np.where(np.isin([0, 1, 2], part), rows[1], np.nan)
        np.testing.assert_allclose(error.score(row[np.newaxis]), expected, rtol=1e-6)


def test_directions_without_variance_do_not_count_without_shrinkage():
    column = np.random.default_rng(0).normal(size=(500, 1))
    error = Mahalanobis(shrinkage=0).fit(np.hstack([column, column]))
    np.testing.assert_allclose(
        error.score([[2.0, 2.0]]), Mahalanobis(0).fit(column).score([2.0]) / np.sqrt(2), rtol=1e-6
    )


@each_measure
def test_infinite_residuals_have_an_infinite_error(measure):
    error = measure().fit(residuals())
    assert error.score([[np.inf, 0.0, 0.0], [-np.inf, np.nan, 0.0]]).tolist() == [np.inf, np.inf]


@each_measure
@given(seed=st.integers(0, 10_000))
def test_single_steps_equal_the_batch(measure, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(40, rng.integers(1, 5)))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[0] = 0.0
    rows[1] = 1.0
    error = measure().fit(rows)
    steps = [error.score_step(row) for row in rows]
    np.testing.assert_allclose(steps, error.score(rows), rtol=1e-9, atol=1e-12)
    if measure is not GaussianNLL:
        assert (error.score(rows)[~np.isnan(steps)] >= 0).all()


@each_measure
def test_wrong_input_is_refused(measure):
    with pytest.raises(ArgumentError, match=r"shape \(2, 2, 2\)"):
        measure().fit(np.zeros((2, 2, 2)))
    with pytest.raises(DataError, match="numbers"):
        measure().fit([["a", "b"]])
    with pytest.raises(DataError, match="Feature 1 of residuals"):
        measure().fit([[1.0, np.nan], [2.0, np.nan]])
    with pytest.raises(DataError, match="1 infinite"):
        measure().fit([[1.0, np.inf]])
    with pytest.raises(DataError, match="0 rows"):
        measure().fit(np.zeros((0, 2)))
    with pytest.raises(ArgumentError, match=r"2 features\. Got: 3 features"):
        measure().fit(np.eye(2)).score(np.eye(3))


def test_wrong_parameters_are_refused():
    with pytest.raises(ArgumentError, match="scaled must be True or False"):
        L1(scaled="yes").fit([1.0, 2.0])
    with pytest.raises(ArgumentError, match="shrinkage must be"):
        Mahalanobis(shrinkage=1).fit([1.0, 2.0])
    with pytest.raises(DataError, match="2 rows"):
        Mahalanobis().fit([[1.0, np.nan], [np.nan, 2.0]])

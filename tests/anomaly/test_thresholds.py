"""Tests of thresholds against SciPy, scikit-learn and simulated promises."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score

from helpers.examples import examples
from seqkeras.anomaly import (
    MAD,
    Conformal,
    FBeta,
    KSigma,
    PeaksOverThreshold,
    Quantile,
)
from seqkeras.errors import ArgumentError, DataError

THRESHOLDS = (Quantile, KSigma, MAD, PeaksOverThreshold, Conformal)
each_threshold = pytest.mark.parametrize("threshold", THRESHOLDS)
SCORES = np.random.default_rng(0).exponential(size=4000)


def test_values_are_those_of_numpy_and_scipy():
    assert Quantile(0.1).fit(SCORES).value_ == np.percentile(SCORES, 90)
    assert KSigma(2).fit(SCORES).value_ == pytest.approx(SCORES.mean() + 2 * SCORES.std())
    spread = scipy.stats.median_abs_deviation(SCORES, scale="normal")
    assert MAD(2).fit(SCORES).value_ == pytest.approx(np.median(SCORES) + 2 * spread)


def test_a_quantile_flags_the_share_it_is_given():
    assert Quantile(0.05).fit(SCORES).predict(SCORES).mean() == 0.05


@each_threshold
def test_missing_scores_are_counted_and_never_flagged(threshold):
    scores = SCORES.copy()
    scores[::5] = np.nan
    scores[1] = 1e9
    fitted = threshold().fit(scores)
    assert fitted.missing_ == 800
    assert fitted.value_ == pytest.approx(threshold().fit(scores[~np.isnan(scores)]).value_)
    flags = fitted.predict(scores)
    assert flags.dtype == bool
    assert flags[1]
    assert not flags[np.isnan(scores)].any()
    assert fitted.predict([]).shape == (0,)


@each_threshold
@given(seed=st.integers(0, 1000))
def test_single_steps_give_the_flags_of_the_batch(threshold, seed):
    rng = np.random.default_rng(seed)
    scores = rng.exponential(size=60) * rng.choice([1, 3])
    scores[rng.random(60) < 0.1] = np.nan
    scores[0] = np.inf
    fitted = threshold().fit(SCORES)
    state = fitted.initial_state()
    flags = []
    for score in scores.tolist():
        flag, state = fitted.step(score, state)
        flags.append(flag)
    np.testing.assert_array_equal(flags, fitted.predict(scores))


@pytest.mark.parametrize("threshold", [KSigma(), MAD(), PeaksOverThreshold(), Conformal()])
def test_labeled_anomalies_are_left_out(threshold):
    scores = np.concatenate([SCORES, np.full(40, 50.0)])
    labels = np.arange(4040) >= 4000
    value = threshold.fit(scores, labels).value_
    assert value == pytest.approx(threshold.fit(SCORES).value_)
    assert value < threshold.fit(scores).value_


# PeaksOverThreshold


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3, 1.0])
def test_the_tail_is_fitted_as_well_as_by_scipy(shape):
    scores = scipy.stats.genpareto.rvs(shape, scale=2.0, size=5000, random_state=0)
    fitted = PeaksOverThreshold(risk=0.001, level=0.9).fit(scores)
    start = np.quantile(scores, 0.9)
    excesses = scores[scores > start] - start
    theirs = scipy.stats.genpareto.fit(excesses, floc=0)
    ours = (fitted.shape_, 0, fitted.scale_)
    likelihoods = [scipy.stats.genpareto.logpdf(excesses, *fit).sum() for fit in (ours, theirs)]
    assert likelihoods[0] > likelihoods[1] - 1e-3
    assert fitted.shape_ == pytest.approx(theirs[0], abs=0.01)
    quantile = start + scipy.stats.genpareto.isf(0.001 * 5000 / len(excesses), *ours)
    assert fitted.value_ == pytest.approx(quantile, rel=1e-6)


@given(seed=st.integers(0, 10_000), size=st.integers(10, 200), shape=st.floats(-0.4, 2))
def test_no_shape_and_scale_fit_a_tail_clearly_better(seed, size, shape):
    excesses = scipy.stats.genpareto.rvs(shape, size=size, random_state=seed) + 1e-9
    scores = np.concatenate([np.zeros(9 * size), excesses])
    fitted = PeaksOverThreshold(risk=1e-4, level=0.9).fit(scores)
    start = np.quantile(scores, 0.9)
    peaks = scores[scores > start] - start
    best = scipy.stats.genpareto.logpdf(peaks, fitted.shape_, 0, fitted.scale_).sum()
    assert np.isfinite(best)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        other = max(-0.5, fitted.shape_ + rng.normal() * 0.2)
        scale = fitted.scale_ * np.exp(rng.normal() * 0.2)
        assert scipy.stats.genpareto.logpdf(peaks, other, 0, scale).sum() < best + 1e-3


def test_a_rare_risk_holds_far_beyond_the_training_scores():
    fresh = np.random.default_rng(1).exponential(size=1_000_000)
    rates = [
        PeaksOverThreshold(risk=1e-4)
        .fit(np.random.default_rng(seed).exponential(size=5000))
        .predict(fresh)
        .mean()
        for seed in range(10, 30)
    ]
    assert 0.5e-4 < np.median(rates) < 2e-4


def test_too_few_peaks_and_a_risk_that_needs_no_tail_are_refused():
    with pytest.raises(DataError, match="at least 10 peaks"):
        PeaksOverThreshold().fit(SCORES[:100])
    with pytest.raises(DataError, match="0 of 1000 scores above"):
        PeaksOverThreshold().fit(np.ones(1000))
    with pytest.raises(ArgumentError, match="risk must be below"):
        PeaksOverThreshold(risk=0.05).fit(SCORES)
    with pytest.raises(ArgumentError, match="level"):
        PeaksOverThreshold(level=1.0).fit(SCORES)


# Conformal


@pytest.mark.parametrize("count", [19, 20, 57, 400])
def test_the_promise_holds_exactly_for_exchangeable_scores(count):
    """A uniform score exceeds the k-th smallest of n with probability 1 - k / (n + 1)."""
    rng = np.random.default_rng(0)
    values = [Conformal(0.05, adapt=0).fit(rng.random(count)).value_ for _ in range(2000)]
    expected = 1 - np.ceil(np.round((count + 1) * 0.95, 9)) / (count + 1)
    assert expected < 0.05 + 1e-12
    assert np.mean(1 - np.array(values)) == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize("rate", [0.01, 0.05])
@pytest.mark.parametrize("drift", ["none", "louder", "quieter", "wandering", "negative"])
def test_the_promise_holds_within_a_quarter_on_drifting_series(rate, drift):
    rng = np.random.default_rng(3)
    noise = rng.exponential(size=12_000)
    noise = np.convolve(noise, [0.5, 0.3, 0.2], mode="same")  # scores depend on those before
    level = {
        "none": np.ones(12_000),
        "louder": np.linspace(1, 4, 12_000),
        "quieter": np.linspace(4, 1, 12_000),
        "wandering": 2 + np.sin(np.arange(12_000) / 700),
        "negative": np.ones(12_000),
    }[drift]
    scores = noise * level - (100 if drift == "negative" else 0)
    flags = Conformal(rate).fit(scores[:6000]).predict(scores[6000:])
    assert flags.mean() / rate == pytest.approx(1, abs=0.25)


def test_following_costs_the_end_of_a_long_anomaly_and_adapt_0_does_not():
    scores = SCORES.copy()
    scores[3000:3200] += 20
    following = Conformal(0.01).fit(SCORES[:2000]).predict(scores)[3000:3200]
    fixed = Conformal(0.01, adapt=0).fit(SCORES[:2000]).predict(scores)[3000:3200]
    assert following[:5].all()
    assert not following.all()
    assert fixed.all()


def test_values_are_what_each_score_is_compared_with():
    fitted = Conformal(0.1).fit(SCORES)
    values = fitted.values(SCORES)
    assert values[0] == fitted.value_
    np.testing.assert_array_equal(values < SCORES, fitted.predict(SCORES))
    changes = np.diff(values)
    assert (changes[fitted.predict(SCORES)[:-1]] > 0).all()
    assert (changes[~fitted.predict(SCORES)[:-1]] < 0).all()
    np.testing.assert_array_equal(KSigma().fit(SCORES).values([1.0, np.nan]).shape, (2,))


def test_predict_changes_nothing():
    fitted = Conformal(0.1).fit(SCORES)
    np.testing.assert_array_equal(fitted.predict(SCORES), fitted.predict(SCORES))


def test_too_few_scores_for_a_promise_are_refused_with_the_number_needed():
    with pytest.raises(DataError, match="at least 99, or promise a higher rate"):
        Conformal(0.01).fit(SCORES[:98])
    assert Conformal(0.01).fit(SCORES[:99]).value_ == SCORES[:99].max()


def test_constant_scores_raise_no_alarm_until_they_rise():
    for threshold in (Quantile(), KSigma(), MAD(), Conformal()):
        fitted = threshold.fit(np.full(200, 2.0))
        assert not fitted.predict([2.0, 2.0])[0]
        assert fitted.predict([2.5])[0]


# FBeta


@examples(8)
@given(seed=st.integers(0, 10_000), beta=st.sampled_from([0.5, 1.0, 2.0]))
def test_no_other_threshold_has_a_better_f_beta(seed, beta):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, size=30).astype(float)
    labels = rng.random(30) < 0.3
    labels[0] = True
    fitted = FBeta(beta).fit(scores, labels)
    assert fitted.fbeta_ == pytest.approx(fbeta_score(labels, fitted.predict(scores), beta=beta))
    for value in np.arange(-1.5, 8):
        others = fbeta_score(labels, scores > value, beta=beta, zero_division=0.0)
        assert others <= fitted.fbeta_ + 1e-12


def test_f_beta_separates_neighboring_floats_and_can_flag_everything():
    low = 1.0
    high = np.nextafter(1.0, 2.0)
    assert FBeta().fit([low, high], [0, 1]).predict([low, high]).tolist() == [False, True]
    assert FBeta().fit([1.0, 2.0], [1, 1]).predict([1.0, 2.0]).all()


def test_f_beta_needs_labels():
    with pytest.raises(ArgumentError, match="labels must be given to FBeta"):
        FBeta().fit(SCORES)
    with pytest.raises(ArgumentError, match="no anomaly among 4000"):
        FBeta().fit(SCORES, np.zeros(4000))
    with pytest.raises(ArgumentError, match="no anomaly among 1 known"):
        FBeta().fit([1.0, np.nan], [0, 1])


# Wrong input


@pytest.mark.parametrize("contamination", [0, 1, -0.1, 1.5, np.nan, True, "auto"])
def test_a_contamination_that_is_no_share_is_refused(contamination):
    with pytest.raises(ArgumentError, match="contamination must be a number between 0 and 1"):
        Quantile(contamination).fit(SCORES)


@pytest.mark.parametrize(
    "threshold",
    [KSigma(0), KSigma("3"), MAD(-1), Conformal(0), Conformal(1), Conformal(adapt=-1), FBeta(0)],
)
def test_parameters_that_cannot_work_are_refused(threshold):
    with pytest.raises(ArgumentError):
        threshold.fit(SCORES, SCORES > 3)


@each_threshold
def test_scores_that_cannot_be_used_are_refused(threshold):
    with pytest.raises(ArgumentError, match=r"shape \(n,\)"):
        threshold().fit(np.ones((3, 2)))
    with pytest.raises(DataError, match="no known score in 3 rows"):
        threshold().fit([np.nan] * 3)
    with pytest.raises(DataError, match="no known score in 0 rows"):
        threshold().fit([])
    with pytest.raises(DataError, match="1 infinite"):
        threshold().fit([1.0, np.inf])
    for values in (["low", "high"], np.array(["2024-01-01"], "M8[D]"), [1 + 2j], [object()]):
        with pytest.raises(DataError, match="scores must hold real numbers"):
            threshold().fit(values)
    with pytest.raises(ArgumentError, match=r"labels must be of shape \(4000,\)"):
        threshold().fit(SCORES, [0, 1])
    with pytest.raises(ArgumentError, match="numbers 0 and 1"):
        threshold().fit(SCORES, np.full(4000, 2))


def test_scores_all_labeled_as_anomalies_are_refused():
    with pytest.raises(DataError, match="leave normal scores"):
        KSigma().fit(SCORES, np.ones(4000))

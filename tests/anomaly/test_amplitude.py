"""Tests of amplitude fusion: what it adds, causality, steps, degenerate series."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from seqkeras.anomaly import AmplitudeFusion
from seqkeras.errors import ArgumentError, DataError

both = pytest.mark.parametrize("causal", [False, True])


def series(length=600, features=2, seed=0):
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(length)[:, np.newaxis] / [5.0, 11.0, 3.0][:features])
    x = waves + 0.1 * rng.normal(size=(length, features))
    return x, rng.exponential(size=length)


def surprise(train, scores):
    """Minus the log of the share of training scores above, from the formula in the docstring."""
    points = np.quantile(train, [0.0, 0.5, 0.9, 0.98])
    logs = -np.log(1 - np.array([0.0, 0.5, 0.9, 0.98]))
    excess = (train[train > points[-1]] - points[-1]).mean()
    return np.interp(scores, points, logs) + np.maximum(scores - points[-1], 0) / excess


def test_the_fused_score_is_the_formula():
    x, learned = series(features=1)
    fusion = AmplitudeFusion(weight=0.3, window=5).fit(x, learned)
    new, new_learned = series(features=1, seed=1)
    new[300:] += 2
    center = np.median(x)
    spread = 1.4826022185 * np.median(np.abs(x - center))

    def parts(values):
        standard = (values[:, 0] - center) / spread
        means = [standard[max(0, t - 2) : t + 3].mean() for t in range(len(values))]
        return np.abs(standard), np.abs(means)

    deviation, shift = (
        surprise(train, scores) for train, scores in zip(parts(x), parts(new), strict=True)
    )
    expected = 0.7 * surprise(learned, new_learned) + 0.3 * (2 * deviation + shift) / 3
    np.testing.assert_allclose(fusion.fuse(new, new_learned), expected, rtol=1e-6)


@pytest.mark.parametrize(("unit", "learned_unit"), [(1e-6, 1.0), (1.0, 1e6), (1e6, 1e-6)])
def test_units_of_series_and_score_do_not_matter(unit, learned_unit):
    x, learned = series()
    expected = AmplitudeFusion().fit(x, learned).fuse(x, learned)
    fusion = AmplitudeFusion().fit(x * unit, learned * learned_unit)
    np.testing.assert_allclose(fusion.fuse(x * unit, learned * learned_unit), expected, rtol=1e-6)


def test_neither_part_drowns_however_heavy_the_tail_of_the_score():
    x, _ = series(2000)
    heavy = np.random.default_rng(0).pareto(0.5, size=2000)
    new = x.copy()
    new[1000:1010] += 3  # visible only in the amplitude
    learned = heavy.copy()
    learned[500:510] = np.quantile(heavy, 0.999)  # visible only in the learned score
    labels = np.zeros(2000, dtype=bool)
    labels[1000:1010] = labels[500:510] = True
    fused = AmplitudeFusion(window=9).fit(x, heavy).fuse(new, learned)
    precision = average_precision_score(labels, fused)
    assert precision > 0.6
    for weight in (0.0, 1.0):
        alone = AmplitudeFusion(weight, window=9).fit(x, heavy).fuse(new, learned)
        assert precision > average_precision_score(labels, alone)


@both
def test_a_level_shift_that_the_learned_score_misses_is_found(causal):
    x, learned = series()
    fusion = AmplitudeFusion(window=15, causal=causal).fit(x, learned)
    shifted = x.copy()
    shifted[400:] += 6
    fused = fusion.fuse(shifted, learned)
    assert fused[420:].min() > np.quantile(fused[:390], 0.99)


def test_causal_scores_do_not_change_with_the_future():
    x, learned = series()
    fusion = AmplitudeFusion(causal=True).fit(x, learned)
    changed = x.copy()
    changed[300:] *= -7
    same = fusion.fuse(changed, learned)[:300] == fusion.fuse(x, learned)[:300]
    assert same.all()
    centered = AmplitudeFusion().fit(x, learned)
    assert (centered.fuse(changed, learned)[:300] != centered.fuse(x, learned)[:300]).any()


@given(seed=st.integers(0, 10_000), features=st.integers(1, 3))
def test_single_steps_equal_the_batch(seed, features):
    rng = np.random.default_rng(seed)
    x, learned = series(80, features, seed)
    fusion = AmplitudeFusion(window=int(rng.integers(0, 20)) * 2 + 1, causal=True).fit(x, learned)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.integers(80)] = np.inf
    learned[rng.integers(80)] = np.nan
    learned[rng.integers(80)] = rng.choice([0.0, 100.0])
    state = fusion.initial_state()
    steps = []
    for row, score in zip(x, learned, strict=True):
        fused, state = fusion.step(row, float(score), state)
        steps.append(fused)
    np.testing.assert_allclose(steps, fusion.fuse(x, learned), rtol=1e-9)
    assert state.shape == (2 * features,)


@both
def test_missing_values_are_left_out_and_never_invented(causal):
    x, learned = series()
    x[10, 0] = np.nan
    x[20] = np.nan
    learned[30] = np.nan
    fused = AmplitudeFusion(causal=causal).fit(x, learned).fuse(x, learned)
    assert np.flatnonzero(np.isnan(fused)).tolist() == [20, 30]


@both
def test_a_constant_series_is_unsurprising_until_it_changes(causal):
    x = np.full(100, 7.0)
    learned = np.zeros(100)
    fusion = AmplitudeFusion(window=5, causal=causal).fit(x, learned)
    usual = fusion.fuse(x, learned)
    assert np.isfinite(usual).all()
    assert np.ptp(usual) == 0
    x[50:] = 9.0
    assert (fusion.fuse(x, learned)[52:] > usual[0] + 0.5).all()


def test_wrong_input_is_refused():
    x, learned = series()
    with pytest.raises(ArgumentError, match="weight"):
        AmplitudeFusion(weight=1.5).fit(x, learned)
    with pytest.raises(ArgumentError, match="window must be an odd number"):
        AmplitudeFusion(window=64).fit(x, learned)
    with pytest.raises(ArgumentError, match="causal"):
        AmplitudeFusion(causal=None).fit(x, learned)
    with pytest.raises(ArgumentError, match=r"learned must be of shape \(600,\)"):
        AmplitudeFusion().fit(x, learned[1:])
    with pytest.raises(DataError, match="learned"):
        AmplitudeFusion().fit(x, np.full(600, np.nan))
    with pytest.raises(DataError, match="Feature 1 of x"):
        AmplitudeFusion().fit(x * [1, np.nan], learned)
    with pytest.raises(ArgumentError, match="2 features"):
        AmplitudeFusion().fit(x, learned).fuse(x[:, :1], learned)

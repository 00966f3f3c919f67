"""Tests of the simple anomaly scores to compare with."""

import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.scoring import moving_z_scores, neighbor_scores, random_scores


@pytest.fixture
def series():
    """A noisy wave of two features."""
    random = np.random.default_rng(0)
    wave = np.sin(np.arange(3_000) / 7)[:, None] * [1, 3]
    return wave + random.normal(0, 0.1, (3_000, 2))


def test_random_scores_depend_on_the_seed():
    assert np.array_equal(random_scores(10, seed=1), random_scores(10, seed=1))
    assert not np.array_equal(random_scores(10, seed=1), random_scores(10, seed=2))


def test_moving_z_scores_agree_with_a_loop(series):
    scores = moving_z_scores(series, window=30)
    for row in (30, 31, 1_234, 2_999):
        before = series[row - 30 : row]
        distances = np.abs(series[row] - before.mean(axis=0)) / before.std(axis=0)
        assert scores[row] == pytest.approx(distances.max())
    assert not scores[:30].any()


def test_moving_z_scores_know_only_the_past(series):
    changed = series.copy()
    changed[2_000:] += 5
    assert np.array_equal(
        moving_z_scores(changed, window=30)[:2_000], moving_z_scores(series, window=30)[:2_000]
    )


def test_moving_z_scores_of_a_constant_series_are_zero():
    assert not moving_z_scores(np.full(50, 0.1), window=5).any()
    jump = np.append(np.full(50, 0.1), 9.0)
    assert np.argmax(moving_z_scores(jump, window=5)) == 50
    assert np.isfinite(moving_z_scores(jump, window=5)).all()


def test_neighbor_scores_agree_with_a_loop(series):
    """Compare all windows, which are few enough here."""
    values, length = series[:400], 20
    windows = np.stack([values[start : start + length] for start in range(381)])
    statistics = np.concatenate(
        [
            windows.std(axis=1),
            np.ptp(windows, axis=1),
            windows.max(axis=1),
            windows.min(axis=1),
            windows.mean(axis=1),
        ],
        axis=1,
    )
    statistics /= statistics.std(axis=0)
    scores = neighbor_scores(values, window=length, neighbors=3)
    assert len(scores) == 400
    for start in (0, 190, 380):
        apart = np.abs(np.arange(381) - start) >= length
        distances = np.linalg.norm(statistics[apart] - statistics[start], axis=1)
        expected = np.sort(distances)[:3].mean()
        assert scores[start + length // 2] == pytest.approx(expected)
    assert np.all(scores[:10] == scores[10])
    assert np.all(scores[390:] == scores[390])


def test_neighbor_scores_find_an_unusual_part_at_any_level(series):
    for level in (0, 1e7):
        changed = series + level
        changed[1_500:1_520] = changed[1_500]
        highest = np.argmax(neighbor_scores(changed, window=20))
        assert 1_490 <= highest < 1_530


def test_scores_do_not_depend_on_the_unit(series):
    for function in (moving_z_scores, neighbor_scores):
        expected = function(series[:200], window=20)
        for factor in (1e-6, 1e6, 1e307):
            np.testing.assert_allclose(function(series[:200] * factor, window=20), expected, 1e-6)


def test_neighbor_scores_of_a_constant_series_are_zero():
    assert not neighbor_scores(np.full(100, 0.1), window=10).any()


def test_the_shortest_series_has_a_neighbor_for_every_window():
    scores = neighbor_scores(np.arange(12.0) ** 2, window=4)
    assert np.all(scores > 0)


def test_bad_values_are_refused():
    gap = np.array([1.0, np.nan, 2.0, np.inf])
    for function in (moving_z_scores, neighbor_scores):
        for values, window, words in [
            (gap, 2, r"finite. Got: NaN or infinity in row 1 \(2 rows in all\)"),
            ([], 2, "not empty"),
            (np.zeros((2, 2, 2)), 2, r"\(timesteps, features\)"),
            (np.zeros(5), 5, "rows long.*smaller window"),
            (np.zeros(5), 0, "window must be an integer >="),
        ]:
            with pytest.raises(ArgumentError, match=words):
                function(values, window=window)
    with pytest.raises(ArgumentError, match="timesteps must be an integer >= 1"):
        random_scores(0)

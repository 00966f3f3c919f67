"""Tests of the score of the Numenta Anomaly Benchmark."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError
from seqkeras.scoring import nab_score

WEIGHTS = {
    "standard": (1.0, 1.0, 0.11),
    "reward_low_FP_rate": (1.0, 1.0, 0.22),
    "reward_low_FN_rate": (1.0, 2.0, 0.11),
}


def position_weight(distance):
    return -1 if distance > 3 else 2 / (1 + math.exp(5 * distance)) - 1


def slow_file_score(labels, scores, threshold, profile):
    """Score a file row by row, as the rule of NAB is written."""
    hit, miss, false = WEIGHTS[profile]
    probation = min(math.floor(0.15 * len(labels)), 750)
    edges = np.flatnonzero(np.diff([False, *labels, False]))
    windows = list(zip(edges[::2], edges[1::2] - 1, strict=True))
    best = {window: -miss for window in windows if window[1] >= probation}
    total = 0.0
    for row in range(probation, len(labels)):
        if scores[row] < threshold:
            continue
        inside = [window for window in windows if window[0] <= row <= window[1]]
        before = [window for window in windows if window[1] < row]
        if inside:
            (window,) = inside
            distance = -(window[1] - row + 1) / (window[1] - window[0] + 1)
            value = hit * position_weight(distance) / position_weight(-1)
            best[window] = max(best[window], value)
        elif before:
            start, end = before[-1]
            total += false * position_weight((row - end) / (end - start))
        else:
            total -= false
    return total + sum(best.values()), len(best)


def corpus(seed, files=3):
    random = np.random.default_rng(seed)
    labels, scores = [], []
    for _ in range(files):
        rows = int(random.integers(30, 90))
        flags = np.zeros(rows, bool)
        for start in random.integers(0, rows - 6, random.integers(0, 3)):
            flags[start : start + 5] = True
        labels.append(flags)
        scores.append(random.integers(0, 6, rows) / 5)
    return labels, scores


@given(st.integers(0, 10**6), st.sampled_from(sorted(WEIGHTS)), st.sampled_from([0.2, 0.8, 1.0]))
def test_file_scores_follow_the_rule(seed, profile, threshold):
    labels, scores = corpus(seed)
    result = nab_score(labels, scores, profile=profile, threshold=threshold)
    expected = [
        slow_file_score(*file, threshold, profile) for file in zip(labels, scores, strict=True)
    ]
    assert result.file_scores == pytest.approx([score for score, _ in expected])
    windows = sum(count for _, count in expected)
    if not windows:
        assert math.isnan(result.normalized)
        return
    hit, miss, _ = WEIGHTS[profile]
    null = -miss * windows
    scaled = 100 * (sum(score for score, _ in expected) - null) / (hit * windows - null)
    assert result.normalized == pytest.approx(scaled)


@given(st.integers(0, 10**6), st.sampled_from(sorted(WEIGHTS)))
def test_the_threshold_is_the_best_of_all_and_the_highest_of_equals(seed, profile):
    labels, scores = corpus(seed)

    def total(threshold):
        return nab_score(labels, scores, profile=profile, threshold=threshold).file_scores.sum()

    thresholds = [np.inf, *np.unique(np.concatenate(scores))[::-1]]
    totals = [total(threshold) for threshold in thresholds]
    result = nab_score(labels, scores, profile=profile)
    assert result.file_scores.sum() == pytest.approx(max(totals), abs=1e-9)
    higher = [value for at, value in zip(thresholds, totals, strict=True) if at > result.threshold]
    assert all(value < max(totals) for value in higher)


def test_values_by_hand():
    """A window of 10 rows from row 40, in 100 rows of which 15 are probation."""
    labels = np.zeros(100, bool)
    labels[40:50] = True

    def score(*rows):
        scores = np.zeros(100)
        scores[list(rows)] = 1
        return nab_score([labels], [scores], threshold=1).file_scores[0]

    assert score() == -1
    assert score(40) == pytest.approx(1)
    half = (2 / (1 + math.exp(-2.5)) - 1) / (2 / (1 + math.exp(-5)) - 1)
    assert score(45) == score(45, 49) == pytest.approx(half)
    assert score(40, 5) == pytest.approx(1)  # row 5 is in probation
    assert score(40, 20) == pytest.approx(1 - 0.11)  # before the first window: the full price
    assert score(40, 58) == pytest.approx(1 + 0.11 * (2 / (1 + math.exp(5)) - 1))
    assert score(40, 99) == pytest.approx(1 - 0.11)  # far behind: the full price


def test_a_detector_that_never_detects_gets_0_and_a_perfect_one_100():
    labels, _ = corpus(3)
    labels[0][:] = False
    labels[0][20:26] = True
    nothing = [np.zeros(len(flags)) for flags in labels]
    assert nab_score(labels, nothing, threshold=1).normalized == 0
    first_rows = [np.diff(flags, prepend=False) & flags for flags in labels]
    for profile in WEIGHTS:
        result = nab_score(labels, [rows.astype(float) for rows in first_rows], profile=profile)
        assert (result.normalized, result.threshold) == (pytest.approx(100), 1)


def test_nothing_is_detected_if_every_detection_costs_more_than_it_gains():
    labels = np.zeros(1_000, bool)
    result = nab_score([labels], [np.ones(1_000)])
    assert (result.threshold, result.file_scores[0]) == (np.inf, 0)


def test_a_window_within_probation_counts_nothing():
    labels = np.zeros(100, bool)
    labels[[2, 3, 50, 51]] = True
    assert nab_score([labels], [np.zeros(100)], threshold=1).file_scores[0] == -1


def test_a_single_file_needs_no_list():
    labels, scores = corpus(5, files=1)
    alone, listed = nab_score(labels[0], scores[0]), nab_score(labels, scores)
    assert alone.threshold == listed.threshold
    assert alone.file_scores == listed.file_scores


def test_bad_input_is_refused():
    for labels, scores, options, words in [
        ([], [], {}, "not empty"),
        ([[0, 1, 1]], [[0, 1, 1], [0, 1, 1]], {}, "as many arrays as labels, 1. Got: 2 arrays"),
        ([[0, 1, 1]], [[0, 1]], {}, "as long as labels"),
        ([[0, 1, 0]], [[0, 1, 0]], {}, "windows of at least two rows.*row 1.*Widen"),
        ([[0, 1, 1]], [[0, 1, np.nan]], {}, "NaN in row 2"),
        ([[0, 1, 1]], [[0, np.inf, 1]], {}, "infinity in row 1"),
        ([[0, 1, 1]], [[0, 1, 1]], {"profile": "standart"}, "Did you mean 'standard'"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            nab_score(labels, scores, **options)

"""Tests of the volumes under the surfaces."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqkeras.errors import ArgumentError
from seqkeras.scoring import vus_pr, vus_roc

#: 60 rows with anomalies of 1 to 5 rows, at both ends too, and scores with ties.
ROW = np.arange(60)
LABELS = np.isin(ROW, [0, 1, 20, 21, 22, 23, 24, 30, 31, 59])
SCORES = (7 * ROW * ROW + 3 * ROW) % 31 + 10.0 * LABELS


@pytest.mark.parametrize(
    ("window", "roc", "pr"),
    [
        (0, 0.6739999999999999, 0.39591552302025407),
        (1, 0.6739999999999999, 0.39591552302025407),
        (6, 0.7667692969875137, 0.4795803103662632),
        (25, 0.8962423258772294, 0.7115452361108581),
    ],
)
def test_volumes_equal_those_of_tsb_ad(window, roc, pr):
    """Compare with TSB-AD 1.5, `generate_curve` with the version "opt" and 250 thresholds."""
    assert vus_roc(LABELS, SCORES, window=window) == pytest.approx(roc, abs=1e-12)
    assert vus_pr(LABELS, SCORES, window=window) == pytest.approx(pr, abs=1e-12)


def slow_volumes(labels, scores, window):
    """Compute both volumes by their definition, one threshold and one row at a time."""
    rows = range(len(labels))
    edges = np.flatnonzero(np.diff([False, *labels, False]))
    anomalies = list(zip(edges[::2], edges[1::2] - 1, strict=True))
    picks = np.linspace(0, len(labels) - 1, 250).astype(int)
    thresholds = sorted(scores, reverse=True)
    areas = []
    for width in range(window + 1):
        reach = width // 2
        soft = [min(1.0, sum(slope(row, anomaly, width) for anomaly in anomalies)) for row in rows]
        groups = []
        for start, end in anomalies:
            near = [row for row in rows if start - reach <= row <= end + reach]
            if groups and groups[-1][-1] >= near[0]:
                groups[-1] = groups[-1] + near
            else:
                groups.append(near)
        curve = [(0.0, 0.0, 1.0)]
        for pick in picks:
            flagged = [score >= thresholds[pick] for score in scores]
            hits = sum(soft[row] for row in rows if flagged[row])
            slopes = sum(soft[row] for row in rows if flagged[row] and not labels[row])
            positives = sum(labels) + slopes / 2
            existence = np.mean([any(flagged[row] for row in group) for group in groups])
            recall = min(1, hits / positives) * existence
            false = (sum(flagged) - hits) / (len(labels) - positives)
            curve.append((recall, false, hits / sum(flagged)))
        pr = sum((b[0] - a[0]) * b[2] for a, b in itertools.pairwise(curve))
        curve.append((1.0, 1.0, 0.0))
        roc = sum((b[1] - a[1]) * (a[0] + b[0]) / 2 for a, b in itertools.pairwise(curve))
        areas.append((pr, roc))
    return np.mean(areas, axis=0)


def slope(row, anomaly, width):
    start, end = anomaly
    distance = max(start - row, row - end)
    if distance <= 0:
        return 1.0
    return np.sqrt(1 - distance / width) if distance <= width // 2 else 0.0


small = (
    st.integers(3, 20)
    .flatmap(
        lambda rows: st.tuples(
            hnp.arrays(bool, rows),
            hnp.arrays(
                np.float64, rows, elements=st.sampled_from([-np.inf, -1.5, 0, 0.25, 3, np.inf])
            ),
            st.integers(0, 9),
        )
    )
    .filter(lambda case: case[0].any() and not case[0].all())
)


@pytest.mark.parametrize("case", range(6))
def test_volumes_follow_the_definition(case):
    random = np.random.default_rng(case)
    labels = random.random(25) < 0.25
    labels[[3, 4]] = True, False
    scores = random.integers(0, 8, 25).astype(float)
    pr, roc = slow_volumes(labels.tolist(), scores.tolist(), window=7)
    assert vus_pr(labels, scores, window=7) == pytest.approx(pr, abs=1e-12)
    assert vus_roc(labels, scores, window=7) == pytest.approx(roc, abs=1e-12)


@given(small)
def test_volumes_are_shares_and_perfect_scores_get_1(case):
    labels, scores, window = case
    for function in (vus_pr, vus_roc):
        assert 0 <= function(labels, scores, window=window) <= 1 + 1e-12
        assert function(labels, labels.astype(float), window=window) == pytest.approx(1)


@given(small)
def test_only_the_order_of_scores_matters(case):
    labels, scores, window = case
    order = np.searchsorted(np.unique(scores), scores)
    for function in (vus_pr, vus_roc):
        assert function(labels, scores, window=window) == function(
            labels, 2.0**order, window=window
        )


@given(small)
def test_time_can_run_backward(case):
    labels, scores, window = case
    backward = vus_pr(labels[::-1], scores[::-1], window=window)
    assert backward == pytest.approx(vus_pr(labels, scores, window=window))


def test_equal_scores_get_the_share_of_anomalous_rows():
    labels = np.arange(1_000) % 100 < 7
    assert vus_pr(labels, np.ones(1_000), window=0) == pytest.approx(0.07)
    assert vus_roc(labels, np.ones(1_000), window=0) == pytest.approx(0.5)


def test_a_detection_next_to_an_anomaly_counts_only_within_the_window():
    labels = np.arange(100) == 50
    beside = (np.arange(100) == 53).astype(float)
    assert vus_pr(labels, beside, window=5) < 0.05
    assert vus_pr(labels, beside, window=40) > 0.4


@pytest.mark.parametrize(
    ("labels", "scores", "window", "words"),
    [
        ([0, 1], [0.1, np.nan], 1, r"NaN in row 1 \(1 in all\).*Score every row"),
        ([0, 0], [0.1, 0.2], 1, "at least one anomaly"),
        ([1, 1], [0.1, 0.2], 1, "at least one normal row"),
        ([0, 1], [0.1], 1, "scores must be as long as labels"),
        ([], [], 1, "not empty"),
        ([0, 3], [0.1, 0.2], 1, "the value 3"),
        ([0, 1], [0.1, 0.2], -1, "window must be an integer >= 0"),
        ([0, 1], [0.1, 0.2], 2.5, "window must be an integer >= 0"),
    ],
)
def test_bad_input_is_refused(labels, scores, window, words):
    for function in (vus_pr, vus_roc):
        with pytest.raises(ArgumentError, match=words):
            function(labels, scores, window=window)

"""Tests of precision and recall by distances in time."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from seqkeras.scoring import affiliation_precision_recall

#: 60 rows with anomalies of 1 to 5 rows, at both ends too, and what a poor detector flags.
ROW = np.arange(60)
LABELS = np.isin(ROW, [0, 1, 20, 21, 22, 23, 24, 30, 31, 59])
SCORES = (7 * ROW * ROW + 3 * ROW) % 31 + 10.0 * LABELS


@pytest.mark.parametrize(
    ("threshold", "precision", "recall"),
    [
        (5, 0.5036133549307801, 1.0),
        (20, 0.5792469025227647, 0.9606691919191919),
        (28, 0.6117097701149425, 0.49242424242424243),
    ],
)
def test_affiliation_equals_that_of_tsb_ad(threshold, precision, recall):
    """Compare with TSB-AD 1.5, which has the code of Huet et al. (`pr_from_events`)."""
    result = affiliation_precision_recall(LABELS, threshold <= SCORES)
    assert result == pytest.approx((precision, recall), abs=1e-12)


def numeric(labels, predictions, steps=100):
    """Compute both by their definition on a fine grid of points in time."""
    edges = np.flatnonzero(np.diff([False, *labels, False]))
    anomalies = list(zip(edges[::2], edges[1::2], strict=True))
    middles = [(a[1] + b[0]) / 2 for a, b in itertools.pairwise(anomalies)]
    bounds = [0, *middles, len(labels)]
    flagged = np.repeat(predictions, steps)
    points = (np.arange(len(flagged)) + 0.5) / steps
    precisions, recalls = [], []
    for (start, end), left, right in zip(anomalies, bounds, bounds[1:], strict=False):
        zone = points[(points > left) & (points < right)]
        alarms = points[flagged & (points > left) & (points < right)]
        recall = 0.0
        if len(alarms):
            spread = np.sort(np.maximum(np.maximum(start - zone, zone - end), 0))
            distance = np.maximum(np.maximum(start - alarms, alarms - end), 0)
            farther = 1 - np.searchsorted(spread, distance, side="right") / len(zone)
            precisions.append(np.mean(np.where(distance > 0, farther, 1)))
            inside = zone[(zone > start) & (zone < end)]
            near = np.abs(inside[:, np.newaxis] - alarms).min(axis=1)
            near = np.where(near < 1 / steps, 0, near)
            reach = np.minimum(near, inside - left) + np.minimum(near, right - inside)
            recall = np.mean(1 - reach / (right - left))
        recalls.append(recall)
    return (np.mean(precisions) if precisions else 0.0), np.mean(recalls)


@pytest.mark.parametrize("case", range(12))
def test_affiliation_agrees_with_a_fine_grid(case):
    random = np.random.default_rng(case)
    labels = random.random(30) < 0.2
    labels[[7, 8]] = True, False
    predictions = random.random(30) < (0.1, 0.4, 0.03)[case % 3]
    result = affiliation_precision_recall(labels, predictions)
    assert result == pytest.approx(numeric(labels, predictions), abs=0.01)


@given(hnp.arrays(bool, 20), hnp.arrays(bool, 20))
def test_time_can_run_backward(labels, predictions):
    labels[11] = True
    forward = affiliation_precision_recall(labels, predictions)
    backward = affiliation_precision_recall(labels[::-1], predictions[::-1])
    assert backward == pytest.approx(forward)


def test_nearer_flags_score_higher():
    labels = np.arange(100) == 50
    scores = [
        affiliation_precision_recall(labels, np.arange(100) == row).f1 for row in (50, 53, 60, 90)
    ]
    assert scores[0] == 1
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.25


def test_random_flags_get_about_half():
    labels = np.arange(2_000) % 500 == 250
    predictions = np.random.default_rng(0).random(2_000) < 0.3
    precision = affiliation_precision_recall(labels, predictions).precision
    assert precision == pytest.approx(0.5, abs=0.03)

"""Tests of precision and recall of intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqkeras.errors import ArgumentError
from seqkeras.scoring import overlap_precision_recall, range_precision_recall

#: 60 rows with anomalies of 1 to 5 rows, at both ends too, and what a poor detector flags.
ROW = np.arange(60)
LABELS = np.isin(ROW, [0, 1, 20, 21, 22, 23, 24, 30, 31, 59])
SCORES = (7 * ROW * ROW + 3 * ROW) % 31 + 10.0 * LABELS


@pytest.mark.parametrize(
    ("bias", "cardinality", "recall"),
    [
        ("flat", "one", 0.3875),
        ("flat", "reciprocal", 0.35),
        ("front", "one", 0.3875),
        ("middle", "one", 0.3958333333333333),
        ("middle", "reciprocal", 0.35416666666666663),
        ("back", "reciprocal", 0.35),
    ],
)
def test_range_scores_equal_those_of_prts(bias, cardinality, recall):
    """Compare with prts 1.0.0.3 (alpha=0.25 for recall, 0 and flat for precision)."""
    result = range_precision_recall(
        LABELS, SCORES >= 28, existence=0.25, bias=bias, cardinality=cardinality
    )
    assert result.recall == pytest.approx(recall, abs=1e-12)
    assert result.precision == pytest.approx(0.6, abs=1e-12)


def test_bias_weighs_the_rows_of_an_anomaly():
    labels = [0, 1, 1, 1, 1, 0]
    first_row = [0, 1, 0, 0, 0, 0]
    recalls = {
        bias: range_precision_recall(labels, first_row, bias=bias).recall
        for bias in ("flat", "front", "middle", "back")
    }
    assert recalls == pytest.approx({"flat": 1 / 4, "front": 0.4, "middle": 1 / 6, "back": 0.1})


def test_many_alarms_for_one_anomaly_share_the_reward():
    labels = [1, 1, 1, 1]
    alarms = [1, 0, 1, 0]
    assert range_precision_recall(labels, alarms).recall == 0.25
    assert range_precision_recall(labels, alarms, cardinality="one").recall == 0.5


@given(hnp.arrays(bool, 25), hnp.arrays(bool, 25))
def test_full_existence_weight_gives_the_recall_of_events(labels, predictions):
    labels[3] = True
    ranges = range_precision_recall(labels, predictions, existence=1.0)
    assert ranges.recall == overlap_precision_recall(labels, predictions).recall


def test_range_options_are_checked():
    for options, words in [
        ({"existence": 1.5}, "existence must be a number from 0 to 1"),
        ({"bias": "frond"}, "Did you mean 'front'"),
        ({"cardinality": "two"}, "cardinality must be one of"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            range_precision_recall([0, 1], [0, 1], **options)


def intervals(flags):
    edges = np.flatnonzero(np.diff([False, *flags, False]))
    return list(zip(edges[::2], edges[1::2], strict=True))


@given(st.lists(st.booleans(), min_size=12, max_size=12), hnp.arrays(bool, 12))
def test_overlap_counts_pairs_of_intervals_that_meet(labels, predictions):
    labels[5] = True
    truth, alarms = intervals(labels), intervals(predictions)

    def meet(left, right):
        return max(left[0], right[0]) < min(left[1], right[1])

    found = sum(any(meet(anomaly, alarm) for alarm in alarms) for anomaly in truth)
    false = sum(not any(meet(anomaly, alarm) for anomaly in truth) for alarm in alarms)
    result = overlap_precision_recall(labels, predictions)
    assert result.recall == found / len(truth)
    assert result.precision == (found / (found + false) if alarms else 0)


def test_one_alarm_over_everything_has_a_perfect_overlap_score():
    assert overlap_precision_recall(LABELS, np.ones(60)).f1 == 1

"""Tests of precision and recall of flagged rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqkeras import scoring
from seqkeras.errors import ArgumentError, SeqkerasWarning

PREDICTION_FUNCTIONS = [
    scoring.point_precision_recall,
    scoring.range_precision_recall,
    scoring.overlap_precision_recall,
    scoring.affiliation_precision_recall,
    scoring.point_adjusted_precision_recall,
]

pairs = (
    st.integers(2, 30)
    .flatmap(lambda rows: st.tuples(hnp.arrays(bool, rows), hnp.arrays(bool, rows)))
    .filter(lambda pair: pair[0].any())
)


@given(pairs)
def test_point_scores_agree_with_counts_of_rows(pair):
    labels, predictions = pair
    hits = sum(a and b for a, b in zip(labels, predictions, strict=True))
    result = scoring.point_precision_recall(labels, predictions)
    assert result.recall == hits / labels.sum()
    assert result.precision == (hits / predictions.sum() if predictions.any() else 0)
    wrong = labels.sum() + predictions.sum()
    assert result.f1 == pytest.approx(2 * hits / wrong)


@given(pairs, st.data())
def test_best_threshold_has_the_highest_f1_of_all_thresholds(pair, data):
    labels, _ = pair
    scores = data.draw(hnp.arrays(np.float64, len(labels), elements=st.sampled_from(range(5))))
    by_threshold = {
        float(threshold): scoring.point_precision_recall(labels, scores >= threshold).f1
        for threshold in scores
    }
    best = scoring.best_threshold(labels, scores)
    assert by_threshold[best] == pytest.approx(max(by_threshold.values()))
    higher = [f1 for threshold, f1 in by_threshold.items() if threshold > best]
    assert all(f1 < by_threshold[best] for f1 in higher)


def test_point_adjustment_counts_an_anomaly_in_full_and_warns():
    labels = [1, 1, 1, 0, 0, 1, 1, 0]
    predictions = [0, 1, 0, 1, 0, 0, 0, 0]
    with pytest.warns(SeqkerasWarning, match="misleads"):
        result = scoring.point_adjusted_precision_recall(labels, predictions)
    assert result == (3 / 4, 3 / 5)


def test_point_adjustment_rewards_random_flags():
    labels = np.zeros(5_000, bool)
    labels[1_000:1_500] = True
    predictions = np.random.default_rng(0).random(5_000) < 0.02
    with pytest.warns(SeqkerasWarning):
        adjusted = scoring.point_adjusted_precision_recall(labels, predictions).f1
    assert adjusted > 0.9
    assert scoring.point_precision_recall(labels, predictions).f1 < 0.1


@pytest.mark.filterwarnings("ignore::seqkeras.errors.SeqkerasWarning")
@pytest.mark.parametrize("function", PREDICTION_FUNCTIONS)
class TestEveryFunctionOfPredictions:
    def test_perfect_predictions_get_1(self, function):
        labels = [0, 1, 1, 0, 0, 1]
        assert function(labels, labels) == (1, 1)
        assert function(labels, labels).f1 == 1

    def test_no_prediction_gets_0(self, function):
        assert function([0, 1, 1, 0], [0, 0, 0, 0]) == (0, 0)
        assert function([0, 1, 1, 0], [0, 0, 0, 0]).f1 == 0

    def test_flagging_every_row_finds_everything(self, function):
        assert function([0, 1, 1, 0, 0, 1, 0], np.ones(7)).recall > 0.4
        assert function(np.ones(7), np.ones(7)) == (1, 1)

    @given(pair=pairs)
    def test_scores_are_shares(self, function, pair):
        result = function(*pair)
        assert 0 <= result.precision <= 1 + 1e-12
        assert 0 <= result.recall <= 1 + 1e-12

    @pytest.mark.parametrize(
        ("labels", "predictions", "words"),
        [
            ([], [], r"labels must be \(timesteps,\) and not empty"),
            ([[0, 1]], [[0, 1]], r"shape \(1, 2\)"),
            ([0, 1], [0, 1, 1], "predictions must be as long as labels, 2 rows. Got: 3 rows"),
            ([0, 2], [0, 1], "labels must be booleans, or 0 and 1. Got: the value 2"),
            ([0, 1], [0.5, 1], "predictions must be booleans, or 0 and 1. Got: the value 0.5"),
            ([0, np.nan], [0, 1], "the value nan"),
            ([0, 1], ["no", "yes"], "dtype <U3"),
            ([0, 0], [0, 1], "at least one anomaly. Got: 2 rows, none labeled"),
        ],
    )
    def test_bad_input_is_refused(self, function, labels, predictions, words):
        with pytest.raises(ArgumentError, match=words):
            function(labels, predictions)

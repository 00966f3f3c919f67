"""Tests of the table of scores with its reference lines."""

import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.scoring import (
    affiliation_precision_recall,
    anomaly_report,
    best_threshold,
    point_precision_recall,
    vus_pr,
)

RANDOM = np.random.default_rng(0)
LABELS = np.zeros(1_000, bool)
LABELS[600:620] = True
VALUES = np.sin(np.arange(1_000) / 5) + 0.1 * RANDOM.normal(size=1_000) + 2 * LABELS
SCORES = np.abs(VALUES)


def test_the_first_line_has_the_scores_of_the_functions():
    line = anomaly_report(LABELS, SCORES, window=20).lines["scores"]
    flagged = best_threshold(LABELS, SCORES) <= SCORES
    assert line["flagged"] == flagged.mean()
    assert line["VUS-PR"] == vus_pr(LABELS, SCORES, window=20)
    assert line["point F1"] == point_precision_recall(LABELS, flagged).f1
    assert line["affiliation F1"] == affiliation_precision_recall(LABELS, flagged).f1


def test_a_good_detector_beats_every_reference_line_in_vus_pr():
    scores = LABELS + RANDOM.random(1_000)
    lines = anomaly_report(LABELS, scores, window=20, values=VALUES).lines
    assert list(lines) == ["scores", "all ones", "random", "moving z-score", "nearest neighbors"]
    own = lines.pop("scores")
    assert all(own["VUS-PR"] > line["VUS-PR"] for line in lines.values())
    assert lines["all ones"]["flagged"] == 1
    assert lines["all ones"]["overlap F1"] == 1  # why the share flagged stands beside it


def test_with_a_threshold_every_line_flags_as_many_rows():
    report = anomaly_report(LABELS, SCORES, window=20, values=VALUES, threshold=2.0)
    shares = {name: line["flagged"] for name, line in report.lines.items()}
    assert shares.pop("all ones") == 1
    assert set(shares.values()) == {np.mean(SCORES >= 2)}
    nothing = anomaly_report(LABELS, SCORES, window=20, threshold=99).lines
    assert nothing["scores"]["flagged"] == nothing["random"]["flagged"] == 0


def test_the_seed_changes_the_random_line_only():
    first, second = (anomaly_report(LABELS, SCORES, window=20, seed=seed).lines for seed in (0, 1))
    assert first["random"] != second["random"]
    assert first["scores"] == second["scores"]


def test_the_table_states_window_share_and_threshold():
    text = str(anomaly_report(LABELS, SCORES, window=20))
    assert len({len(row) for row in text.splitlines()[:-1]}) == 1
    assert "window 20; 2.0% of the rows labeled" in text
    assert "chosen on the labels (optimistic)" in text
    assert "threshold 2;" in str(anomaly_report(LABELS, SCORES, window=20, threshold=2))


def test_bad_input_is_refused():
    for options, words in [
        ({"window": -1}, "window must be an integer >= 0"),
        ({"window": 20, "values": VALUES[:-1]}, "values must be as long as labels, 1000 rows"),
        ({"window": 400, "values": VALUES}, "at least 1200 rows"),
        ({"window": 20, "values": np.full(1_000, np.nan)}, "values must be finite"),
        ({"window": 20, "seed": -1}, "seed must be an integer"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            anomaly_report(LABELS, SCORES, **options)
    with pytest.raises(ArgumentError, match="at least one normal row"):
        anomaly_report(np.ones(5), np.ones(5), window=2)

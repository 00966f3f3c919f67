"""Tests of false alarms per day and the time to detect."""

import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.scoring import false_alarms_per_day, seconds_to_detect

LABELS = [0, 0, 1, 1, 0, 0, 0, 1]
FLAGS = [1, 1, 0, 1, 1, 0, 1, 0]
HOURS = np.datetime64("2026-01-01T00") + np.arange(8)


def test_runs_without_a_labeled_row_are_false_alarms():
    assert false_alarms_per_day(LABELS, FLAGS, step_seconds=3600) == pytest.approx(2 * 24 / 8)
    assert false_alarms_per_day(LABELS, LABELS, step_seconds=3600) == 0
    assert false_alarms_per_day(np.zeros(8), FLAGS, step_seconds=3600) == pytest.approx(3 * 24 / 8)


def test_timestamps_and_steps_give_the_same():
    for timestamps in (HOURS, HOURS.astype("datetime64[ns]"), np.arange(8, dtype=np.uint32) * 3600):
        rate = false_alarms_per_day(LABELS, FLAGS, timestamps=timestamps)
        assert rate == pytest.approx(2 * 24 / 8)
        delays = seconds_to_detect(LABELS, FLAGS, timestamps=timestamps)
        np.testing.assert_allclose(delays, [3600, np.nan])


def test_a_gap_in_time_counts():
    timestamps = np.array([0, 10, 20, 86_390])
    rate = false_alarms_per_day([0, 0, 0, 0], [0, 1, 0, 1], timestamps=timestamps)
    assert rate == pytest.approx(2)
    delays = seconds_to_detect([0, 1, 1, 1], [0, 0, 0, 1], timestamps=timestamps)
    assert delays.tolist() == [86_380]


def test_a_flag_before_an_anomaly_does_not_detect_it():
    assert np.isnan(seconds_to_detect([0, 1, 1, 0], [1, 0, 0, 1], step_seconds=1)).all()
    assert seconds_to_detect([0, 1, 1, 0], [1, 1, 0, 1], step_seconds=1).tolist() == [0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either timestamps or step_seconds"),
        ({"timestamps": HOURS, "step_seconds": 1}, "either timestamps or step_seconds"),
        ({"step_seconds": 0}, "step_seconds must be a finite number > 0"),
        ({"timestamps": HOURS[:3]}, r"one for each row, shape \(8,\)"),
        ({"timestamps": HOURS[::-1]}, "in order.*row 1. Sort the rows"),
        ({"timestamps": np.arange(8, dtype=np.uint8)[::-1]}, "in order"),
        ({"timestamps": np.append(HOURS[:7], np.datetime64("NaT"))}, "NaT after"),
        ({"timestamps": HOURS.astype(str)}, "np.asarray"),
    ],
)
def test_bad_times_are_refused(options, words):
    for function in (false_alarms_per_day, seconds_to_detect):
        with pytest.raises(ArgumentError, match=words):
            function(LABELS, FLAGS, **options)


def test_a_series_without_duration_has_no_rate():
    with pytest.raises(ArgumentError, match="a span of time"):
        false_alarms_per_day([0], [1], timestamps=[5])


def test_the_time_to_detect_needs_an_anomaly():
    with pytest.raises(ArgumentError, match="at least one anomaly"):
        seconds_to_detect([0, 0], [0, 1], step_seconds=1)

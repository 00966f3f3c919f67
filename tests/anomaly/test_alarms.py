"""Tests of alarms against a loop over timesteps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.anomaly import Alarm, find_alarms
from seqkeras.errors import ArgumentError, DataError


def naive(flags, scores, threshold, merge, severity):
    groups = []
    for timestep in np.flatnonzero(flags).tolist():
        gap = timestep - groups[-1][-1] - 1 if groups else None
        if gap is not None and (gap == 0 or gap < merge):
            groups[-1].append(timestep)
        else:
            groups.append([timestep])
    alarms = []
    for group in groups:
        excess = [scores[t] - threshold[t] for t in group]
        size = max(excess) if severity == "max" else np.mean(excess)
        alarms.append((group[0], group[-1] + 1, size, group[int(np.argmax(excess))]))
    return alarms


@given(
    flags=st.lists(st.booleans(), max_size=40),
    merge=st.integers(0, 5),
    severity=st.sampled_from(["max", "mean"]),
    seed=st.integers(0, 100),
)
def test_alarms_are_those_of_a_loop(flags, merge, severity, seed):
    rng = np.random.default_rng(seed)
    scores = rng.random(len(flags)) + 1
    threshold = rng.random(len(flags))
    alarms = find_alarms(flags, scores, threshold, merge=merge, severity=severity)
    expected = naive(flags, scores, threshold, merge, severity)
    assert [alarm[:2] for alarm in alarms] == [alarm[:2] for alarm in expected]
    np.testing.assert_allclose([a[2:] for a in alarms], [a[2:] for a in expected])
    if merge < 2:
        covered = np.zeros(len(flags), dtype=bool)
        for alarm in alarms:
            covered[alarm.start : alarm.stop] = True
        np.testing.assert_array_equal(covered, np.array(flags, dtype=bool))


def test_gaps_do_not_count_for_severity_even_if_scores_are_missing():
    alarms = find_alarms([1, 0, 1], [3.0, np.nan, 5.0], 1.0, merge=2, severity="mean")
    assert alarms == [Alarm(start=0, stop=3, severity=3.0, peak=2)]


def test_an_infinite_score_is_the_peak():
    assert find_alarms([True, True], [2.0, np.inf], 1.0) == [Alarm(0, 2, np.inf, 1)]


def test_alarms_hold_plain_numbers():
    alarm = find_alarms(np.array([True]), np.array([2.0]), np.array([1.0]))[0]
    assert [type(value) for value in alarm] == [int, int, float, int]


def test_wrong_input_is_refused():
    with pytest.raises(ArgumentError, match="severity"):
        find_alarms([True], [1.0], 0.0, severity="sum")
    with pytest.raises(ArgumentError, match="merge"):
        find_alarms([True], [1.0], 0.0, merge=-1)
    with pytest.raises(ArgumentError, match=r"flags must be"):
        find_alarms([True, False], [1.0], 0.0)
    with pytest.raises(ArgumentError, match="threshold"):
        find_alarms([True, True], [1.0, 2.0], [0.0, 0.0, 0.0])
    with pytest.raises(DataError, match="threshold must hold real numbers"):
        find_alarms([True], [1.0], "high")

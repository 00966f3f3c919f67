"""Tests of what is recorded of the sessions that someone looks at."""

import numpy as np
import pytest

from seqkeras.serve._recorder import (
    ATTENTION,
    MOST_COLUMNS,
    MOST_POINTS,
    MOST_SESSIONS,
    Recorder,
)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recorder(clock):
    return Recorder(clock)


def add(recorder, key, number, values):
    x = np.array(values, float)[:, np.newaxis]
    recorder.add(key, number, x, -x)


def test_only_watched_sessions_are_recorded(recorder):
    add(recorder, "a", 0, [1.0])
    assert not recorder.watched
    assert recorder.look("a") == []
    add(recorder, "a", 1, [2.0, 3.0])
    add(recorder, "b", 0, [9.0])
    assert [(p.step, p.time, p.x, p.y) for p in recorder.look("a")] == [
        (1, 1000.0, [2.0], [-2.0]),
        (2, 1000.0, [3.0], [-3.0]),
    ]
    assert list(recorder.watched) == ["a"]


def test_a_session_is_dropped_a_minute_after_the_last_look(recorder, clock):
    recorder.look("a")
    recorder.look("b")
    clock.now += ATTENTION - 1
    recorder.look("b")
    recorder.forget()
    assert set(recorder.watched) == {"a", "b"}
    clock.now += 2
    recorder.forget()
    assert set(recorder.watched) == {"b"}


def test_memory_is_bounded(recorder):
    for i in range(3 * MOST_SESSIONS):
        recorder.look(f"s{i}")
    assert len(recorder.watched) == MOST_SESSIONS
    last = f"s{3 * MOST_SESSIONS - 1}"
    recorder.add(last, 0, np.zeros((1, 1000)), np.zeros((1, 1000)))
    point = recorder.look(last)[0]
    assert (len(point.x), len(point.y)) == (MOST_COLUMNS, MOST_COLUMNS)
    add(recorder, last, 1, np.arange(3 * MOST_POINTS))
    assert [p.step for p in recorder.look(last)] == list(
        range(2 * MOST_POINTS + 1, 3 * MOST_POINTS + 1)
    )


def test_a_repeat_is_recorded_once_and_a_new_beginning_clears(recorder):
    recorder.look("a")
    add(recorder, "a", 5, [1.0, 2.0])
    add(recorder, "a", 5, [1.0])
    add(recorder, "a", 6, [2.0])
    assert [p.step for p in recorder.look("a")] == [5, 6]
    add(recorder, "a", 0, [7.0])
    assert [(p.step, p.x) for p in recorder.look("a")] == [(0, [7.0])]
    recorder.drop("a")
    assert recorder.look("a") == []


def test_a_client_that_looks_at_many_sessions_takes_its_own_places(recorder):
    recorder.look("quiet/pump")
    for number in range(2 * MOST_SESSIONS):
        recorder.look(f"busy/{number}")
    assert len(recorder.watched) == MOST_SESSIONS
    assert "quiet/pump" in recorder.watched
    assert f"busy/{2 * MOST_SESSIONS - 1}" in recorder.watched

"""Tests of sizes and indices: absurd ones and other types are refused in words."""

import time

import numpy as np
import pytest

from seqkeras.errors import ArgumentError, DataError, SeqkerasError
from seqkeras.windows import GroupedArray, StatefulBatches, Windows, WindowSpec, gather
from seqkeras.windows._numbers import MAX_SIZE

VALUES = np.arange(50.0)
HUGE = [2**30 + 1, 2**31, 2**61, 2**62, 2**63 - 1, 2**63, 2**64, 2**70, np.uint64(2**63)]
MAKE = {
    "lookback": lambda size: WindowSpec(size),
    "horizon": lambda size: WindowSpec(2, horizon=size),
    "stride": lambda size: WindowSpec(2, stride=size),
    "sampling_rate": lambda size: WindowSpec(2, sampling_rate=size),
    "gap": lambda size: WindowSpec(2, gap=size),
    "batch_size": lambda size: StatefulBatches([VALUES] * 3, batch_size=size, bptt_steps=4,
                                               idle_rows=True),
    "bptt_steps": lambda size: StatefulBatches(VALUES, batch_size=2, bptt_steps=size),
    "timesteps": lambda size: gather(VALUES, np.array([0]), timesteps=size),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("size", HUGE)
def test_sizes_that_no_array_has_are_refused(name, size):
    minimum = 0 if name in ("horizon", "gap") else 1
    with pytest.raises(ArgumentError, match=f"{name} must be an integer from {minimum} to {2**30}"):
        MAKE[name](size)


def test_the_largest_sizes_are_longer_than_any_series():
    sizes = dict.fromkeys(("horizon", "stride", "sampling_rate", "gap"), MAX_SIZE)
    spec = WindowSpec(MAX_SIZE, **sizes)
    assert spec.rows < 2**63
    for values in (VALUES, VALUES.reshape(-1, 2), GroupedArray(VALUES, [0, 20, 50])):
        with pytest.raises(DataError, match="At least one series must have the"):
            Windows(values, spec)
    with pytest.raises(IndexError, match="inside the 50 rows"):
        gather(VALUES, np.array([0]), timesteps=MAX_SIZE, sampling_rate=MAX_SIZE)
    assert gather(VALUES, np.array([], int), timesteps=51).shape == (0, 51)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int64, np.uint64])
def test_sizes_of_numpy_do_not_overflow_in_a_window(kind):
    values = np.arange(251.0)
    spec = WindowSpec(kind(100), horizon=kind(20), stride=kind(3), sampling_rate=kind(2))
    assert spec == WindowSpec(100, horizon=20, stride=3, sampling_rate=2)
    np.testing.assert_equal(
        Windows(values, spec, batch_size=kind(4))[kind(0)],
        Windows(values, WindowSpec(100, horizon=20, stride=3, sampling_rate=2), batch_size=4)[0],
    )


def test_rows_that_never_get_a_series_take_no_time():
    begin = time.perf_counter()
    batches = StatefulBatches([VALUES] * 3, batch_size=2**26, bptt_steps=4, idle_rows=True)
    assert time.perf_counter() - begin < 1
    assert batches.steps == 147
    with pytest.raises(ArgumentError, match="a batch has at most 268435456 timesteps"):
        StatefulBatches([VALUES] * 3, batch_size=2**27, bptt_steps=4, idle_rows=True)


NO_INDEX = [slice(0, 2), "0", 0.5, 1.0, None, True, np.True_, [0], (0, 1), np.array([0, 1])]


@pytest.mark.parametrize("index", NO_INDEX, ids=repr)
@pytest.mark.parametrize(
    "container",
    [
        Windows(VALUES, WindowSpec(3)),
        StatefulBatches(VALUES, batch_size=2, bptt_steps=4, reset_input=True),
        GroupedArray(VALUES, [0, 20, 50]),
    ],
    ids=lambda container: type(container).__name__,
)
def test_what_is_no_index_is_refused_in_words(container, index):
    with pytest.raises(ArgumentError, match=r"index must be the number of a (batch|series)"):
        container[index]
    assert len(container[np.int8(0)]) == len(container[0])
    for beyond in (len(container), -len(container) - 1, 2**70):
        with pytest.raises(IndexError, match=f"{beyond} is out of range for a length of"):
            container[beyond]


@pytest.mark.parametrize(
    "numbers",
    [[0.5], [1.0], "x", ["0"], [True, False], [None], [2**70], [[0], [1, 2]], [1j], object],
    ids=str,
)
def test_windows_and_series_are_taken_by_integers_only(numbers):
    windows = Windows(VALUES, WindowSpec(3), batch_size=4)
    series = GroupedArray(VALUES, [0, 20, 30, 50])
    calls = [
        windows.take,
        series.take,
        lambda numbers: gather(VALUES, numbers, timesteps=3),
        lambda numbers: series.select(numbers, 5),
        lambda numbers: series.select(0, numbers),
    ]
    for call in calls:
        with pytest.raises(SeqkerasError, match="an array of integers"):
            call(numbers)


def test_integers_of_any_kind_take_what_they_name():
    windows = Windows(VALUES, WindowSpec(3))
    series = GroupedArray(VALUES, [0, 20, 30, 50])
    for numbers in ([2, 0], (2, 0), np.array([2, 0], "uint64"), np.array([2, 0], "int8")):
        assert windows.take(numbers)[0][:, 0, 0].tolist() == [2, 0]
        assert series.take(numbers).lengths.tolist() == [20, 20]
    assert series.take([False, True, False]).lengths.tolist() == [10]
    assert len(windows.take([])[0]) == 0
    for wrong in ([50], [-1], np.array([2**64 - 1], "uint64")):
        with pytest.raises(IndexError, match="windows must be numbers from 0 to 46"):
            windows.take(wrong)
    with pytest.raises(ArgumentError, match="windows must be one-dimensional"):
        windows.take(0)


@pytest.mark.parametrize(
    "series",
    [[[[1, 2], [3]], [[1, 2]]], [[1, 2], [[1], [2, 3]]], [[1.0, [2.0]]]],
    ids=str,
)
def test_series_of_ragged_rows_are_named(series):
    with pytest.raises(ArgumentError, match=r"series\[\d\] must be an array of shape \(rows,\) or"):
        GroupedArray.from_series(series)
    with pytest.raises(ArgumentError, match=r"must be an array of shape \(rows,\) or"):
        StatefulBatches(series, batch_size=1, bptt_steps=1)


def test_values_of_ragged_rows_are_named():
    with pytest.raises(ArgumentError, match=r"values must be an array of shape \(rows,\) or"):
        GroupedArray([[1, 2], [3]], [0, 2])

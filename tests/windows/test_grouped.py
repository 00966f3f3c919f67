"""Tests of many series in one array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError
from seqkeras.windows import GroupedArray


@st.composite
def ragged(draw):
    """Draw series of 0 to 6 rows, all values different."""
    lengths = draw(st.lists(st.integers(0, 6), min_size=1, max_size=6))
    width = draw(st.sampled_from([None, 1, 3]))
    shape = () if width is None else (width,)
    numbers = iter(range(1, 1000))
    return [
        np.array([next(numbers) for _ in range(length * (width or 1))], dtype=float).reshape(
            length, *shape
        )
        for length in lengths
    ]


def assert_same_series(grouped, expected):
    assert len(grouped) == len(expected)
    for series, values in zip(grouped, expected, strict=True):
        np.testing.assert_array_equal(series, values)
        assert series.shape == values.shape


@given(ragged())
def test_joined_series_stay_the_same(series):
    grouped = GroupedArray.from_series(series)
    assert_same_series(grouped, series)
    assert grouped.lengths.tolist() == [len(values) for values in series]
    assert grouped.indptr[0] == 0
    assert grouped.indptr[-1] == len(grouped.values)
    for index in range(-len(series), 0):
        np.testing.assert_array_equal(grouped[index], series[index])


@given(ragged(), st.data())
def test_select_returns_the_same_rows_as_slicing_each_series(series, data):
    stops = [data.draw(st.integers(0, len(values))) for values in series]
    starts = [data.draw(st.integers(0, stop)) for stop in stops]
    ranges = zip(series, starts, stops, strict=True)
    expected = [values[start:stop] for values, start, stop in ranges]
    assert_same_series(GroupedArray.from_series(series).select(starts, stops), expected)


@given(ragged(), st.data())
def test_take_returns_series_in_the_requested_order(series, data):
    numbers = data.draw(st.lists(st.integers(-len(series), len(series) - 1), min_size=1))
    expected = [series[number] for number in numbers]
    assert_same_series(GroupedArray.from_series(series).take(numbers), expected)


def test_take_accepts_a_boolean_choice():
    grouped = GroupedArray.from_series([[1.0], [2.0, 3.0], [4.0]])
    assert_same_series(grouped.take([True, False, True]), [np.array([1.0]), np.array([4.0])])


def test_one_range_for_all_series():
    grouped = GroupedArray.from_series([[1.0, 2.0], [3.0, 4.0, 5.0]])
    assert_same_series(grouped.select(0, grouped.lengths - 1), [np.array([1.0]), np.array([3, 4])])


def test_values_and_series_are_views():
    values = np.arange(6.0)
    grouped = GroupedArray(values, [0, 2, 6])
    assert np.shares_memory(grouped.values, values)
    assert np.shares_memory(grouped[1], values)


def test_select_and_take_are_copies():
    values = np.arange(6.0)
    grouped = GroupedArray(values, [0, 2, 6])
    assert not np.shares_memory(grouped.select(0, 1).values, values)
    assert not np.shares_memory(grouped.take([1]).values, values)


def test_a_memory_map_stays_one(tmp_path):
    values = np.memmap(tmp_path / "values", dtype="float32", mode="w+", shape=(6,))
    assert isinstance(GroupedArray(values, [0, 6]).values, np.memmap)


@pytest.mark.parametrize("index", [2, -3])
def test_index_beyond_the_series_ends_iteration(index):
    grouped = GroupedArray.from_series([[1.0], [2.0]])
    with pytest.raises(IndexError, match=f"series index {index} is out of range for a length of 2"):
        grouped[index]


def test_repr_shows_the_size():
    grouped = GroupedArray.from_series([[1.0, 2.0], [3.0]])
    assert repr(grouped) == "GroupedArray(2 series, 3 rows, float64)"


@pytest.mark.parametrize(
    "indptr",
    [
        [1, 4],  # does not start at 0
        [0, 3],  # omits a row
        [0, 5],  # reaches beyond the rows
        [0, 3, 2, 4],  # falls
        [0, 4, 0],
    ],
)
def test_indptr_that_does_not_fit_the_rows_is_refused(indptr):
    with pytest.raises(ArgumentError, match="indptr must be integers that start at 0") as caught:
        GroupedArray(np.arange(4.0), indptr)
    assert "end at the 4 rows of values" in str(caught.value)
    assert f"indptr={indptr!r}" in str(caught.value)


@pytest.mark.parametrize("indptr", [[], [[0, 4]], [0.0, 4.0], 4, ["0", "4"]])
def test_indptr_that_is_not_a_list_of_integers_is_refused(indptr):
    with pytest.raises(ArgumentError, match="indptr must be a non-empty one-dimensional array"):
        GroupedArray(np.arange(4.0), indptr)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([], "series must be one array or more"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], "arrays that differ only in their first axis"),
        ([np.zeros(2), np.zeros((2, 1))], r"series=\[\(2,\), \(2, 1\)\]"),
        ([3.0], "arrays that differ only in their first axis"),
    ],
)
def test_series_that_cannot_be_joined_are_refused(series, message):
    with pytest.raises(ArgumentError, match=message):
        GroupedArray.from_series(series)


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (1, 0), (0, 3), ([0, 2], [2, 1])])
def test_select_refuses_rows_outside_a_series(start, stop):
    # Row 3 of the joined array would be a row of the next series.
    grouped = GroupedArray.from_series([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ArgumentError, match="ranges inside each series"):
        grouped.select(start, stop)


def test_extremes_ignore_missing_values():
    series = GroupedArray.from_series([[1.0, np.nan, 4.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(series.extremes(), [[1, np.nan], [4, np.nan]])

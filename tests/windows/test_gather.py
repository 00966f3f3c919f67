"""Tests of gathered windows, against slices."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError
from seqkeras.windows import gather


@given(
    features=st.sampled_from([None, 1, 3]),
    timesteps=st.integers(1, 5),
    sampling_rate=st.integers(1, 4),
    data=st.data(),
)
def test_windows_are_the_slices_that_begin_at_the_starts(features, timesteps, sampling_rate, data):
    span = (timesteps - 1) * sampling_rate + 1
    rows = data.draw(st.integers(span, span + 8))
    starts = data.draw(st.lists(st.integers(0, rows - span), max_size=5))
    shape = (rows,) if features is None else (rows, features)
    values = np.arange(np.prod(shape)).reshape(shape)
    windows = gather(
        values, np.array(starts, dtype=int), timesteps=timesteps, sampling_rate=sampling_rate
    )
    assert windows.shape == (len(starts), timesteps, *shape[1:])
    for window, start in zip(windows, starts, strict=True):
        np.testing.assert_array_equal(window, values[start::sampling_rate][:timesteps])


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16", "float64"])
def test_values_become_the_requested_dtype(dtype):
    values = np.array([0, 1, 1, 0], dtype=dtype)
    assert gather(values, np.array([0, 2]), timesteps=2).dtype == np.float32
    windows = gather(values, np.array([0, 2]), timesteps=2, dtype=np.float64)
    assert windows.dtype == np.float64
    assert windows.tolist() == [[0, 1], [1, 0]]


def test_result_is_a_copy_even_if_the_dtype_stays():
    values = np.zeros(4, dtype=np.float32)
    gather(values, np.array([0]), timesteps=4)[:] = 1
    assert not values.any()


def test_only_the_requested_rows_are_copied():
    values = np.zeros(2_000_000)
    starts = np.array([0, 1_000_000])
    tracemalloc.start()
    gather(values, starts, timesteps=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("starts", [[-1], [0, 6], [100]])
def test_window_beyond_the_values_is_an_index_error(starts):
    # A negative start would read from the end of the array, which is another series.
    with pytest.raises(IndexError) as caught:
        gather(np.arange(10), np.array(starts), timesteps=3, sampling_rate=2)
    assert "starts must give windows of 5 rows inside the 10 rows of values" in str(caught.value)
    assert f"Got: {min(starts)} to {max(starts)}." in str(caught.value)


def test_window_longer_than_the_values_is_an_index_error():
    with pytest.raises(IndexError, match="windows of 11 rows"):
        gather(np.arange(10), np.array([0]), timesteps=11)


@pytest.mark.parametrize("sizes", [{"timesteps": 0}, {"timesteps": 3, "sampling_rate": -(10**12)}])
def test_sizes_that_would_read_foreign_memory_are_refused(sizes):
    with pytest.raises(ArgumentError, match="must be an integer >= 1"):
        gather(np.arange(5.0), np.array([0]), **sizes)

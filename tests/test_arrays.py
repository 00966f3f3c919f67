"""Tests of index arithmetic over series."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras._arrays import positions, without_mask


@given(st.lists(st.integers(0, 6)))
def test_positions_count_the_rows_of_each_series(lengths):
    expected = [position for length in lengths for position in range(length)]
    assert positions(lengths).tolist() == expected
    assert positions(lengths).dtype == np.int64


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", "f4", "f8", "U3", "O"])
def test_what_is_masked_becomes_nan_and_the_rest_stays(dtype):
    plain = np.array([1, 0, 1, 0]).astype(dtype)
    result = without_mask(np.ma.masked_array(plain, [False, True, False, False]))
    assert type(result) is np.ndarray
    assert np.isnan(result[1])
    np.testing.assert_array_equal(result[[0, 2, 3]], plain[[0, 2, 3]])
    if plain.dtype.kind == "f":
        assert result.dtype == plain.dtype


def test_without_a_mask_nothing_is_copied():
    plain = np.arange(4)
    assert np.shares_memory(without_mask(np.ma.masked_array(plain, mask=False)), plain)
    assert np.shares_memory(without_mask(np.ma.masked_array(plain)), plain)
    for other in (plain, [1, 2], (1, 2), 3, "text", None):
        assert without_mask(other) is other


def test_masks_within_a_list_are_seen():
    rows = without_mask([np.ma.masked_array([1, 2], [True, False]), [3, 4]])
    np.testing.assert_array_equal(rows, [[np.nan, 2], [3, 4]])

"""Tests of index arithmetic over series."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqkeras._arrays import positions


@given(st.lists(st.integers(0, 6)))
def test_positions_count_the_rows_of_each_series(lengths):
    expected = [position for length in lengths for position in range(length)]
    assert positions(lengths).tolist() == expected
    assert positions(lengths).dtype == np.int64

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqkeras._arrays import positions


@given(st.lists(st.integers(0, 6)))
def test_each_row_knows_its_place_in_its_series(lengths):
    expected = [place for length in lengths for place in range(length)]
    assert positions(lengths).tolist() == expected
    assert positions(lengths).dtype == np.int64

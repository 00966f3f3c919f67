"""Tests of the place of windows, against enumeration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.windows import WindowSpec
from seqkeras.windows._layout import WindowIndex, WindowLayout

specs = st.builds(
    WindowSpec,
    st.integers(1, 4),
    horizon=st.integers(1, 3),
    stride=st.integers(1, 4),
    sampling_rate=st.integers(1, 3),
    gap=st.integers(0, 2),
)


@given(specs, st.lists(st.integers(0, 25), min_size=1, max_size=5))
def test_windows_are_where_a_loop_finds_them(spec, lengths):
    bounds = np.cumsum([0, *lengths])
    places = [
        (series, start, bounds[series] + start)
        for series, length in enumerate(lengths)
        for start in range(0, max(0, length - spec.rows + 1), spec.stride)
    ]
    layout = WindowLayout(bounds, spec)
    assert layout.count == len(places)
    index = layout(np.arange(layout.count))
    actual = zip(index.series.tolist(), index.start.tolist(), index.row.tolist(), strict=True)
    assert list(actual) == places
    assert index.window.tolist() == list(range(layout.count))
    ends = dict.fromkeys(range(len(lengths)), 0) | {s: start + spec.rows for s, start, _ in places}
    assert layout.unused_rows == sum(lengths) - sum(ends.values())
    assert layout.skipped.tolist() == [0 < length < spec.rows for length in lengths]


def test_an_empty_list_of_windows_is_allowed():
    assert len(WindowLayout(np.array([0, 4, 8]), WindowSpec(1))(np.arange(0)).row) == 0


def test_rows_beyond_32_bits_are_counted():
    layout = WindowLayout(np.array([0, 2**33, 2**34]), WindowSpec(10, stride=3))
    index = layout(np.array([layout.count - 1]))
    assert index.series.tolist() == [1]
    assert 2**34 - 14 < index.row[0] <= 2**34 - 11


def test_an_index_is_frozen():
    index = WindowIndex(*[np.arange(2)] * 4)
    with pytest.raises(AttributeError):
        index.row = np.arange(3)

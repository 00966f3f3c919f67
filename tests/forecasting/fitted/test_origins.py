import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError
from seqkeras.forecasting.fitted._origins import Origins, scales_before
from seqkeras.scoring import mase, naive
from seqkeras.windows import GroupedArray


@st.composite
def rolled(draw):
    windows, step, horizon = (draw(st.integers(1, 4)) for _ in range(3))
    shortest = horizon + step * (windows - 1) + 1
    lengths = draw(st.lists(st.integers(shortest, shortest + 9), min_size=1, max_size=4))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    values = GroupedArray.from_series([random.normal(size=rows) for rows in lengths])
    origins = Origins.rolling(values.lengths, windows=windows, step=step, horizon=horizon)
    return values, origins, windows, step, horizon


@given(rolled(), st.integers(1, 5))
def test_rows_are_those_of_a_loop(drawn, season):
    values, origins, windows, step, horizon = drawn
    after, before = origins.after(values, horizon), origins.before(values, 1)
    seasons = origins.season(values, horizon, season)
    place = 0
    for one in values:
        for window in range(windows):
            cut = len(one) - horizon - step * (windows - 1 - window)
            assert after[place].tolist() == one[cut : cut + horizon].tolist()
            assert before[place].tolist() == [one[cut - 1]]
            expected = naive(one[:cut], horizon=horizon, season_length=season)
            assert seasons[place].tolist() == expected.tolist()
            place += 1
    assert place == len(origins)
    assert after[windows - 1].tolist() == values[0][-horizon:].tolist()


@given(rolled(), st.integers(1, 5))
def test_scales_are_those_of_mase(drawn, season):
    values, *_ = drawn
    rows = np.maximum(1, values.lengths - 3)
    for one, cut, scale in zip(values, rows, scales_before(values, rows, season), strict=True):
        try:
            expected = 1 / mase([1.0], [0.0], history=one[:cut], season_length=season)
        except ArgumentError:
            expected = np.nan
        assert scale == pytest.approx(expected, nan_ok=True)


def test_a_series_that_repeats_itself_has_no_scale():
    values = GroupedArray.from_series([[1.0, 2.0] * 4, [1.0, 3.0, 2.0]])
    np.testing.assert_array_equal(scales_before(values, values.lengths, 2), [np.nan, 1.0])

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import DataError
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._gaps import find_gaps, interpolate
from seqkeras.forecasting.frames._reading import read_panel

FREQUENCIES = [
    ("h", "Europe/Berlin"), ("D", "Europe/Berlin"), ("30min", None), ("D", None), ("MS", None),
    ("W-SUN", "UTC"), ("D", "America/Havana"), ("W-SUN", "America/Santiago"), ("B", None),
    ("QE", None), ("YS", None), ("M", "periods"), (3, "integers"),
]  # fmt: skip


def stamps(freq, zone, rows):
    """Regular stamps across the change to summer time."""
    if zone == "integers":
        return pd.Index(np.arange(rows) * freq - 5)
    if zone == "periods":
        return pd.period_range("2024-01", periods=rows, freq=freq)
    if zone and zone.startswith("America"):  # where some days have no midnight
        wall = pd.date_range("2024-03-05", periods=rows, freq=freq).as_unit("us")
        return wall.tz_localize(zone, ambiguous=np.ones(rows, bool), nonexistent="shift_forward")
    return pd.date_range("2024-03-30 12:30", periods=rows, freq=freq, tz=zone).as_unit("us")


@given(
    kind=st.sampled_from(FREQUENCIES),
    kept=st.lists(st.sets(st.integers(0, 39), min_size=1), min_size=1, max_size=3),
)
def test_every_stamp_between_the_first_and_the_last_gets_its_row(kind, kept):
    freq, zone = kind
    whole = stamps(freq, zone, 40)
    rows = [np.array(sorted(places)) for places in kept]
    times = whole[np.concatenate(rows)]
    indptr = np.cumsum([0, *map(len, rows)])
    grid = find_gaps(
        times, indptr, Calendar.of(times, indptr, freq if kind[1] != "integers" else 3)
    )
    expected = [whole[places[0] : places[-1] + 1] for places in rows]
    assert grid.times.tolist() == [stamp for one in expected for stamp in one]
    assert grid.times.dtype == times.dtype
    assert grid.indptr.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert grid.times[grid.places].tolist() == times.tolist()
    spread = grid.spread(np.ones(len(times)))
    assert np.isfinite(spread).sum() == len(times)


def test_a_stamp_between_two_others_of_the_grid_is_no_gap():
    times = pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-03 05:00", "2024-01-04"])
    assert find_gaps(times, np.array([0, 4]), Calendar(str(times.dtype), "D")) == 2
    months = pd.DatetimeIndex(["2024-01-01", "2024-02-01", "2024-03-02"])
    assert find_gaps(months, np.array([0, 3]), Calendar(str(months.dtype), "MS")) == 2


def test_gaps_become_missing_targets_or_lie_on_a_line(panel):
    gaps = panel.drop(panel.index[panel.unique_id == "b"][[3, 4, 20]])
    with pytest.raises(DataError, match="Series 'b' has a gap"):
        read_panel(gaps)
    whole, masked = read_panel(panel), read_panel(gaps, Columns(fill="mask"))
    lines = read_panel(gaps, Columns(fill="interpolate"))
    assert masked.values.indptr.tolist() == whole.values.indptr.tolist()
    assert np.flatnonzero(np.isnan(masked.values[1])).tolist() == [3, 4, 20]
    assert np.isfinite(lines.values.values).all()
    two = whole.values[1][[2, 5]]
    np.testing.assert_allclose(lines.values[1][[3, 4]], two[0] + np.diff(two) * [1 / 3, 2 / 3])


def test_lines_do_not_cross_from_one_series_into_the_next_nor_fill_what_was_given():
    values = np.array([1.0, np.nan, np.nan, np.nan, np.nan, 8.0, np.nan, 10.0, np.nan])
    added = np.array([0, 1, 0, 1, 1, 0, 1, 0, 0], dtype=bool)
    filled = interpolate(values, np.array([0, 3, 9]), added)
    np.testing.assert_array_equal(filled, [1, *[np.nan] * 4, 8, 9, 10, np.nan])


def test_far_more_gaps_than_rows_hint_at_the_frequency():
    df = pd.DataFrame({"ds": pd.to_datetime(["2000-01-01", "2024-01-01"]), "y": [1.0, 2.0]})
    with pytest.raises(DataError, match=r"df has 2 rows.*it would have .*freq="):
        read_panel(df, Columns(freq="h", fill="mask"))


def test_covariates_of_missing_rows_are_not_made_up(one):
    with pytest.raises(ValueError, match="Put the missing rows into df"):
        read_panel(one.assign(x=1.0).drop(index=5), Columns(past=["x"], fill="mask"))


def test_nothing_is_drawn_between_values_that_are_not_there():
    nothing = np.full(4, np.nan)
    found = interpolate(nothing, np.array([0, 4]), np.array([False, True, True, False]))
    np.testing.assert_array_equal(found, nothing)

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import DataError
from seqkeras.forecasting import Columns
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.frames._gaps import find_gaps, interpolate
from seqkeras.forecasting.frames._reading import read_panel

FREQUENCIES = [
    ("h", "Europe/Berlin"),
    ("D", "Europe/Berlin"),
    ("30min", None),
    ("D", None),
    ("MS", None),
    ("W-SUN", "UTC"),
    ("D", "America/Havana"),
    ("W-SUN", "America/Santiago"),
    ("B", None),
    ("QE", None),
    ("YS", None),
    ("2MS", None),
    (pd.offsets.CustomBusinessDay(holidays=["2024-04-01", "2024-04-09"]), None),
    (pd.offsets.CustomBusinessDay(weekmask="1111110"), "Europe/Berlin"),
    ("M", "periods"),
    (3, "integers"),
]


def timestamps(freq, zone, rows):
    """Return regular timestamps across the change to daylight saving time."""
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
    places=st.lists(st.sets(st.integers(0, 39), min_size=1), min_size=1, max_size=3),
)
def test_every_timestamp_between_the_first_and_the_last_gets_its_row(kind, places):
    freq, zone = kind
    whole = timestamps(freq, zone, 40)
    rows = [np.array(sorted(series)) for series in places]
    times = whole[np.concatenate(rows)]
    indptr = np.cumsum([0, *map(len, rows)])
    grid = find_gaps(times, indptr, Calendar.of(times, indptr, freq))
    expected = [whole[series[0] : series[-1] + 1] for series in rows]
    assert grid.times.tolist() == [time for series in expected for time in series]
    assert grid.times.dtype == times.dtype
    assert grid.indptr.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert grid.times[grid.places].tolist() == times.tolist()
    spread = grid.spread(np.ones(len(times)))
    assert np.isfinite(spread).sum() == len(times)


@pytest.mark.parametrize("freq", ["2MS", "2B", pd.DateOffset(months=1)], ids=str)
def test_series_may_begin_at_other_phases_of_a_step(freq):
    starts = ["2024-02-01", "2024-01-01", "2024-01-02"][: 2 if freq == "2MS" else 3]
    whole = [pd.date_range(start, periods=9, freq=freq) for start in starts]
    df = pd.concat(
        pd.DataFrame({"unique_id": number, "ds": times, "y": np.arange(9.0)}).drop(index=[4, 6])
        for number, times in enumerate(whole)
    )
    read = read_panel(df, Columns(freq=freq, fill="mask"))
    assert read.last.tolist() == [times[-1] for times in whole]
    expected = [0, 1, 2, 3, None, 5, None, 7, 8]
    for values in read.values:
        assert [None if np.isnan(value) else value for value in values] == expected


def test_a_first_timestamp_that_no_step_leads_to_is_named():
    days = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-06", "2024-01-08", "2024-01-10"]
    df = pd.DataFrame({"unique_id": list("aaabbb"), "ds": pd.to_datetime(days), "y": 1.0})
    with pytest.raises(
        DataError, match=r"Series 'b' must have timestamps of frequency 'B'\. Got: 2024-01-06"
    ):
        read_panel(df, Columns(freq="B", fill="mask"))


def test_a_timestamp_between_two_steps_is_not_a_gap():
    times = pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-03 05:00", "2024-01-04"])
    assert find_gaps(times, np.array([0, 4]), Calendar(str(times.dtype), "D")) == 2
    months = pd.DatetimeIndex(["2024-01-01", "2024-02-01", "2024-03-02"])
    assert find_gaps(months, np.array([0, 3]), Calendar(str(months.dtype), "MS")) == 2


def test_gaps_are_masked_or_interpolated(panel):
    gaps = panel.drop(panel.index[panel.unique_id == "b"][[3, 4, 20]])
    with pytest.raises(DataError, match="Series 'b' must have regular timestamps without gaps"):
        read_panel(gaps)
    whole, masked = read_panel(panel), read_panel(gaps, Columns(fill="mask"))
    lines = read_panel(gaps, Columns(fill="interpolate"))
    assert masked.values.indptr.tolist() == whole.values.indptr.tolist()
    assert np.flatnonzero(np.isnan(masked.values[1])).tolist() == [3, 4, 20]
    assert np.isfinite(lines.values.values).all()
    two = whole.values[1][[2, 5]]
    np.testing.assert_allclose(lines.values[1][[3, 4]], two[0] + np.diff(two) * [1 / 3, 2 / 3])


def test_interpolation_stays_within_a_series_and_its_inserted_rows():
    values = np.array([1.0, np.nan, np.nan, np.nan, np.nan, 8.0, np.nan, 10.0, np.nan])
    inserted = np.array([0, 1, 0, 1, 1, 0, 1, 0, 0], dtype=bool)
    filled = interpolate(values, np.array([0, 3, 9]), inserted)
    np.testing.assert_array_equal(filled, [1, *[np.nan] * 4, 8, 9, 10, np.nan])


def test_far_more_gaps_than_rows_are_refused_with_the_frequency():
    df = pd.DataFrame({"ds": pd.to_datetime(["2000-01-01", "2024-01-01"]), "y": [1.0, 2.0]})
    with pytest.raises(DataError, match=r"Got: 2 rows, which become 210,\d+ at.*Columns\(freq="):
        read_panel(df, Columns(freq="h", fill="mask"))


def test_rows_with_covariates_are_not_inserted(one):
    with pytest.raises(ValueError, match="with their covariates and NaN as the target"):
        read_panel(one.assign(x=1.0).drop(index=5), Columns(past=["x"], fill="mask"))


def test_nothing_is_interpolated_without_values():
    missing = np.full(4, np.nan)
    filled = interpolate(missing, np.array([0, 4]), np.array([False, True, True, False]))
    np.testing.assert_array_equal(filled, missing)

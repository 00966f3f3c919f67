import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError, DataError, FileFormatError
from seqkeras.forecasting.calendars._calendar import Calendar, from_integers, to_integers
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._reading import read_panel

FREQUENCIES = [
    "s",
    "min",
    "15min",
    "h",
    "6h",
    "D",
    "B",
    "W-SUN",
    "W-WED",
    "2W-SUN",
    "MS",
    "ME",
    "BMS",
    "QS-JAN",
    "QE-DEC",
    "3MS",
    "YS-JAN",
    "YE-DEC",
]


def calendar_of(times: pd.Index, freq=None) -> Calendar:
    return Calendar.of(times, np.array([0, len(times)]), freq)


@pytest.mark.parametrize("freq", FREQUENCIES)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_timestamps_of_pandas_are_recognized_and_continued(freq, zone):
    times = pd.date_range("2023-03-01", periods=60, freq=freq, tz=zone)
    known = times[:40]
    after = times[40:]
    calendar = calendar_of(known)
    assert calendar.first_break(known, np.ones(39, bool)) is None
    assert calendar.span(known[-1:], 1, 20).tolist() == after.tolist()


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_a_missing_timestamp_is_found(freq):
    times = pd.date_range("2023-03-01", periods=40, freq=freq).delete(25)
    assert calendar_of(times).first_break(times, np.ones(38, bool)) == 25


def test_days_keep_their_hour_when_the_clock_changes():
    times = pd.date_range("2024-03-25 09:00", periods=4, freq="D", tz="Europe/Berlin")
    after = calendar_of(times, "D").span(times[-1:], 1, 5)
    assert set(after.hour) == {9}
    assert after[-1] == pd.Timestamp("2024-04-02 09:00", tz="Europe/Berlin")


#: Zones where some days have no midnight or two, each with such a day.
MIDNIGHTS = [
    ("America/Santiago", "2023-09-03"),
    ("Asia/Beirut", "2023-03-26"),
    ("America/Havana", "2023-03-12"),
    ("America/Havana", "2023-11-05"),
]


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("freq", ["D", "2D", "W-SUN", "MS"])
@pytest.mark.parametrize(("zone", "day"), MIDNIGHTS)
def test_days_without_a_midnight_and_with_two_are_days(zone, day, freq, second):
    wall = pd.date_range(pd.Timestamp(day) - pd.Timedelta("12D"), periods=60, freq=freq)
    flags = np.full(60, not second)
    times = wall.tz_localize(zone, ambiguous=flags, nonexistent="shift_forward")
    usual = wall.tz_localize(zone, ambiguous=np.ones(60, bool), nonexistent="shift_forward")
    calendar = calendar_of(times)
    assert calendar.freq == calendar_of(wall).freq
    assert calendar.first_break(times, np.ones(59, bool)) is None
    for last in range(3, 20):
        assert calendar.span(times[last : last + 1], 1, 5).tolist() == [*usual[last + 1 :][:5]]
    assert calendar.first_break(times.delete(12), np.ones(58, bool)) == 12


def test_a_time_that_the_clock_skips_comes_back_the_day_after():
    wall = pd.date_range("2024-03-25 02:30", periods=12, freq="D")
    times = wall.tz_localize("Europe/Berlin", nonexistent="shift_forward")
    calendar = calendar_of(times)
    assert calendar.first_break(times, np.ones(11, bool)) is None
    assert str(calendar.move(times[6:7], 1)[0]) == "2024-04-01 02:30:00+02:00"
    # In Berlin the clock never skips three o'clock.
    wall = pd.date_range("2024-03-25 03:00", periods=12, freq="D").tz_localize("Europe/Berlin")
    assert calendar_of(wall).move(wall, 1)[:-1].tolist() == wall[1:].tolist()


def test_hours_are_counted_in_real_time_when_the_clock_changes():
    times = pd.date_range("2024-03-30", periods=48, freq="h", tz="Europe/Berlin")
    calendar = calendar_of(times[:20])
    assert calendar.span(times[19:20], 1, 28).tolist() == times[20:].tolist()


@given(st.integers(-5, 5), st.integers(1, 9), st.integers(2, 30))
def test_integers_continue_with_their_difference(first, step, count):
    times = pd.Index(first + step * np.arange(count))
    calendar = calendar_of(times)
    assert calendar.step == step
    assert calendar.span(times[-1:], 1, 3).tolist() == [times[-1] + step * k for k in (1, 2, 3)]


@pytest.mark.parametrize("freq", ["M", "Q", "Y", "D", "h", "W-SUN", "3M", "2D"])
def test_periods_continue_with_their_own_frequency(freq):
    periods = pd.period_range("2020-01", periods=20, freq=freq)
    calendar = calendar_of(periods[:15])
    assert calendar.span(periods[14:15], 1, 5).tolist() == periods[15:].tolist()
    assert calendar.first_break(periods.delete(7), np.ones(18, bool)) == 7


def test_a_span_lists_the_steps_of_each_timestamp():
    last = pd.DatetimeIndex(["2020-01-31", "2021-06-30"])
    calendar = Calendar(str(last.dtype), "ME")
    assert calendar.span(last, -1, 0).strftime("%Y-%m-%d").tolist() == [
        "2019-12-31",
        "2020-01-31",
        "2021-05-31",
        "2021-06-30",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("M", "ME"),
        ("H", "h"),
        ("T", "min"),
        ("15T", "15min"),
        ("S", "s"),
        ("Q", "QE-DEC"),
        ("A", "YE-DEC"),
        ("Y", "YE-DEC"),
        ("AS", "YS-JAN"),
        ("BM", "BME"),
        ("Q-MAR", "QE-MAR"),
    ],
)
def test_names_of_frequencies_before_pandas_3_are_accepted(old, new):
    times = pd.date_range("2020-01-31", periods=3, freq="D")
    assert calendar_of(times, old).freq == new


@pytest.mark.parametrize(
    ("freq", "season"),
    [
        ("h", 24),
        ("30min", 48),
        ("15min", 96),
        ("5min", 288),
        ("min", 60),
        ("s", 60),
        ("6h", 4),
        ("D", 7),
        ("B", 5),
        ("W-SUN", 52),
        ("2W-SUN", 26),
        ("MS", 12),
        ("ME", 12),
        ("BMS", 12),
        ("3MS", 4),
        ("5MS", 1),
        ("QS-JAN", 4),
        ("QE-DEC", 4),
        ("YS-JAN", 1),
        ("7h", 1),
        ("2D", 1),
        ("24h", 7),
        ("36h", 1),
        ("168h", 52),
        ("12h", 2),
        ("90min", 16),
        ("3min", 20),
        ("7D", 52),
        ("14D", 26),
        ("364D", 1),
        ("5B", 52),
        ("C", 5),
        ("bh", 8),
        ("13W-SUN", 4),
        ("SMS-15", 24),
        ("2SME-15", 12),
        ("WOM-3FRI", 12),
        ("LWOM-FRI", 12),
        ("CBMS", 12),
        ("BQE-DEC", 4),
        ("2QS-JAN", 2),
        ("BYS-JAN", 1),
        ("REQ-L-DEC-SUN-4", 4),
        ("RE-N-DEC-FRI", 1),
    ],
)
def test_the_season_follows_from_the_frequency(freq, season):
    assert Calendar("datetime64[ns]", freq).season_length == season


@pytest.mark.parametrize(
    ("freq", "season"),
    [("h", 24), ("24h", 7), ("D", 7), ("7D", 52), ("W-SUN", 52), ("M", 12), ("3M", 4), ("Q", 4)],
)
def test_the_season_of_periods_follows_from_their_frequency(freq, season):
    assert Calendar(f"period[{freq}]", freq).season_length == season


def test_periods_may_be_given_with_their_frequency_in_any_form():
    periods = pd.period_range("2020-01", periods=20, freq="M")
    for freq in (None, "M", pd.offsets.MonthEnd()):
        assert calendar_of(periods, freq).freq == "M"
    for freq in ("D", pd.offsets.MonthEnd(2), pd.DateOffset(months=1)):
        with pytest.raises(ArgumentError, match="freq must be 'M', the frequency of the periods"):
            calendar_of(periods, freq)


def test_integers_suggest_no_season():
    assert Calendar("int64", "1").season_length == 1


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2020-01-01", periods=5, freq="h"),
        pd.date_range("2020-01-01", periods=5, freq="h", tz="Asia/Tokyo").as_unit("ms"),
        pd.period_range("2020-01", periods=5, freq="M"),
        pd.Index(np.arange(5, dtype="int32")),
        pd.Index(np.arange(5, dtype="uint8")),
    ],
)
def test_timestamps_survive_as_integers(times):
    restored = from_integers(to_integers(times), str(times.dtype))
    assert restored.dtype == times.dtype
    assert restored.tolist() == times.tolist()


@pytest.mark.parametrize("dtype", ["object", "float64", "datetime64", "int64; import os"])
def test_a_foreign_dtype_in_a_file_is_refused(dtype):
    with pytest.raises(FileFormatError, match="not a dtype of timestamps"):
        from_integers(np.arange(3), dtype)


@pytest.mark.parametrize("freq", ["fortnight", "every day", 3, "-1D", ""])
def test_an_unknown_frequency_is_refused(freq):
    with pytest.raises(ArgumentError, match=r"freq must be a pandas frequency.*'MS'"):
        calendar_of(pd.date_range("2020", periods=5, freq="D"), freq)


@pytest.mark.parametrize("freq", ["D", 0, -2, True, 1.5])
def test_integer_timestamps_have_an_integer_frequency(freq):
    with pytest.raises(ArgumentError, match=r"an integer >= 1.*timestamps are integers"):
        calendar_of(pd.Index([1, 2, 3]), freq)


@pytest.mark.parametrize("times", [pd.DatetimeIndex(["2020-01-01", "2020-01-02"]), pd.Index([4])])
def test_too_few_timestamps_ask_for_the_frequency(times):
    with pytest.raises(DataError, match=r"timestamps of one frequency.*Columns\(freq="):
        calendar_of(times)


def test_days_without_sundays_ask_for_the_weekdays_that_exist():
    days = pd.date_range("2024-02-16", periods=74)
    with pytest.raises(DataError, match="weekmask='Mon Tue Wed Thu Fri Sat'") as error:
        calendar_of(days[days.day_name() != "Sunday"])
    assert "one frequency" in str(error.value)


@pytest.mark.parametrize("rows", [60, 66, 70, 77])
def test_a_gap_on_each_sunday_asks_for_the_weekdays_that_exist(rows):
    days = pd.date_range("2024-01-01", periods=rows)
    days = days[days.day_name() != "Sunday"]
    df = pd.DataFrame({"ds": days, "y": np.arange(len(days), dtype=float)})
    with pytest.raises(DataError, match="weekmask='Mon Tue Wed Thu Fri Sat'"):
        read_panel(df, Columns())
    offset = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
    assert len(read_panel(df, Columns(freq=offset)).values.values) == len(days)


@pytest.mark.parametrize("freq", ["W", "MS", "D"])
def test_other_gaps_do_not_ask_for_weekdays(freq):
    days = pd.date_range("2024-01-01", periods=40, freq=freq).delete(20)
    df = pd.DataFrame({"ds": days, "y": np.arange(len(days), dtype=float)})
    with pytest.raises(DataError) as error:
        read_panel(df, Columns())
    assert "weekmask" not in str(error.value)


def test_irregular_timestamps_ask_for_a_regular_grid():
    days = np.random.default_rng(0).integers(1, 20, 50).cumsum()
    times = pd.Timestamp("2020-01-01") + pd.to_timedelta(days * 1.37, unit="D")
    with pytest.raises(DataError, match=r"irregular timestamps.*resample"):
        calendar_of(times)


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2020-01-31", periods=9, freq="ME"),
        pd.date_range("2020-03-27", periods=9, freq="D"),
        pd.date_range("2020-03-27", periods=9, freq="D", tz="Europe/Berlin"),
        pd.date_range("2020-03-29", periods=9, freq="h", tz="Europe/Berlin").as_unit("s"),
        pd.date_range("2020-03-27", periods=9, freq="B").as_unit("ms"),
        pd.period_range("2020-01", periods=9, freq="Q"),
        pd.Index(np.arange(0, 18, 2)),
    ],
    ids=["months", "days", "days in a zone", "hours in a zone", "work days", "quarters", "numbers"],
)
def test_timestamps_move_by_their_own_steps(times):
    steps = np.array([4, -2, 0, 1, 4, 3, -2])
    moved = calendar_of(times).shift(times[np.full(7, 3)], steps)
    assert moved.dtype == times.dtype
    assert moved.tolist() == [times[3 + step] if step < 6 else None for step in steps]
    assert not len(calendar_of(times).shift(times[:0], steps[:0]))


@pytest.mark.parametrize("dtype", ["int64", "int16"])
def test_integers_that_would_overflow_are_refused(dtype):
    largest = np.iinfo(dtype).max
    calendar = dataclasses.replace(calendar_of(pd.Index([0, 1])), dtype=dtype)
    with pytest.raises(DataError, match=f"must fit into {dtype}"):
        calendar.span(pd.Index([largest - 1], dtype="int64"), 1, 3)

import numpy as np
import pandas as pd
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.calendars._calendar_features import choose, encode


@pytest.mark.parametrize(
    ("freq", "rows", "names"),
    [
        ("15min", 300, ["time_of_day"]),
        ("h", 400, ["time_of_day", "day_of_week"]),
        ("h", 20_000, ["time_of_day", "day_of_week", "day_of_year"]),
        ("D", 100, ["day_of_week"]),
        ("B", 800, ["day_of_week", "day_of_year"]),
        ("W-SUN", 200, ["day_of_year"]),
        ("MS", 30, ["month"]),
        ("ME", 20, []),
        ("QS", 30, ["month"]),
        ("YS", 30, []),
    ],
)
def test_auto_chooses_the_cycles_that_the_history_holds_twice(freq, rows, names):
    assert list(choose("auto", Calendar("datetime64[us]", freq), rows)) == names


def test_names_are_checked_and_integers_have_none():
    daily = Calendar("datetime64[us]", "D")
    assert choose(None, daily, 100) == ()
    assert choose(["month", "day_of_month", "month"], daily, 3) == ("month", "day_of_month")
    assert choose("month", daily, 3) == ("month",)
    assert choose(["auto", "month"], daily, 100) == ("day_of_week", "month")
    with pytest.raises(ArgumentError, match="Did you mean 'day_of_week'"):
        choose(["dayofweek"], daily, 3)
    with pytest.raises(ArgumentError, match="None, 'auto' or names among 'time_of_day'"):
        choose(3, daily, 3)
    assert choose("auto", Calendar("int64", "1"), 100) == ()
    with pytest.raises(ArgumentError, match="integer timestamps, which have no calendar"):
        choose(["month"], Calendar("int64", "1"), 100)


def test_the_clock_is_that_of_the_time_zone():
    times = pd.date_range("2024-03-30 12:00", periods=3, freq="D", tz="Europe/Berlin")
    noon = encode(("time_of_day",), times, Calendar(str(times.dtype), "D"))
    np.testing.assert_allclose(noon, [[0, -1]] * 3, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "time", "share"),
    [
        ("time_of_day", "2024-05-06 18:00", 3 / 4),
        ("day_of_week", "2024-05-09 10:00", 3 / 7),
        ("day_of_month", "2024-05-31", 30 / 31),
        ("day_of_year", "2024-12-31", 365 / 366),
        ("month", "2024-04-30", 1 / 4),
    ],
)
def test_a_feature_is_sine_and_cosine_of_the_position_in_its_cycle(name, time, share):
    angle = 2 * np.pi * share
    actual = encode((name,), pd.DatetimeIndex([time]), Calendar("datetime64[us]", "D"))
    np.testing.assert_allclose(actual, [[np.sin(angle), np.cos(angle)]], atol=1e-12)


def test_periods_and_repeated_timestamps_are_encoded_too():
    periods = pd.period_range("2024-01", periods=12, freq="M")
    months = Calendar("period[M]", "M")
    repeated = encode(("month",), periods.append(periods), months)
    np.testing.assert_array_equal(repeated[:12], encode(("month",), periods.to_timestamp(), months))
    np.testing.assert_array_equal(repeated[:12], repeated[12:])

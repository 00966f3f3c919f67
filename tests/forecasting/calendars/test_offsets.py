import datetime

import numpy as np
import pandas as pd
import pytest
from dateutil.relativedelta import MO
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import covering, examples
from seqkeras.errors import ArgumentError
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.calendars._offsets import describe, step_of

HOLIDAYS = ["2024-12-25", "2024-12-26"]
EXCHANGE = np.busdaycalendar(weekmask="1111110", holidays=HOLIDAYS)
offsets = pd.offsets

#: Offsets, the season that each suggests, and whether a word of pandas says all about it.
OFFSETS = [
    (offsets.CustomBusinessDay(holidays=HOLIDAYS), 5, False),
    (offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat"), 6, False),
    (offsets.CustomBusinessDay(calendar=EXCHANGE), 6, False),
    (offsets.CustomBusinessDay(calendar=np.busdaycalendar(weekmask="1111110")), 6, False),
    (3 * offsets.CustomBusinessDay(weekmask="1111110", holidays=HOLIDAYS), 2, False),
    (offsets.CustomBusinessDay(), 5, True),
    (offsets.CustomBusinessHour(start="10:00", end="16:00", holidays=HOLIDAYS), 6, False),
    (offsets.BusinessHour(start=["09:00", "13:00"], end=["12:00", "17:00"]), 7, False),
    (offsets.BusinessHour(start="22:00", end="06:00"), 8, False),
    (offsets.BusinessHour(), 8, True),
    (offsets.BusinessHour(8), 5, True),
    (offsets.CustomBusinessMonthEnd(holidays=["2024-12-31"]), 12, False),
    (2 * offsets.CustomBusinessMonthBegin(holidays=["2025-01-01"]), 6, False),
    (pd.DateOffset(months=1), 12, False),
    (pd.DateOffset(months=1, day=30), 12, False),
    (pd.DateOffset(months=3, day=31), 4, False),
    (2 * pd.DateOffset(months=1), 6, False),
    (pd.DateOffset(years=1), 1, False),
    (pd.DateOffset(years=1, month=2, day=29), 1, False),
    (pd.DateOffset(years=1, months=6), 1, False),
    (offsets.Easter(), 1, False),
    (pd.DateOffset(), 7, True),
    (pd.DateOffset(days=2), 1, True),
    (pd.DateOffset(weeks=2), 26, True),
    (pd.DateOffset(hours=6), 4, True),
    (2 * pd.DateOffset(minutes=15), 48, True),
    (offsets.Week(), 52, True),
    (2 * offsets.Week(weekday=2), 26, True),
    (offsets.WeekOfMonth(week=2, weekday=4), 12, True),
    (offsets.SemiMonthBegin(day_of_month=10), 24, True),
    (offsets.BQuarterEnd(startingMonth=2), 4, True),
    (offsets.FY5253Quarter(variation="last", startingMonth=12, weekday=6), 4, True),
    (pd.Timedelta("1D"), 7, True),
    (datetime.timedelta(days=7), 52, True),
]


def stamps_at(step, count=60, *, start="2024-01-15"):
    """Return what pandas finds by taking one step after the other."""
    times = [pd.Timestamp(start) + step]
    while len(times) < count:
        times.append(times[-1] + step)
    return pd.DatetimeIndex(times)


def calendar_of(times, freq):
    return Calendar.of(times, np.array([0, len(times)]), freq)


#: Every second one has each step in one zone.
OFFSETS_AND_ZONES = [
    (*offset, zone)
    for number, offset in enumerate(OFFSETS)
    for zone in ([None, "Europe/Berlin"], ["Europe/Berlin", None])[number % 2]
]


@pytest.mark.parametrize(
    ("step", "season", "is_word", "zone"),
    covering(OFFSETS_AND_ZONES, 2),
    ids=lambda value: repr(value),
)
def test_an_offset_stays_itself(step, season, is_word, zone):
    times = stamps_at(step)
    if zone is not None and not isinstance(step, datetime.timedelta):
        times = times.tz_localize(zone)
    calendar = calendar_of(times[:40], step)
    assert calendar.first_break(times[:40], np.ones(39, bool)) is None
    assert calendar.first_break(times.delete(20)[:40], np.ones(39, bool)) == 20
    assert calendar.span(times[39:40], -39, 20).tolist() == times.tolist()
    moved = calendar.shift(times[[9, 9, 30]], np.array([4, -5, 0]))
    assert moved.tolist() == times[[13, 4, 30]].tolist()
    assert calendar.season_length == season
    # What a saved forecaster has: the name of the step.
    assert (" " in calendar.freq) is not is_word
    restored = Calendar(calendar.dtype, calendar.freq, calendar.clock)
    assert restored.move(times[:40], 20).tolist() == times[20:].tolist()
    for back in (1, 8, 20):
        assert restored.move(times[back:], -back).tolist() == times[:-back].tolist()
    assert calendar_of(times[:5], calendar.step).freq == calendar.freq


@examples(20)
@given(
    st.sets(st.dates(datetime.date(2024, 1, 2), datetime.date(2024, 3, 1)), max_size=9),
    st.lists(st.booleans(), min_size=7, max_size=7).filter(any),
    st.integers(1, 3),
)
def test_business_days_keep_every_holiday_and_weekend(holidays, week, count):
    mask = "".join("1" if is_open else "0" for is_open in week)
    days = pd.date_range("2024-01-01", "2024-06-01")
    is_open = [week[day.weekday()] and day.date() not in holidays for day in days]
    times = days[is_open][::count]
    step = count * offsets.CustomBusinessDay(weekmask=mask, holidays=sorted(holidays))
    calendar = calendar_of(times[:4], step)
    assert calendar.span(times[:1], 0, len(times) - 1).tolist() == times.tolist()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (pd.DateOffset(months=-1), "lead forward in time and can be undone"),
        (pd.DateOffset(months=0), "lead forward in time and can be undone"),
        (pd.DateOffset(days=-1), "lead forward in time and can be undone"),
        (pd.DateOffset(day=3), "lead forward in time and can be undone"),
        (pd.DateOffset(months=1, month=3), "lead forward in time and can be undone"),
        (
            offsets.BDay(offset=datetime.timedelta(hours=2)),
            "lead forward in time and can be undone",
        ),
        (-offsets.CustomBusinessDay(holidays=HOLIDAYS), "a pandas frequency"),
        (offsets.MonthEnd(0), "a pandas frequency"),
        (pd.DateOffset(weekday=MO(1)), "can be saved in a file"),
        (pd.DateOffset(months=1, days=1), "can be saved in a file"),
        (pd.DateOffset(days=1, hours=12), "can be saved in a file"),
        (pd.DateOffset(days=1, hour=12), "can be saved in a file"),
        (offsets.MonthEnd(normalize=True), "can be saved in a file"),
        (offsets.CustomBusinessDay(holidays=HOLIDAYS, normalize=True), "can be saved in a file"),
        (
            offsets.CustomBusinessDay(holidays=HOLIDAYS, offset=datetime.timedelta(hours=2)),
            "can be saved in a file",
        ),
        (type("Mine", (offsets.BusinessDay,), {})(), "can be saved in a file"),
    ],
    ids=lambda value: repr(value),
)
def test_an_offset_that_cannot_be_kept_is_refused_in_words(step, words):
    with pytest.raises(ArgumentError, match=rf"freq must be .*{words}.*Got: freq="):
        calendar_of(pd.date_range("2020-01-15 10:00", periods=60, freq="D"), step)


def test_months_from_a_day_that_some_lack_name_the_day():
    times = stamps_at(pd.DateOffset(months=1, day=30), start="2023-12-30")
    with pytest.raises(ArgumentError, match=r"with 2024-01-30\..*pd\.DateOffset\(\.\.\., day=30\)"):
        calendar_of(times, pd.DateOffset(months=1))
    after = calendar_of(times[:13], pd.DateOffset(months=1, day=30)).span(times[12:13], 1, 2)
    assert after.strftime("%Y-%m-%d").tolist() == ["2025-02-28", "2025-03-30"]


def test_messages_show_the_arguments_of_an_offset_and_cut_long_lists():
    assert describe("2W-SUN") == "'2W-SUN'"
    assert describe('DateOffset {"months": 1}') == "DateOffset(months=1)"
    days = pd.date_range("2024-01-01", periods=300).strftime("%Y-%m-%d").tolist()
    times = pd.date_range("2025-01-01", periods=5)
    long = describe(calendar_of(times, offsets.CustomBusinessDay(holidays=days)).freq)
    assert long.startswith("CustomBusinessDay(holidays=['2024-01-01', ")
    assert len(long) < 120


@pytest.mark.parametrize(
    "name", ["Tick {}", 'DateOffset {"months"', 'DateOffset ["months"]', "CustomBusinessDay 5"]
)
def test_a_damaged_name_is_an_error_that_loading_expects(name):
    with pytest.raises((LookupError, TypeError, ValueError)):
        step_of(name)

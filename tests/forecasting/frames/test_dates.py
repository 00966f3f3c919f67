import pandas as pd
import pytest

from seqkeras.forecasting.frames._dates import first_unreadable, read_dates

#: Texts that a parser completes from today, from year 1 or from a guess of the century.
PARTIAL = [
    ["00:00", "01:00"],
    ["11:34:05", "11:35:05"],
    ["01-01", "01-02"],
    ["1-01", "1-02"],
    ["01 Jan", "02 Jan"],
    ["Jan 1", "Jan 2"],
    ["Jan-70", "Feb-70"],
    ["1/22/20", "1/23/20"],
    ["99-01-02", "99-01-03"],
    ["today", "now"],
]

#: Texts, and the timestamps that they are.
WHOLE = [
    (["2024-12-31", "2025-01-01"], ["2024-12-31", "2025-01-01"]),
    (["12/31/2024", "1/1/2025"], ["2024-12-31", "2025-01-01"]),
    (["31.12.2024 23:00", "01.01.2025 00:00"], ["2024-12-31T23", "2025-01-01T00"]),
    (["1991 Jul", "1991 Aug"], ["1991-07-01", "1991-08-01"]),
    (["Jan 2020", "Feb 2020"], ["2020-01-01", "2020-02-01"]),
    (["2000-03", "2000-04"], ["2000-03-01", "2000-04-01"]),
    (["2000Q1", "2000Q2"], ["2000-01-01", "2000-04-01"]),
    (["2024-12-31T23:30:00Z", "2025-01-01T00:30:00Z"], ["2024-12-31T23:30Z", "2025-01-01T00:30Z"]),
    # Written in one year, and in UTC in another.
    (
        ["2025-01-01 00:30+01:00", "2025-01-01 02:30+02:00"],
        ["2024-12-31T23:30Z", "2025-01-01T00:30Z"],
    ),
    (
        ["2024-12-31 23:30-05:00", "2025-01-01 01:30-04:00"],
        ["2025-01-01T04:30Z", "2025-01-01T05:30Z"],
    ),
]


@pytest.mark.parametrize("texts", PARTIAL, ids=lambda texts: texts[0])
def test_no_year_is_made_up(texts):
    assert read_dates(pd.Series(texts)) == []


@pytest.mark.parametrize(("texts", "times"), WHOLE, ids=lambda texts: texts[0])
def test_whole_dates_are_read(texts, times):
    (reading,) = read_dates(pd.Series(texts))
    assert reading.times.tolist() == [pd.Timestamp(time) for time in times]


@pytest.mark.parametrize(
    ("texts", "dates"),
    [
        (["202411", "202412"], ["2024-11-01", "2024-12-01"]),
        (["20241130", "20241201"], ["2024-11-30", "2024-12-01"]),
        (["202413", "202414"], []),
        (["2024111", "2024112"], []),
        (["100000", "100001"], []),
        (["1", "2"], []),
        (["20241130" * 3, "20241201" * 3], []),
    ],
)
def test_digits_are_dates_only_where_each_place_says_which(texts, dates):
    readings = read_dates(pd.Series(texts))
    assert [time for reading in readings for time in reading.times.astype(str)] == dates


def test_the_first_row_that_is_written_otherwise_is_found():
    text = pd.Series([None, "2024-01-01 11:33", None, "11:34", "2024-01-01 11:35", "x"])
    assert first_unreadable(text) == 3

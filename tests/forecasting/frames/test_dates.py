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

WHOLE = [
    ["2024-12-31", "2025-01-01"],
    ["12/31/2024", "1/1/2025"],
    ["31.12.2024 23:00", "01.01.2025 00:00"],
    ["1991 Jul", "1991 Aug"],
    ["Jan 2020", "Feb 2020"],
    ["2000-03", "2000-04"],
    ["2000Q1", "2000Q2"],
    ["2024-12-31T23:30:00Z", "2025-01-01T00:30:00Z"],
    ["2025-01-01 00:30+01:00", "2025-01-01 01:30+02:00"],  # in UTC these are of the year before
    ["2024-12-31 23:30-05:00", "2025-01-01 00:30-04:00"],
]


@pytest.mark.parametrize("texts", PARTIAL, ids=lambda texts: texts[0])
def test_no_year_is_made_up(texts):
    assert read_dates(pd.Series(texts)) == []


@pytest.mark.parametrize("texts", WHOLE, ids=lambda texts: texts[0])
def test_whole_dates_are_read(texts):
    readings = read_dates(pd.Series(texts))
    assert readings
    for reading in readings:
        assert reading.times.is_monotonic_increasing
        assert reading.times.dt.year.between(1990, 2025).all()


def test_the_first_row_that_is_written_otherwise_is_found():
    text = pd.Series([None, "2024-01-01 11:33", None, "11:34", "2024-01-01 11:35", "x"])
    assert first_unreadable(text) == 3

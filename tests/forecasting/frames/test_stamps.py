import pandas as pd
import pytest

from seqkeras.errors import DataError
from seqkeras.forecasting.frames._stamps import check_whole
from seqkeras.forecasting.frames._tables import read_file

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


def file_of(stamps, folder):
    path = folder / "series.csv"
    pd.DataFrame({"when": stamps, "y": range(len(stamps))}).to_csv(path, index=False)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stamps", PARTIAL, ids=lambda stamps: stamps[0])
def test_no_year_is_made_up(stamps, tmp_path):
    with pytest.raises(
        DataError, match=rf"'when' must hold whole dates\. Got: '{stamps[0]}' in row 0.*four digits"
    ):
        read_file(file_of(stamps, tmp_path), time_col="when")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stamps", WHOLE, ids=lambda stamps: stamps[0])
def test_whole_dates_are_read(stamps, tmp_path):
    times = read_file(file_of(stamps, tmp_path), time_col="when").when
    assert times.is_monotonic_increasing or "+" in stamps[0]
    assert times.dt.year.between(1990, 2025).all()


@pytest.mark.filterwarnings("ignore")
def test_the_row_with_the_partial_date_is_named(tmp_path):
    text = pd.Series(["2024-01-01 11:33", "11:34", None, "2024-01-01 11:35"], name="when")
    times = pd.to_datetime(text, format="mixed")
    with pytest.raises(DataError, match="Got: '11:34' in row 1, which would be read as 20"):
        check_whole(text, times)
    check_whole(text.drop(1), times.drop(1))

import sys

import pandas as pd
import pytest

from seqkeras.errors import ArgumentError, DataError, MissingDependencyError
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.forecasting.frames._tables import read_file, write_file


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_keeps_a_frame(one, tmp_path, suffix):
    path = tmp_path / f"series{suffix}"
    write_file(one, path)
    pd.testing.assert_frame_equal(read_file(path, time_col="ds"), one)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"a \.csv or \.parquet file"):
        read_file(tmp_path / "series.xlsx", time_col="ds")
    path = tmp_path / "series.csv"
    path.write_text("ds,y\nyesterday,1\n")
    with pytest.raises(DataError, match="'ds' must hold timestamps"):
        read_file(path, time_col="ds")
    with pytest.raises(
        ArgumentError, match=r"time_col must be a column of .*series\.csv, which has 'ds', 'y'"
    ):
        read_file(path, time_col="date")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.csv", b"", "No columns"),
        ("wide.csv", "ds,y\n1,2\n".encode("utf-16"), "'utf-8' codec"),
        ("ragged.csv", b"ds,y\n1,2\n1,2,3,4\n", "Expected 2 fields in line 3, saw 4"),
        ("text.parquet", b"ds,y\n1,2\n", "Could not open Parquet"),
        ("cut.parquet", b"PAR1" + bytes(20) + b"\x10\0\0\0PAR1", ""),
    ],
)
def test_a_damaged_file_is_named_with_the_reason(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    kind = name.rpartition(".")[2]
    with pytest.raises(
        DataError, match=rf"{name} must be readable as {kind}\. Got: .*{why}.*\. Save it"
    ):
        read_file(tmp_path / name, time_col="ds")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_file_and_a_missing_pyarrow_have_their_own_errors(
    one, tmp_path, monkeypatch, suffix
):
    path = tmp_path / f"series{suffix}"
    with pytest.raises(FileNotFoundError, match=path.name):
        read_file(path, time_col="ds")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    if suffix == ".parquet":
        with pytest.raises(MissingDependencyError, match=r"seqkeras\[parquet\]"):
            write_file(one, path)
        with pytest.raises(MissingDependencyError, match=r"seqkeras\[parquet\]"):
            read_file(path, time_col="ds")


def test_ids_of_a_csv_file_are_read_as_text(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("shop,ds,y\n007,2024-01-01,1\nNA,2024-01-01,NA\n,2024-01-01,3\n")
    df = read_file(path, time_col="ds", id_col="shop")
    assert df["shop"][:2].tolist() == ["007", "NA"]
    assert df["shop"].isna().tolist() == [False, False, True]
    assert df["y"].isna().tolist() == [False, True, False]


def test_timestamps_of_a_csv_file_may_cross_into_daylight_saving_time(one, tmp_path):
    path = tmp_path / "series.csv"
    times = pd.date_range("2024-03-30", periods=len(one), freq="h", tz="Europe/Berlin")
    one.assign(ds=[time.isoformat() for time in times]).to_csv(path, index=False)
    df = read_file(path, time_col="ds")
    assert df.ds.tolist() == times.tolist()
    assert read_panel(df).calendar.freq == "h"

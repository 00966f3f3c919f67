import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from seqkeras.errors import (
    ArgumentError,
    DataError,
    MissingDependencyError,
    SkippedSeriesWarning,
)
from seqkeras.forecasting._frames import (
    Columns,
    read_file,
    read_panel,
    split_last,
    write_file,
)


def test_a_panel_has_each_series_in_order_of_time(panel):
    read = read_panel(panel)
    assert read.ids.tolist() == ["a", "b", "c"]
    for name, values in zip(read.ids, read.values, strict=True):
        assert values.tolist() == panel.y[panel.unique_id == name].tolist()
    assert read.last.tolist() == panel.groupby("unique_id").ds.max().tolist()


def test_a_frame_without_ids_is_one_series(one):
    read = read_panel(one)
    assert read.columns.id is None
    assert read.values[0].tolist() == one.y.tolist()


def test_other_names_of_columns_are_used_in_and_out(panel):
    renamed = panel.rename(columns={"unique_id": "shop", "ds": "day", "y": "sales"})
    read = read_panel(renamed, id_col="shop", time_col="day", target_col="sales")
    frame = read.forecast_frame({"yhat": np.zeros((3, 2))})
    assert frame.columns.tolist() == ["shop", "day", "yhat"]
    assert frame.shop.tolist() == ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize("dtype", ["object", "str", "category", "int64"])
def test_ids_come_back_in_the_dtype_that_they_had(panel, dtype):
    panel["unique_id"] = panel.unique_id.map({"a": 7, "b": 8, "c": 9}).astype(dtype)
    frame = read_panel(panel).forecast_frame({"yhat": np.zeros((3, 1))})
    assert frame.unique_id.dtype == panel.unique_id.dtype
    assert frame.unique_id.tolist() == panel.unique_id.drop_duplicates().tolist()


@pytest.mark.parametrize(
    "stamps",
    [
        pd.date_range("2020-01-01", periods=30, freq="D", tz="Europe/Berlin"),
        pd.date_range("2020-01-01", periods=30, freq="D").as_unit("s"),
        pd.period_range("2020-01", periods=30, freq="M"),
        pd.Index(np.arange(30, dtype="int16")),
    ],
)
def test_stamps_come_back_in_the_dtype_that_they_had(stamps):
    df = pd.DataFrame({"ds": stamps, "y": np.arange(30.0)})
    frame = read_panel(df).forecast_frame({"yhat": np.zeros((1, 2))})
    assert frame.ds.dtype == df.ds.dtype
    history = read_panel(df).history_frame()
    assert history.ds.tolist() == df.ds.tolist()


@pytest.mark.parametrize(
    "dtype", ["int8", "uint16", "float32", "Int64", "Float64", "boolean", "bool"]
)
def test_every_kind_of_number_is_a_target(one, dtype):
    one["y"] = (one.y > one.y.mean()).astype(dtype)
    assert set(read_panel(one).values.values) == {0.0, 1.0}


def bad_frames():
    """What is wrong, the change that makes it wrong, and words that the error must have."""

    def set_value(row, column, value):
        def change(df):
            df[column] = df[column].astype(object) if isinstance(value, str) else df[column]
            df.loc[row, column] = value
            return df

        return change

    yield "empty", lambda df: df.iloc[:0], ["df is empty"]
    yield "huge", set_value(7, "y", 1e200), ["target 1e+200", "below 1e+150"]
    yield "nan", set_value(7, "y", np.nan), ["target nan", "row 7", "1 such rows", "finite"]
    yield "infinite", set_value(7, "y", np.inf), ["target inf", "row 7"]
    yield "text", lambda df: df.assign(y=df.y.astype(str)), ["must hold numbers", "pd.to_numeric"]
    yield "complex", lambda df: df.assign(y=df.y * 1j), ["must hold numbers", "complex128"]
    yield (
        "unsorted",
        lambda df: df.iloc[::-1],
        ["not in order of time", "df.sort_values(['unique_id', 'ds'])"],
    )
    yield "twice", lambda df: pd.concat([df, df.tail(1)]), ["Series 'c'", "twice", "Drop or merge"]
    yield (
        "gap",
        lambda df: df.drop(df.index[(df.unique_id == "b")][5]),
        ["Series 'b'", "after 2020-01-08", "comes 2020-01-10", "expected 2020-01-09", "freq="],
    )
    yield "no id", set_value(3, "unique_id", None), ["'unique_id' has no id in row 3"]
    yield "no stamp", set_value(3, "ds", pd.NaT), ["'ds' has no time stamp in row 3"]
    yield "text stamps", lambda df: df.assign(ds=df.ds.astype(str)), ["pd.to_datetime"]


@pytest.mark.parametrize(("change", "words"), [(c, w) for _, c, w in bad_frames()],
                         ids=[name for name, _, _ in bad_frames()])  # fmt: skip
def test_a_bad_frame_is_refused_with_what_where_and_how_to_mend_it(panel, change, words):
    with pytest.raises(DataError) as caught:
        read_panel(change(panel))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target_col": "sale"}, ["target_col='sale'", "Did you mean 'sales'?"]),
        ({"time_col": "zzz"}, ["time_col='zzz'", "'unique_id', 'ds', 'sales'", "time_col=..."]),
        ({"id_col": "uniqueid"}, ["id_col='uniqueid'", "Did you mean 'unique_id'?"]),
    ],
)
def test_an_unknown_column_is_answered_with_the_nearest(panel, arguments, words):
    df = panel[["unique_id", "ds", "y"]].rename(columns={"y": "sales"})
    with pytest.raises(ArgumentError) as caught:
        read_panel(df, **{"target_col": "sales"} | arguments)
    for word in words:
        assert word in str(caught.value)


def test_two_columns_of_one_name_are_refused(one):
    with pytest.raises(ArgumentError, match="names 2 columns"):
        read_panel(pd.concat([one, one[["y"]]], axis=1))


def test_something_else_than_a_frame_is_refused():
    with pytest.raises(
        ArgumentError, match=r"df must be a pandas DataFrame or Series. Got: df='list'"
    ):
        read_panel([1, 2, 3])


def test_duplicates_without_ids_hint_at_the_id_column(panel):
    with pytest.raises(DataError, match="name the column of their ids: id_col"):
        read_panel(panel.drop(columns="unique_id"))


def test_short_series_raise_or_are_skipped_with_a_count(panel):
    read = read_panel(panel)
    with pytest.raises(DataError, match=r"Series 'a' has 60 rows and must have 70 \(x\).*skip"):
        read.long_enough(70, why="x", short_series="raise")
    with pytest.warns(SkippedSeriesWarning, match="1 of 3 series are too short"):
        kept = read.long_enough(70, why="x", short_series="skip")
    assert kept.ids.tolist() == ["b", "c"]
    assert [len(one) for one in kept.values] == [70, 80]
    with warnings.catch_warnings(), pytest.raises(DataError, match="3 of 3 series"):
        read.long_enough(100, why="x", short_series="skip")


def test_the_last_rows_of_each_series_are_split_off(panel):
    train, test = split_last(panel, 5, Columns("unique_id", "ds", "y"))
    assert test.groupby("unique_id").size().tolist() == [5, 5, 5]
    assert (test.groupby("unique_id").ds.min() > train.groupby("unique_id").ds.max()).all()
    assert len(train) + len(test) == len(panel)


def test_series_are_found_by_id(panel):
    read = read_panel(panel)
    assert (read.numbers(), read.numbers("b"), read.numbers(["c", "a"])) == ([0, 1, 2], [1], [2, 0])
    with pytest.raises(ArgumentError, match="series must be among the ids of the 3 series"):
        read.numbers("d")
    parts = read.take(read.numbers(["c", "a"])).split([panel])
    assert list(parts) == ["c", "a"]
    assert parts["c"][0].unique_id.unique().tolist() == ["c"]


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
    with pytest.raises(DataError, match="'ds' cannot be read as time stamps"):
        read_file(path, time_col="ds")
    with pytest.raises(ArgumentError, match="time_col must be a column of df"):
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
    with pytest.raises(DataError, match=rf"{name} cannot be read as {kind}: .*{why}.*\. Save it"):
        read_file(tmp_path / name, time_col="ds")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_file_and_a_missing_pyarrow_are_told_as_such(one, tmp_path, monkeypatch, suffix):
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


def test_stamps_of_a_csv_file_may_cross_into_summer_time(one, tmp_path):
    path = tmp_path / "series.csv"
    stamps = pd.date_range("2024-03-30", periods=len(one), freq="h", tz="Europe/Berlin")
    one.assign(ds=[stamp.isoformat() for stamp in stamps]).to_csv(path, index=False)
    df = read_file(path, time_col="ds")
    assert df.ds.tolist() == stamps.tolist()
    assert read_panel(df).calendar.freq == "h"


def test_a_column_that_is_in_the_index_is_answered_with_reset_index(panel):
    with pytest.raises(ArgumentError, match=r"It is in the index: use df.reset_index\(\)"):
        read_panel(panel.set_index("ds"))
    with pytest.raises(ArgumentError, match=r"df.reset_index\(names='day'\)"):
        read_panel(panel.set_index("ds").drop(columns="unique_id"), time_col="day")


def test_columns_that_would_clash_are_refused(one):
    with pytest.raises(ArgumentError, match="must be different columns"):
        read_panel(one, time_col="ds", target_col="ds")
    with pytest.raises(ArgumentError, match="a name other than actual or yhat"):
        read_panel(one.rename(columns={"ds": "yhat"}), time_col="yhat")


def test_rows_are_found_by_position_whatever_the_index_says(panel):
    strange = panel.set_index(pd.Index([0] * len(panel)))
    assert read_panel(strange).values.values.tolist() == read_panel(panel).values.values.tolist()

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from seqkeras.errors import ArgumentError, DataError, SkippedSeriesWarning
from seqkeras.forecasting import Columns
from seqkeras.forecasting.frames._panel import _restore_ids, dtype_of
from seqkeras.forecasting.frames._reading import read_panel


def test_other_column_names_are_read_and_returned(panel):
    renamed = panel.rename(columns={"unique_id": "shop", "ds": "day", "y": "sales"})
    read = read_panel(renamed, Columns(id="shop", time="day", target="sales"))
    frame = read.forecast_frame({"yhat": np.zeros((3, 2))})
    assert frame.columns.tolist() == ["shop", "day", "yhat"]
    assert frame.shop.tolist() == ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize("dtype", ["object", "str", "category", "int64"])
def test_ids_keep_their_dtype(panel, dtype):
    panel["unique_id"] = panel.unique_id.map({"a": 7, "b": 8, "c": 9}).astype(dtype)
    frame = read_panel(panel).forecast_frame({"yhat": np.zeros((3, 1))})
    assert frame.unique_id.dtype == panel.unique_id.dtype
    assert frame.unique_id.tolist() == panel.unique_id.drop_duplicates().tolist()


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2020-01-01", periods=30, freq="D", tz="Europe/Berlin"),
        pd.date_range("2020-01-01", periods=30, freq="D").as_unit("s"),
        pd.period_range("2020-01", periods=30, freq="M"),
        pd.Index(np.arange(30, dtype="int16")),
    ],
)
def test_timestamps_keep_their_dtype(times):
    df = pd.DataFrame({"ds": times, "y": np.arange(30.0)})
    frame = read_panel(df).forecast_frame({"yhat": np.zeros((1, 2))})
    assert frame.ds.dtype == df.ds.dtype
    history = read_panel(df).history_frame()
    assert history.ds.tolist() == df.ds.tolist()


def test_short_series_raise_or_are_skipped_with_a_count(panel):
    read = read_panel(panel)
    message = r"Series 'a' must have 70 rows \(x\)\. Got: 60 rows\..*short_series='skip'"
    with pytest.raises(DataError, match=message):
        read.long_enough(70, why="x", short_series="raise")
    with pytest.warns(SkippedSeriesWarning, match="1 of 3 series are too short") as caught:
        long = read.long_enough(70, why="x", short_series="skip")
    assert caught[0].filename == __file__
    assert long.ids.tolist() == ["b", "c"]
    assert long.values.lengths.tolist() == [70, 80]
    with warnings.catch_warnings(), pytest.raises(DataError, match="3 of 3 series"):
        read.long_enough(100, why="x", short_series="skip")


def test_series_are_selected_by_id(panel):
    read = read_panel(panel)
    assert read.numbers() == [0, 1, 2]
    assert read.numbers("b") == [1]
    assert read.numbers(["c", "a"]) == [2, 0]
    with pytest.raises(ArgumentError, match="series must be among the ids of the 3 series"):
        read.numbers("d")
    parts = read.take(read.numbers(["c", "a"])).split([panel])
    assert list(parts) == ["c", "a"]
    assert parts["c"][0].unique_id.unique().tolist() == ["c"]


@pytest.mark.parametrize("dtype", ["object", "str", "string", "int8", "Int16", "category", "arrow"])
@pytest.mark.parametrize("is_category", [False, True])
def test_ids_of_a_file_have_the_dtype_of_the_frame(dtype, is_category):
    if dtype == "arrow":
        dtype = pd.ArrowDtype(pytest.importorskip("pyarrow").string())
    ids = pd.Index([3, 1, 2], dtype="int8").astype(dtype)
    if is_category and dtype != "category":
        ids = pd.CategoricalIndex(ids, categories=ids.sort_values(), ordered=True)
    restored = _restore_ids(ids.tolist(), json.loads(json.dumps(dtype_of(ids))))
    pd.testing.assert_index_equal(restored, ids)


def test_ids_whose_dtype_a_file_cannot_hold_are_not_saved():
    arrow = pytest.importorskip("pyarrow")
    dictionary = pd.ArrowDtype(arrow.dictionary(arrow.int32(), arrow.string()))
    with pytest.raises(
        ArgumentError, match=r"ids must be of a dtype that can be saved.*astype\(str\)"
    ):
        dtype_of(pd.Index(["a", "b"], dtype=dictionary))

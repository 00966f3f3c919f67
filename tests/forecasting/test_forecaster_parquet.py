"""A forecaster that reads parquet files is the one that reads a frame with the same rows."""

import functools
import warnings

import numpy as np
import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from helpers.shops import COLUMNS, PLAIN, shops, write_in_two
from seqkeras.errors import ArgumentError, DataError, SeqkerasWarning
from seqkeras.forecasting import Columns
from seqkeras.forecasting.fitted import _streams
from seqkeras.forecasting.frames import _parquet
from seqkeras.windows import _grouped as grouped

arrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.dataset")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Read and compute a few series at a time."""
    monkeypatch.setattr(_parquet, "ROWS", 100)
    monkeypatch.setattr(grouped, "BLOCK", 64)


@pytest.fixture
def write(tmp_path):
    return functools.partial(write_in_two, tmp_path)


def small(**options):
    options = {"lookback": 14, "units": 4, "epochs": 1, "progress": False, "seed": 0} | options
    return flat_forecaster(7, **options)


def fit(data, columns, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeqkerasWarning)  # of short series, in both
        return small(**options).fit(data, columns=columns)


CASES = {
    "plain": (PLAIN, {}, {}),
    "covariates, missing targets": (COLUMNS, {}, {"missing": True}),
    "distribution, fed back": (PLAIN, {"network": "recursive", "likelihood": "gaussian"}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_files_and_frames_give_the_same_fit_and_forecasts(write, tmp_path, case):
    columns, options, data = CASES[case]
    df = shops(**data)
    frame, files = fit(df, columns, **options), fit(write(df), columns, **options)
    for expected, actual in zip(
        frame.model_.get_weights(), files.model_.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)
    for part in ("scaler_.center_", "scaler_.scale_", "intervals_.radius", "panel_.values.values"):
        expected, actual = frame, files
        for name in part.split("."):
            expected, actual = getattr(expected, name), getattr(actual, name)
        np.testing.assert_array_equal(actual, expected, err_msg=part)
    future = frame.future_frame()
    ahead = None
    if columns is COLUMNS:
        ahead = future.assign(price=np.arange(len(future)) % 4)
    expected = frame.predict(future=ahead)
    same = {"check_exact": True, "check_dtype": True}
    pd.testing.assert_frame_equal(files.predict(future=ahead), expected, **same)
    path = files.predict(future=ahead, output=tmp_path / "forecasts.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), expected, **same)
    others = shops(12, **data)
    if ahead is not None:
        ahead = frame.future_frame(df=others).assign(price=lambda df: np.arange(len(df)) % 4)
    expected = frame.predict(others, future=ahead)
    if ahead is not None:
        ahead = write(ahead, "future")
    pd.testing.assert_frame_equal(files.predict(write(others, "others"), future=ahead), expected)


def test_forecasts_are_written_part_by_part(write, tmp_path, monkeypatch):
    monkeypatch.setattr(_streams, "windows_at_once", lambda *_: 5)
    df = shops()
    forecaster = fit(df, PLAIN)
    expected = forecaster.predict(df)
    path = forecaster.predict(str(write(df)), output=str(tmp_path / "forecasts.parquet"))
    assert arrow.parquet.ParquetFile(path).num_row_groups == 3
    pd.testing.assert_frame_equal(pd.read_parquet(path), expected, rtol=1e-5)


def test_future_covariates_may_have_another_order(write):
    df = shops()
    forecaster = fit(df, COLUMNS)
    future = forecaster.future_frame(df=df).assign(price=lambda df: np.arange(len(df)) % 4)
    expected = forecaster.predict(df, future=future)
    backward = future.sort_values("shop", ascending=False, kind="stable")
    sales = write(df)
    actual = forecaster.predict(sales, future=write(backward, "future"))
    pd.testing.assert_frame_equal(actual, expected)
    pd.testing.assert_frame_equal(forecaster.predict(sales, future=future), expected)
    pd.testing.assert_frame_equal(
        forecaster.predict(sales, future=backward.astype({"shop": "category"})), expected
    )
    with pytest.raises(DataError, match="future must have a row for each series"):
        forecaster.predict(sales, future=write(backward.iloc[3:], "short"))
    again = pd.concat([future, future.iloc[:7].assign(price=9)])
    with pytest.raises(DataError, match="The rows of series 's00' must follow each other"):
        forecaster.predict(sales, future=write(again, "again"))
    with pytest.raises(ArgumentError, match=r"future must have the columns.*'price'"):
        forecaster.predict(sales, future=write(future.drop(columns="price"), "lacking"))


@pytest.mark.parametrize("with_ids", [True, False])
def test_ids_are_those_of_the_series_that_are_forecast(write, with_ids):
    columns = Columns(time="day", target="sales", future="price")
    df = shops()[["shop", "day", "sales", "price"]].rename(columns={"shop": "unique_id"})
    plain = df[df.unique_id == "s03"].drop(columns="unique_id")
    fitted, others = (plain, df) if with_ids else (df, plain)
    forecaster = fit(fitted, columns)
    future = forecaster.future_frame(df=others).assign(price=lambda df: np.arange(len(df)) % 4)
    assert ("unique_id" in future) == with_ids
    expected = forecaster.predict(others, future=future)
    actual = forecaster.predict(write(others), future=write(future, "future"))
    pd.testing.assert_frame_equal(actual, expected)


def test_nothing_is_left_of_temporary_files_and_failed_forecasts(write, tmp_path):
    df = shops()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    sales = write(df)
    forecaster = small().fit(sales, columns=PLAIN, scratch=scratch)
    assert list(scratch.iterdir()) == []
    output = scratch / "forecasts.parquet"
    forecaster.predict(sales, output=output)
    before = output.read_bytes()
    broken = df.assign(sales=df.sales.where(df.index < 400, np.inf))
    with pytest.raises(DataError, match=r"b\.parquet, row groups? \d+.*: Column 'sales' must hold"):
        forecaster.predict(write(broken, "broken"), output=output)
    moved = pd.concat([df.iloc[5:], df.iloc[:5]])
    with pytest.raises(DataError, match="series 's00' must follow each other"):
        forecaster.predict(write(moved, "moved"), output=output)
    assert [path.name for path in scratch.iterdir()] == ["forecasts.parquet"]
    assert output.read_bytes() == before


def test_errors_come_before_training(write, tmp_path, no_training):
    df = shops()
    with pytest.raises(DataError, match=r"b\.parquet, row groups? .*: Series 's1\d' must have reg"):
        small().fit(write(df.drop(index=len(df) - 5)), columns=PLAIN)
    with pytest.raises(ArgumentError, match="scratch must be a folder in which files can be"):
        small().fit(write(df, "whole"), columns=PLAIN, scratch=tmp_path / "nothing")
    with pytest.raises(ArgumentError, match="scratch must be omitted with a frame"):
        small().fit(df, columns=PLAIN, scratch=tmp_path)
    with pytest.raises(ArgumentError, match=r"scratch must be a folder.*Got: scratch=5"):
        small().fit(write(df, "again"), columns=PLAIN, scratch=5)
    with pytest.raises(ArgumentError, match=r"Read the file first: df = pd\.read_csv"):
        small().fit("sales.csv")


@pytest.mark.parametrize("lacking", ["a", "b"])
def test_all_files_must_have_the_columns(write, lacking):
    folder = write(shops())
    file = folder / f"{lacking}.parquet"
    pd.read_parquet(file).drop(columns="sales").to_parquet(file)
    if lacking == "a":
        names = arrow.parquet.read_schema(folder / "b.parquet")
        folder = arrow.dataset.dataset(folder, schema=names)  # the first file decides otherwise
    with pytest.raises(ArgumentError, match=rf"must have the column 'sales'.*Got.*{lacking}\.parq"):
        small().fit(folder, columns=PLAIN)


def test_files_without_rows_are_named(write):
    df = shops()
    forecaster = fit(df, COLUMNS)
    future = forecaster.future_frame(df=df).assign(price=1).iloc[:0]
    with pytest.raises(DataError, match="future must have rows"):
        forecaster.predict(write(df), future=write(future, "future"))


@pytest.mark.parametrize("option", ["engine", "folder"])
def test_files_are_not_forecast_by_an_engine(write, fitted_panel, option):
    with pytest.raises(ArgumentError, match=f"{option} must be omitted with parquet files"):
        fitted_panel.predict(write(shops()), **{option: "joblib"})


@pytest.mark.parametrize("output", ["forecasts.csv", 3, "nowhere/forecasts.parquet"])
def test_an_output_that_cannot_be_written_is_refused(fitted_panel, output):
    with pytest.raises(ArgumentError, match="output must be"):
        fitted_panel.predict(output=output)


def test_data_that_is_read_is_not_overwritten(write, fitted_panel):
    folder = write(shops())
    for name in ("df", "future"):
        with pytest.raises(ArgumentError, match="output must be a file outside of the data that"):
            fitted_panel.predict(**{name: folder}, output=folder / "a.parquet")

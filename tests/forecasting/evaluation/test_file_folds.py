"""A backtest of parquet files is that of a frame with the same rows."""

import warnings
from dataclasses import replace

import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from helpers.shops import COLUMNS, PLAIN, shops, write_in_two
from seqkeras.errors import ArgumentError, DataError, SeqkerasWarning
from seqkeras.forecasting import backtest
from seqkeras.forecasting.evaluation import _file_folds
from seqkeras.forecasting.frames import _parquet
from seqkeras.forecasting.networks._predict import windows_at_once
from seqkeras.windows import _grouped as grouped

arrow_dataset = pytest.importorskip("pyarrow.dataset")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Read and compute a few series at a time."""
    monkeypatch.setattr(_parquet, "ROWS", 100)
    monkeypatch.setattr(grouped, "BLOCK", 64)
    monkeypatch.setattr(_file_folds, "BATCH", 5)
    monkeypatch.setattr(_file_folds, "windows_at_once", lambda *_: 5)


def small(**options):
    options = {"lookback": 14, "units": 4, "epochs": 1, "progress": False, "seed": 0} | options
    return flat_forecaster(7, **options)


def run(data, **options):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SeqkerasWarning)
        result = backtest(small(), data, **options)
    return result, [str(warning.message) for warning in warned]


CASES = {
    "one fit, covariates": ({"columns": COLUMNS, "windows": 2, "step": 3, "gap": 2}, {}),
    "two fits, missing targets": (
        {"columns": PLAIN, "windows": 2, "refit": True},
        {"missing": True},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_files_and_frames_give_the_same_backtest(case, tmp_path):
    options, data = CASES[case]
    df = pd.concat([shops(**data), shops(12, **data).iloc[:11]])  # the last series is too short
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    expected, expected_warnings = run(df, **options)
    actual, actual_warnings = run(
        write_in_two(tmp_path, df), **options, output=tmp_path / "out.parquet", scratch=scratch
    )
    assert actual.rows == tmp_path / "out.parquet"
    # As the windows of a batch are others here, the last bits may be.
    pd.testing.assert_frame_equal(actual.frame, expected.frame, rtol=1e-5)
    pd.testing.assert_frame_equal(actual.by_series, expected.by_series, rtol=1e-4)
    pd.testing.assert_frame_equal(actual.scores, expected.scores, rtol=1e-4)
    assert actual_warnings == expected_warnings
    assert list(scratch.iterdir()) == []


def test_files_and_frames_give_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(_file_folds, "windows_at_once", windows_at_once)
    options = {"columns": PLAIN, "windows": 2}
    expected, _ = run(shops(), **options)
    actual, _ = run(write_in_two(tmp_path, shops()), **options)
    pd.testing.assert_frame_equal(actual.frame, expected.frame, check_exact=True)
    pd.testing.assert_frame_equal(actual.by_series, expected.by_series, check_exact=True)
    pd.testing.assert_frame_equal(actual.scores, expected.scores, rtol=1e-12)


def test_parts_may_have_no_series_that_was_fitted(tmp_path):
    short = pd.concat([shops(12 * (1 + turn)).groupby("shop").head(15) for turn in range(2)])
    df = pd.concat([shops(), short])
    columns = replace(PLAIN, short_series="skip")
    expected, _ = run(df, columns=columns)
    actual, _ = run(write_in_two(tmp_path, df), columns=columns)
    pd.testing.assert_frame_equal(actual.frame, expected.frame, rtol=1e-5)


def test_data_that_is_read_is_not_overwritten(tmp_path, no_training):
    folder = write_in_two(tmp_path, shops())
    file = folder / "a.parquet"
    dataset = arrow_dataset.dataset(folder)
    for data, output in ((file, file), (folder, folder / "out.parquet"), (dataset, file)):
        with pytest.raises(ArgumentError, match="output must be a file outside of the data that"):
            backtest(small(), data, columns=PLAIN, output=output)


def test_ids_that_cannot_be_written_are_refused(tmp_path, no_training):
    df = shops()
    df["shop"] = df.shop.where(df.shop != "s03", 3).astype(object)
    with pytest.raises(ArgumentError, match="output must be None with ids of several types"):
        backtest(small(), df, columns=PLAIN, output=tmp_path / "out.parquet")


def test_forecasts_are_returned_without_an_output_and_frames_may_have_one(tmp_path):
    df = shops()
    files, _ = run(write_in_two(tmp_path, df), columns=PLAIN)
    frame, _ = run(df, columns=PLAIN, output=tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(files.rows, pd.read_parquet(tmp_path / "out.parquet"))
    pd.testing.assert_frame_equal(files.rows, frame.frame)
    assert "out.parquet" in frame._repr_html_()
    assert f"{len(files.rows)} rows" in files._repr_html_()


def test_errors_come_before_training(tmp_path, no_training):
    folder = write_in_two(tmp_path, shops())
    for name, value in (("n_jobs", 2), ("engine", "joblib"), ("folder", tmp_path)):
        with pytest.raises(ArgumentError, match=f"{name} must be omitted with parquet files"):
            backtest(small(), folder, columns=PLAIN, **{name: value})
    with pytest.raises(ArgumentError, match="fill must be 'raise' in a backtest of parquet files"):
        backtest(small(), folder, columns=replace(PLAIN, fill="mask"))
    with pytest.raises(ArgumentError, match="scratch must be omitted with a frame"):
        backtest(small(), shops(), columns=PLAIN, scratch=tmp_path)
    with pytest.raises(ArgumentError, match="output must be the path of a file that ends in"):
        backtest(small(), folder, columns=PLAIN, output="out.csv")
    with pytest.raises(DataError, match=r"must have 71 rows \(1 \+ 70 to hold out"):
        backtest(small(), folder, columns=PLAIN, windows=10, output=tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()

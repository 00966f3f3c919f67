import numpy as np
import pandas as pd
import pytest

from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting import Columns
from seqkeras.forecasting.frames._future import read_future
from seqkeras.forecasting.frames._reading import read_panel


@pytest.fixture
def read(panel):
    weather = np.where(np.arange(len(panel)) % 2, "sun", "rain")
    df = panel.assign(x=1.0, weather=weather)
    return read_panel(df, Columns(future=["x", "weather"], calendar=["day_of_week"]))


@pytest.fixture
def future(read):
    frame = read.future_frame(4)
    return frame.assign(x=np.arange(12.0), weather="sun")


def test_the_frame_to_fill_in_has_the_timestamps_of_the_horizon(read, panel):
    frame = read.future_frame(4)
    assert frame.columns.tolist() == ["unique_id", "ds"]
    for name, rows in frame.groupby("unique_id"):
        last = panel[panel.unique_id == name].ds.max()
        assert rows.ds.tolist() == pd.date_range(last, periods=5, freq="D")[1:].tolist()


def test_rows_are_matched_by_series_and_timestamp_in_any_order(read, future):
    ahead = read_future(read, future, 4)
    assert ahead[..., 0].tolist() == np.arange(12.0).reshape(3, 4).tolist()
    assert ahead[..., 2].all()
    assert not ahead[..., 1].any()
    angle = 2 * np.pi * future.ds.dt.day_of_week.to_numpy().reshape(3, 4) / 7
    np.testing.assert_allclose(ahead[..., 3], np.sin(angle))
    more = pd.concat(
        [
            future,
            future.assign(ds=future.ds + pd.Timedelta("9D"), x=-1.0),
            future.assign(unique_id="other", x=-1.0),
        ]
    )
    mixed = more.sample(frac=1, random_state=0).assign(further=None)
    np.testing.assert_array_equal(read_future(read, mixed, 4), ahead)
    np.testing.assert_array_equal(
        read_future(read, future.astype({"ds": "datetime64[ns]"}), 4), ahead
    )


def test_rows_outside_the_horizon_may_be_repeated(read, future):
    late = future.assign(ds=future.ds + pd.Timedelta("9D"), x=np.nan)
    other = future.assign(unique_id="other")
    more = pd.concat([future, late, late, other, other])
    np.testing.assert_array_equal(read_future(read, more, 4), read_future(read, future, 4))


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (lambda df: None, ["future must be given", "['x', 'weather']", "future_frame(horizon=4)"]),
        (lambda df: df.drop(index=[6, 7]), ["none for series 'b' at 2020-03-16", "2 of 12 rows"]),
        (lambda df: pd.concat([df, df.tail(1)]), ["twice for series 'c'", "Drop or merge"]),
        (lambda df: df.drop(columns="x"), ["must have the columns", "no 'x' among", "fill in 'x'"]),
        (
            lambda df: df.assign(x=np.nan),
            ["'x' must have", "series 'a' at 2020-03-01", "in future"],
        ),
        (
            lambda df: df.assign(ds=df.ds.astype(str)),
            ["must hold timestamps of dtype", "pd.to_datetime("],
        ),
        (lambda df: df.assign(ds=df.ds.dt.day), ["must hold timestamps of dtype"]),
        (lambda df: df.assign(ds=df.ds.dt.tz_localize("UTC")), ["must hold timestamps of dtype"]),
        (lambda df: [1, 2], ["future must be a DataFrame"]),
    ],
    ids=["none", "row", "twice", "column", "nan", "text", "integers", "zone", "list"],
)
def test_errors_name_the_fault_and_the_way_to_build_the_frame(read, future, change, texts):
    with pytest.raises((ArgumentError, DataError)) as caught:
        read_future(read, change(future), 4)
    for text in texts:
        assert text in str(caught.value)


def test_a_frame_without_future_covariates_is_refused(panel, future):
    with pytest.raises(ArgumentError, match=r"Name its columns in fit: Columns\(future="):
        read_future(read_panel(panel), future, 4)
    calendar = read_panel(panel, Columns(calendar=["month"]))
    assert read_future(calendar, None, 4).shape == (3, 4, 2)
    with pytest.raises(ArgumentError, match="None without future covariates"):
        read_future(calendar, future, 4)


@pytest.mark.parametrize("kind", ["periods", "integers", "single", "indexed"])
def test_timestamps_of_every_kind_are_matched(panel, kind):
    series = panel[panel.unique_id == "a"].reset_index(drop=True).assign(x=1.0)
    times = {"periods": series.ds.dt.to_period("D"), "integers": np.arange(len(series))}
    df = series.assign(ds=times.get(kind, series.ds))
    if kind == "single":
        df = df.drop(columns="unique_id")
    if kind == "indexed":
        df = df.set_index(["unique_id", "ds"])
    panel = read_panel(df, Columns(future=["x"]))
    future = panel.future_frame(3).assign(x=[1.0, 2.0, 3.0])
    assert read_future(panel, future.iloc[::-1], 3).ravel().tolist() == [1, 2, 3]

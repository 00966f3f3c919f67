import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting import (
    Columns,
    Forecaster,
    backtest,
    components,
    evaluate_holdout,
    insample,
)
from seqkeras.forecasting.frames._forms import Shape
from seqkeras.forecasting.frames._reading import read_panel


def forecast_of(df, horizon=2, names=("yhat", "yhat-lo-80")):
    """Return a forecast of the numbers 0, 1, 2 ... in the form of `df`, and the panel."""
    panel = read_panel(df)
    shape = (len(panel.ids), horizon)
    values = np.arange(float(np.prod(shape))).reshape(shape)
    forecasts = {name: values + 100 * i for i, name in enumerate(names)}
    return panel.shaped_forecast(forecasts), panel


@pytest.fixture
def wide(panel):
    return panel.pivot(index="ds", columns="unique_id", values="y").rename_axis(columns="shop")


def test_a_wide_frame_has_a_wide_forecast(wide):
    forecast, panel = forecast_of(wide)
    assert forecast["yhat"].to_numpy().tolist() == [[0, 2, 4], [1, 3, 5]]
    assert forecast["yhat-lo-80"].columns.equals(wide.columns)
    assert forecast.index.name == "ds"
    assert forecast.index.dtype == wide.index.dtype
    assert forecast.index[0] == wide.index[-1] + pd.Timedelta("1D")
    assert panel.columns.id == "unique_id"


def test_a_wide_series_begins_with_its_first_value(wide):
    _, panel = forecast_of(wide)
    for name, values in zip(panel.ids, panel.values, strict=True):
        first = wide[name].first_valid_index()
        np.testing.assert_array_equal(values, wide.loc[first:, name])
    assert np.isnan(panel.values[0][-1])  # a gap at the end is a missing target
    assert panel.last.nunique() == 1


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2024-03-30", periods=30, freq="h", tz="Europe/Berlin", name="when"),
        pd.period_range("2024-01", periods=30, freq="M"),
        pd.Index(np.arange(7, 37, dtype="int16"), name="step"),
        pd.RangeIndex(30),
    ],
    ids=["zone", "periods", "int16", "range"],
)
def test_a_series_has_a_forecast_over_its_timestamps(index):
    forecast, _ = forecast_of(pd.Series(np.arange(30.0), index=index))
    assert forecast.columns.tolist() == ["yhat", "yhat-lo-80"]
    assert (forecast.index.name, forecast.index.dtype) == (index.name, index.dtype)
    wide, _ = forecast_of(pd.DataFrame({7: np.arange(30.0), 8: 1.0}, index=index))
    assert wide["yhat"].columns.tolist() == [7, 8]
    assert wide.index.equals(forecast.index)


def test_ids_and_timestamps_of_the_index_stay_there(panel):
    indexed = panel.rename(columns={"ds": "day"}).set_index(["unique_id", "day"])
    for df in (indexed, indexed["y"], indexed["y"].rename("sales")):
        forecast, _ = forecast_of(df)
        assert forecast.index.names == ["unique_id", "day"]
        assert forecast.loc["b", "yhat"].tolist() == [2, 3]


#: Names of two levels of an index, timestamps first, and the columns that are named with them.
STACKED = [
    (["ds", "unique_id"], None),
    (["ds", None], None),
    ([None, "unique_id"], None),
    (["when", "shop"], None),
    ([None, None], None),
    (["when", "shop"], Columns(id="shop", time="when")),
    (["when", "shop"], Columns(id="shop")),
    (["when", "shop"], Columns(time="when")),
    ([None, None], Columns(id="shop", time="when")),
]


@pytest.mark.parametrize(("levels", "columns"), STACKED)
@pytest.mark.parametrize("is_series", [False, True])
def test_levels_of_an_index_go_by_name_or_by_what_they_hold(panel, levels, columns, is_series):
    long = panel.set_index(["ds", "unique_id"]).rename_axis(levels)
    read = read_panel(long["y"] if is_series else long, columns)
    assert read.ids.tolist() == ["a", "b", "c"]
    assert read.values.values.tolist() == read_panel(panel).values.values.tolist()
    forecast = read.shaped_forecast({"yhat": np.arange(6.0).reshape(3, 2)})
    assert forecast.index.names == levels
    assert forecast.index.get_level_values(0).dtype == panel.ds.dtype
    assert forecast.xs("b", level=1).yhat.tolist() == [2, 3]
    assert read.future_frame(2).index.equals(forecast.index)


@pytest.mark.parametrize(
    ("levels", "columns", "ids"),
    [
        (["ds", "unique_id"], None, 12),
        (["ds", "city"], None, 12),
        (["step", "unique_id"], None, 12),
        (["unique_id", "ds"], None, 40),
        (["city", "step"], None, 40),
        (["step", "city"], Columns(id="city", time="step"), 12),
        (["step", "city"], Columns(id="city"), 12),
    ],
)
def test_levels_of_integers_go_by_name_and_else_ids_come_first(levels, columns, ids):
    index = pd.MultiIndex.from_product([range(40), range(12)], names=levels)
    df = pd.DataFrame({"y": np.arange(480.0)}, index=index)
    read = read_panel(df if ids == 12 else df.sort_index(level=[0, 1]), columns)
    assert len(read.ids) == ids
    assert read.shaped_forecast({"yhat": np.zeros((ids, 3))}).index.names == levels


def test_levels_that_are_named_and_not_there_are_an_error(panel):
    indexed = panel.set_index(["unique_id", "ds"])
    for columns in (Columns(id="shop"), Columns(time="day"), Columns(id="shop", time="ds")):
        with pytest.raises(
            ArgumentError, match=r"must be a level of the index.*\['unique_id', 'ds'\]"
        ):
            read_panel(indexed, columns)
    with pytest.raises(DataError, match=r"'unique_id' as a column, and two levels.*reset_index"):
        read_panel(panel.assign(shop="x").set_index(["shop", "ds"]))


def test_a_frame_with_ids_in_the_index_is_not_taken_for_wide():
    sales = pd.DataFrame({"t": [1, 2, 3], "sales": 4.0}, index=pd.Index([7, 8, 9]))
    assert read_panel(sales).shape.kind == "wide"
    with pytest.raises(ArgumentError, match=r"Columns\(id=\.\.\.\).*use df\.reset_index"):
        read_panel(sales.rename_axis("unique_id"))


def test_every_entry_takes_levels_by_name(panel):
    columns = Columns(future="price")
    df = panel.assign(price=panel.y.round())
    train = df[df.groupby("unique_id").cumcount(ascending=False) >= 2]
    rest = df.drop(train.index)
    stacked = ["ds", "unique_id"]
    options = {"levels": (), "validation": 0, "seed": 0, "progress": False}
    forecaster = flat_forecaster(2, lookback=4, units=2, epochs=1, **options)
    forecaster.fit(train.set_index(stacked), columns=columns)
    future = forecaster.future_frame().assign(price=1.0)
    assert future.index.names == stacked
    forecast = forecaster.predict(future=future)
    swapped = forecaster.predict(future=future.swaplevel())
    pd.testing.assert_frame_equal(forecast, swapped)
    other = forecaster.predict(df=train.set_index(stacked), future=future)
    assert other.index.equals(forecast.index)
    updated = forecaster.update(rest.set_index(stacked)).future_frame()
    last = df.groupby("unique_id").ds.max()
    first = updated.reset_index().groupby("unique_id").ds.min()
    assert (first == last + pd.Timedelta("1D")).all()


def test_every_form_has_the_same_series(panel, wide):
    long = read_panel(panel)
    indexed = read_panel(panel.set_index(["unique_id", "ds"]))
    assert long.values.values.tolist() == indexed.values.values.tolist()
    other = read_panel(wide)
    for values, expected in zip(other.values, long.values, strict=True):
        assert values[~np.isnan(values)].tolist() == expected.tolist()


def test_a_frame_is_not_taken_for_wide_by_mistake(one):
    counted = pd.DataFrame({"day": np.arange(9), "sales": np.arange(9.0)})
    with pytest.raises(ArgumentError, match=r"Columns\(time=\.\.\.\) must be a column of df"):
        read_panel(counted, Columns(target="sales"))
    with pytest.raises(ArgumentError, match=r"use df\.reset_index"):
        read_panel(one.set_index("ds").assign(temperature=1.0))
    with pytest.raises(ArgumentError, match=r"df.reset_index\(names='day'\)"):
        read_panel(one.set_index("ds"), Columns(time="day"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda df: df.assign(d="text"),
            "Column 'd' of a wide frame must hold numbers.*Got: dtype .*reset_index",
        ),
        (lambda df: df.assign(d=np.nan), "Series 'd' must have a value. Got: none"),
        (lambda df: df.head(0), "df must have rows"),
        (lambda df: pd.concat([df, df], axis=1), "one column for each series"),
        (lambda df: df.drop(df.index[9]), "must have regular timestamps without gaps"),
        (lambda df: df.iloc[::-1], "must be in order of time"),
    ],
    ids=["text", "nothing", "empty", "twice", "gap", "order"],
)
def test_a_wide_frame_that_cannot_be_read_is_refused(wide, change, words):
    with pytest.raises(DataError, match=words):
        read_panel(change(wide.dropna()))


def test_a_series_without_timestamps_is_refused():
    with pytest.raises(DataError, match="index of a Series must hold timestamps"):
        read_panel(pd.Series([1.0, 2.0], index=["a", "b"]))


def test_covariates_of_a_wide_frame_are_refused_with_the_way_to_a_long_one(wide):
    with pytest.raises(ArgumentError, match=r"columns of a long frame.*melt\('ds'"):
        read_panel(wide.dropna(), Columns(past=["a"]))


def test_series_with_different_ends_are_forecast_at_their_own_timestamps(wide):
    _, panel = forecast_of(wide)
    later = panel.last + np.array([2, 0, 0]) * pd.Timedelta("1D")
    forecast = dataclasses.replace(panel, last=later).shaped_forecast(
        {"yhat": np.arange(6.0).reshape(3, 2)}
    )
    assert len(forecast) == 4
    names = forecast["yhat"].columns
    assert forecast["yhat"][names[0]].dropna().tolist() == [0, 1]
    assert forecast["yhat"][names[1]].dropna().index[0] == panel.last[1] + pd.Timedelta("1D")
    assert forecast["yhat"][names[0]].first_valid_index() == later[0] + pd.Timedelta("1D")


@pytest.fixture
def framed(panel):
    """Return a long polars frame with dates and with ids that are categories."""
    pl = pytest.importorskip("polars")
    frame = pl.from_pandas(panel.assign(sun=1.0 + panel.index % 3))
    return frame.with_columns(pl.col("ds").cast(pl.Date), pl.col("unique_id").cast(pl.Categorical))


def schema(df, *names):
    return [df.schema[name] for name in names]


def test_a_polars_frame_has_polars_forecasts(framed, panel, tmp_path):
    pl = pytest.importorskip("polars")
    pytest.importorskip("matplotlib")
    options = {"levels": (), "validation": 0, "seed": 0, "progress": False}
    quick = flat_forecaster(4, lookback=8, units=2, epochs=1, likelihood="gaussian", **options)
    kinds = schema(framed, "unique_id", "ds")
    first = framed.filter(pl.col("ds") < pl.col("ds").max().over("unique_id"))
    fitted = quick.fit(first, columns=Columns(future=["sun"]))
    future = fitted.future_frame().with_columns(sun=2.0)
    parts = components(fitted, future=future)
    outputs = [
        future,
        parts.frame,
        fitted.predict(future=future),
        fitted.predict(df=framed, future=fitted.future_frame(df=framed).with_columns(sun=2.0)),
        fitted.sample(2, future=future),
        insample(fitted, first),
    ]
    tested = backtest(fitted, framed, windows=2, columns=Columns(future=["sun"]))
    assert schema(tested.frame, "unique_id", "cutoff", "ds") == [*kinds, kinds[1]]
    for result in (tested, parts):
        assert len(result.plot(series=["a", "b"]).axes) >= 2
    held_out = evaluate_holdout(quick, framed, columns=Columns(future=["sun"]))
    for frame in (*outputs, tested.frame, held_out.forecast):
        assert isinstance(frame, pl.DataFrame)
        assert schema(frame, "unique_id", "ds") == kinds
    fitted.save(tmp_path / "f.zip")
    expected = outputs[2].to_pandas()
    loaded = Forecaster.load(tmp_path / "f.zip").predict(future=future)
    pd.testing.assert_frame_equal(loaded.to_pandas(), expected, rtol=1e-5)
    ours = copy.copy(fitted)
    read = read_panel(first.to_pandas(), Columns(future=["sun"])).tail(fitted.lookback_)
    ours.fitted_ = dataclasses.replace(fitted.fitted_, panel=read)
    as_pandas = ours.predict(future=future.to_pandas())
    pd.testing.assert_frame_equal(expected, as_pandas, check_dtype=False, check_categorical=False)
    newer = framed.join(first, on=["unique_id", "ds"], how="anti")
    assert fitted.update(newer).future_frame()["ds"].to_list()[0] > future["ds"].to_list()[0]


def test_timestamps_keep_their_zone_in_polars(panel):
    pl = pytest.importorskip("polars")
    timestamps = pl.col("ds").cast(pl.Datetime("ms", "Europe/Berlin"))
    df = pl.from_pandas(panel[panel.unique_id == "a"][["ds", "y"]]).with_columns(timestamps)
    forecast, _ = forecast_of(df)
    assert forecast.schema["ds"] == df.schema["ds"]
    assert forecast.columns == ["ds", "yhat", "yhat-lo-80"]


def test_enums_of_polars_stay_enums_and_decimals_are_read(panel):
    pl = pytest.importorskip("polars")
    enum = pl.Enum(["b", "a", "c", "unused"])
    df = pl.from_pandas(panel.assign(y=panel.y.round(2)))
    cast = df.with_columns(pl.col("unique_id").cast(enum), pl.col("y").cast(pl.Decimal(20, 2)))
    forecast, read = forecast_of(cast)
    assert forecast.schema["unique_id"] == enum
    assert forecast["unique_id"].to_list() == ["a", "a", "b", "b", "c", "c"]
    assert read.values.values.tolist() == read_panel(df).values.values.tolist()
    assert Shape.restore(read.shape.kind, list(read.shape.names)) == read.shape


@pytest.mark.parametrize("kind", ["lazy", "series"])
def test_polars_objects_other_than_frames_are_refused(panel, kind):
    pl = pytest.importorskip("polars")
    other = {"lazy": pl.DataFrame({"y": [1.0]}).lazy(), "series": pl.Series([1.0])}[kind]
    with pytest.raises(ArgumentError, match=r"collect|Pass df\.to_pandas\(\)"):
        forecast_of(other)

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting import Columns
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._reading import read_alike, read_panel
from seqkeras.windows import GroupedArray

COLUMNS = Columns(past=["wind"], future=["temperature", "weather"], static=["area", "kind", "open"])


@pytest.fixture
def shops(panel):
    """Return three series with covariates of every kind."""
    rows = np.arange(len(panel))
    number = panel.unique_id.map({"a": 0, "b": 1, "c": 2})
    return panel.assign(
        wind=rows % 7,
        temperature=rows / 10.0,
        weather=np.array(["sun", "rain", "snow"])[rows % 3],
        area=100.0 * number,
        kind=number.map({0: "small", 1: "big", 2: "big"}).astype("category"),
        open=number > 0,
    )


def test_covariates_are_encoded_row_for_row_with_the_targets(shops):
    panel = read_panel(shops, replace(COLUMNS, calendar=["day_of_week"]))
    first = shops[shops.unique_id == "a"]
    rows = panel.known.rows[0]
    assert rows[:, 0].tolist() == first.wind.tolist()
    assert rows[:, 1].tolist() == first.temperature.tolist()
    categories = panel.covariates.categories["weather"]
    assert categories == ("rain", "snow", "sun")
    expected = [[value == category for category in categories] for value in first.weather]
    assert rows[:, 2:5].tolist() == expected
    angle = 2 * np.pi * first.ds.dt.day_of_week / 7
    np.testing.assert_allclose(rows[:, 5:], np.stack([np.sin(angle), np.cos(angle)], axis=1))
    assert (panel.covariates.past_width, panel.covariates.future_width) == (1, 6)


def test_static_categories_are_codes_and_static_numbers_are_numbers(shops):
    panel = read_panel(shops, COLUMNS)
    assert panel.known.static.tolist() == [[0], [100], [200]]
    assert panel.covariates.categories["kind"] == ("big", "small")
    assert panel.covariates.categories["open"] == (False, True)
    assert panel.known.categories.tolist() == [[2, 1], [1, 2], [1, 2]]
    assert panel.covariates.sizes == (3, 3)


def test_categories_never_seen_are_0(shops):
    fitted = read_panel(shops, COLUMNS)
    new = shops[shops.unique_id == "b"].assign(unique_id="new", kind="huge", weather="hail")
    read = read_alike(new, fitted, missing="mask", fill="raise")
    assert read.known.categories.tolist() == [[0, 2]]
    assert read.known.rows.values[:, 2:].sum() == 0


@pytest.mark.parametrize("dtype", ["bool", "Int64", "float32", "boolean", "uint8"])
def test_numbers_of_any_dtype_are_one_feature(shops, dtype):
    shops["x"] = (shops.wind > 3).astype(dtype)
    panel = read_panel(shops, Columns(past="x"))
    assert panel.known.rows[1].ravel().tolist() == (shops.wind > 3)[shops.unique_id == "b"].tolist()


def set_value(column, value):
    """Return a change of the sixth row of series b, 2020-01-09."""

    def change(df):
        row = df.index[df.unique_id == "b"][5]
        return df.assign(**{column: df[column].astype(object).where(df.index != row, value)})

    return change


def set_number(column, value):
    return lambda df: set_value(column, value)(df).astype({column: float})


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (set_number("temperature", np.nan), ["Got: nan for series 'b' at 2020-01-09"]),
        (
            set_number("wind", np.inf),
            ["'wind' must have a finite value", "Got: inf", "1 such rows"],
        ),
        (set_value("weather", None), ["'weather' must have", "series 'b' at 2020-01-09"]),
        (
            set_number("area", 7.0),
            ["'area' must be static", "'7.0' after", "for series 'b' at 2020-01-09"],
        ),
        (lambda df: df.assign(kind=None), ["'kind' must have", "series 'a' at 2020-01-01"]),
        (lambda df: df.assign(wind=df.ds), ["'wind' must hold numbers", "datetime64"]),
        (lambda df: df.assign(weather=[(1,)] * len(df)), ["numbers, text or categories", "tuple"]),
        (
            lambda df: df.assign(weather=df.ds.astype(str)),
            ["different values", "at most 64 categories"],
        ),
    ],
    ids=["nan", "inf", "none", "changes", "no category", "timestamps", "tuples", "many"],
)
def test_the_error_of_a_covariate_names_its_series_and_timestamp(shops, change, texts):
    with pytest.raises(DataError) as caught:
        read_panel(change(shops), COLUMNS)
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("field", "name"), [("past", "wnd"), ("future", "temprature"), ("static", "kinds")]
)
def test_a_missing_covariate_is_named_with_its_argument(shops, field, name):
    with pytest.raises(ArgumentError, match=rf"Got: Columns\({field}='{name}'\).*Did you mean"):
        read_panel(shops, Columns(**{field: [name]}))


def test_a_column_of_another_kind_than_in_fit_is_refused(shops):
    fitted = read_panel(shops, COLUMNS)
    with pytest.raises(DataError, match=r"'temperature' must hold .* as in fit\."):
        read_alike(shops.assign(temperature="warm"), fitted, missing="mask", fill="raise")
    with pytest.raises(DataError, match="'ds' must hold timestamps as in fit"):
        read_alike(shops.assign(ds=shops.ds.dt.day), fitted, missing="mask", fill="raise")


def test_ten_thousand_series_are_read_at_once():
    """Reading is vectorized: a loop over series would take about ten times as long."""
    import time

    series, rows = 10_000, 60
    df = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(series), rows),
            "ds": np.tile(pd.date_range("2024-01-01", periods=rows, freq="h"), series),
            "y": np.arange(series * rows, dtype=float),
            "x": 1.0,
            "kind": np.repeat(np.array(["a", "b"] * (series // 2)), rows),
        }
    )
    start = time.process_time()
    columns = Columns(future=["x"], static=["kind"], calendar="auto")
    assert len(read_panel(df, columns).ids) == series
    gaps = df.drop(df.index[7::60])[["unique_id", "ds", "y"]]
    assert len(read_panel(gaps, Columns(fill="mask")).ids) == series
    assert time.process_time() - start < 3


def test_numbers_in_place_of_text_are_refused(shops):
    text = shops.assign(weather=np.where(shops.temperature > 1, "1", "0"))
    panel = read_panel(text, Columns(future=["weather"]))
    numbers = text.assign(weather=text.weather.astype(int))
    with pytest.raises(DataError, match=r"'weather' must hold categories such as '0'.*Got: 0"):
        read_alike(numbers, panel, missing="mask", fill="raise")


def test_covariates_are_translated_into_the_categories_of_another_fit():
    df = pd.DataFrame(
        {"number": [1.0, 2.0, 3.0], "letter": ["b", "a", "d"], "kind": ["y", "x", "z"]}
    )
    times = pd.date_range("2024-01-01", periods=3)
    calendar = ("holidays:DE", "day_of_week")
    whole = Covariates(("letter",), ("number",), ("kind",), calendar).learn(df)
    other = replace(whole, categories={"letter": ("b", "c", "d"), "kind": ("w", "x", "y")})

    def known(covariates):
        rows = covariates.rows(df, times, str, Calendar(str(times.dtype), "D"))
        return Known(GroupedArray(rows, [0, 1, 2, 3]), *covariates.of_series(df, str))

    recoded = whole.recode(known(whole), other)
    expected = known(other)
    np.testing.assert_array_equal(recoded.rows.values, expected.rows.values)
    np.testing.assert_array_equal(recoded.categories, expected.categories)
    assert recoded.categories.ravel().tolist() == [3, 2, 0]
    assert whole.recode(expected, whole) is expected

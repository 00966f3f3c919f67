import numpy as np
import pandas as pd
import pytest

from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting import Columns
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._reading import read_panel, split_last


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


@pytest.mark.parametrize(
    "dtype", ["int8", "uint16", "float32", "Int64", "Float64", "boolean", "bool"]
)
def test_every_kind_of_number_is_a_target(one, dtype):
    one["y"] = (one.y > one.y.mean()).astype(dtype)
    assert set(read_panel(one).values.values) == {0.0, 1.0}


def bad_frames():
    """Yield the name of a fault, the change that makes it, and texts of the error."""

    def set_value(row, column, value):
        def change(df):
            df[column] = df[column].astype(object) if isinstance(value, str) else df[column]
            df.loc[row, column] = value
            return df

        return change

    yield "empty", lambda df: df.iloc[:0], ["df must have rows"]
    yield "huge", set_value(7, "y", 1e200), ["Got: 1e+200", "below 1e+150"]
    yield (
        "nan",
        set_value(7, "y", np.nan),
        ["Got: nan for series", "row 7", "1 such rows", "finite"],
    )
    yield "infinite", set_value(7, "y", np.inf), ["Got: inf for series", "row 7"]
    yield "text", lambda df: df.assign(y=df.y.astype(str)), ["must hold numbers", "astype(float)"]
    yield "complex", lambda df: df.assign(y=df.y * 1j), ["must hold numbers", "complex128"]
    yield (
        "unsorted",
        lambda df: df.iloc[::-1],
        ["must be in order of time", "df.sort_values(['unique_id', 'ds'])"],
    )
    yield "twice", lambda df: pd.concat([df, df.tail(1)]), ["Series 'c'", "twice", "Drop or merge"]
    yield (
        "gap",
        lambda df: df.drop(df.index[(df.unique_id == "b")][5]),
        ["Series 'b'", "2020-01-10", "after 2020-01-08", "has 2020-01-09", "Columns(freq="],
    )
    yield (
        "no id",
        set_value(3, "unique_id", None),
        ["'unique_id' must have an id", "Got: none in row 3"],
    )
    yield (
        "no timestamp",
        set_value(3, "ds", pd.NaT),
        ["'ds' must have a timestamp", "Got: none in row 3"],
    )
    yield "text timestamps", lambda df: df.assign(ds=df.ds.astype(str)), ["pd.to_datetime"]


@pytest.mark.parametrize(
    ("change", "texts"),
    [(c, t) for _, c, t in bad_frames()],
    ids=[name for name, _, _ in bad_frames()],
)
def test_a_bad_frame_is_refused_with_the_place_and_the_fix(panel, change, texts):
    with pytest.raises(DataError) as caught:
        read_panel(change(panel), Columns(missing="raise"))
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ({"target": "sale"}, ["Columns(target='sale')", "Did you mean 'sales'?"]),
        (
            {"time": "zzz"},
            ["Columns(time='zzz')", "'unique_id', 'ds', 'sales'", "Columns(time=...)"],
        ),
        ({"id": "uniqueid"}, ["Columns(id='uniqueid')", "Did you mean 'unique_id'?"]),
    ],
)
def test_the_error_of_an_unknown_column_suggests_the_nearest(panel, arguments, texts):
    df = panel[["unique_id", "ds", "y"]].rename(columns={"y": "sales"})
    with pytest.raises(ArgumentError) as caught:
        read_panel(df, Columns(**{"target": "sales"} | arguments))
    for text in texts:
        assert text in str(caught.value)


def test_two_columns_with_the_same_name_are_refused(one):
    with pytest.raises(ArgumentError, match="the name of 2 columns"):
        read_panel(pd.concat([one, one[["y"]]], axis=1))


def test_other_objects_than_frames_are_refused():
    with pytest.raises(ArgumentError, match=r"df must be a pandas DataFrame or Series. Got: list"):
        read_panel([1, 2, 3])


def test_duplicates_without_ids_hint_at_the_id_column(panel):
    with pytest.raises(DataError, match=r"name the column of series ids: Columns\(id="):
        read_panel(panel.drop(columns="unique_id"))


def test_the_last_rows_of_each_series_are_split_off(panel):
    train, test = split_last(panel, 5, ColumnNames("unique_id", "ds", "y"))
    assert test.groupby("unique_id").size().tolist() == [5, 5, 5]
    assert (test.groupby("unique_id").ds.min() > train.groupby("unique_id").ds.max()).all()
    assert len(train) + len(test) == len(panel)


def test_the_error_of_a_column_in_the_index_suggests_reset_index(panel):
    with pytest.raises(ArgumentError, match=r"It is in the index: use df.reset_index\(\)"):
        read_panel(panel.set_index("ds"))
    with pytest.raises(ArgumentError, match=r"df.reset_index\(names='day'\)"):
        read_panel(panel.set_index("ds").drop(columns="unique_id"), Columns(time="day"))


@pytest.mark.parametrize("columns", [None, Columns(id="unique_id"), Columns(id="shop")])
def test_ids_that_are_in_the_index_alone_are_an_error(one, columns):
    name = columns.id if columns is not None and columns.id else "unique_id"
    halves = one.assign(**{name: ["p"] * 45 + ["q"] * 45}).set_index(name)
    with pytest.raises(ArgumentError, match=rf"{name}'.*It is in the index: use df\.reset_index"):
        read_panel(halves, columns)
    assert len(read_panel(halves.reset_index(), columns).ids) == 2


@pytest.mark.parametrize("name", ["unique_id", "shop"])
def test_ids_that_are_named_and_not_there_are_an_error(one, name):
    with pytest.raises(ArgumentError, match=rf"Got: Columns\(id='{name}'\)"):
        read_panel(one, Columns(id=name))
    assert read_panel(one).columns.id is None


def test_an_index_may_be_called_like_a_column_of_the_frame(panel):
    expected = read_panel(panel)
    names = ColumnNames("unique_id", "ds", "y")
    for index in ("unique_id", "ds", "y", ["unique_id", "ds"], ["ds", "y"]):
        indexed = panel.set_index(index, drop=False)
        assert read_panel(indexed).values.values.tolist() == expected.values.values.tolist()
        train, test = split_last(indexed, 5, names)
        assert test.y.tolist() == split_last(panel, 5, names)[1].y.tolist()
        assert len(train) == len(panel) - 15


DATES = [
    ("%Y%m%d", "D"),
    ("%Y%m", "MS"),
    ("%Y%m%d%H", "h"),
    ("%Y%m%d%H%M", "15min"),
    ("%Y%m%d%H%M%S", "s"),
]


@pytest.mark.parametrize(("form", "freq"), DATES)
@pytest.mark.parametrize("fill", ["raise", "mask"])
@pytest.mark.parametrize("rows", [2, 400])
def test_integers_that_are_dates_are_refused(form, freq, fill, rows):
    times = pd.date_range("2023-01-01", periods=rows, freq=freq)
    df = pd.DataFrame({"ds": times.strftime(form).astype("int64"), "y": np.arange(float(rows))})
    match = rf"look like dates.*pd\.to_datetime\(df\['ds'\]\.astype\(str\), format='{form}'\)"
    with pytest.raises(DataError, match=match):
        read_panel(df, Columns(fill=fill))
    with pytest.raises(
        DataError, match=rf"pd\.to_datetime\(df\.index\.astype\(str\), format='{form}'\)"
    ):
        read_panel(df.set_index("ds")["y"], Columns(fill=fill))
    df["ds"] = pd.to_datetime(df["ds"].astype(str), format=form)
    assert read_panel(df, Columns(freq=freq)).last[0] == times[-1]


@pytest.mark.parametrize(
    "times",
    [
        np.arange(1950, 2020),
        np.arange(202301, 202330),
        np.arange(20230101, 20230140),
        20230101 + 7 * np.arange(30),
        np.arange(0, 300000, 3000),
        1_704_067_200 + 3600 * np.arange(50),
        -np.arange(40)[::-1],
    ],
    ids=["years", "months to 29", "days to 39", "sevens", "from 0", "seconds", "before 0"],
)
def test_integers_that_count_are_read(times):
    df = pd.DataFrame({"ds": times, "y": np.arange(float(len(times)))})
    assert read_panel(df).calendar.step == times[1] - times[0]


def test_integers_like_dates_count_if_their_difference_is_given():
    df = pd.DataFrame({"ds": np.arange(20230101, 20230111), "y": np.arange(10.0)})
    assert read_panel(df, Columns(freq=1)).last[0] == 20230110


def test_rows_are_read_by_position_and_not_by_index(panel):
    repeated = panel.set_index(pd.Index([0] * len(panel)))
    expected = read_panel(panel).values.values
    assert read_panel(repeated).values.values.tolist() == expected.tolist()


def test_a_time_zone_without_a_name_is_refused(panel):
    panel["ds"] = panel.ds.dt.tz_localize("dateutil/Europe/Berlin")
    with pytest.raises(
        DataError, match=r"must have a time zone with a name\. Got: .*\. Convert it"
    ):
        read_panel(panel)

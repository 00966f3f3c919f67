import pandas as pd
import pytest

from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting import Columns
from seqkeras.forecasting.frames._columns import ColumnNames


def test_the_default_columns_need_no_arguments():
    columns = Columns()
    assert columns.names == ColumnNames("unique_id", "ds", "y")
    assert columns.id is None
    assert columns.covariates == ()
    assert (columns.missing, columns.fill, columns.short_series) == ("mask", "raise", "pad")


def test_a_name_and_a_list_of_names_become_a_tuple():
    columns = Columns(past="wind", future=["sun", "rain"], static=pd.Index(["kind"]))
    assert columns.covariates == ("wind", "sun", "rain", "kind")
    assert columns == Columns(past=("wind",), future=("sun", "rain"), static=["kind"])
    assert hash(Columns(calendar=["month"])) == hash(Columns(calendar=("month",)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"past": 7}, r"Columns\(past=\.\.\.\) must be a list of column names\. Got: 7"),
        ({"static": [1]}, r"Columns\(static=\.\.\.\) must be a list of column names\. Got: \[1\]"),
        ({"missing": "drop"}, r"Columns\(missing=\.\.\.\) must be one of 'mask', 'raise'"),
        ({"fill": "interpolat"}, "Did you mean 'interpolate'"),
        ({"short_series": None}, "one of 'pad', 'raise', 'skip'. Got: None"),
        ({"target": "ds"}, r"must be different columns\. Got: \['unique_id', 'ds', 'ds'\]"),
        ({"past": ["wind"], "static": ["wind"]}, r"must be different columns.*Got: \['wind'\]"),
        ({"past": ["y"]}, r"must be different columns.*Got: \['y'\]"),
        ({"past": ["wind", "wind"]}, r"must be different columns.*Got: \['wind'\]"),
        (
            {"time": "yhat-lo-80"},
            r"Columns\(time=\.\.\.\) must be a name other than actual or yhat",
        ),
        ({"id": "actual"}, r"Columns\(id=\.\.\.\) must be a name other than actual or yhat"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Columns(**arguments)


def test_the_target_may_have_the_name_of_a_forecast():
    assert Columns(target="yhat").target == "yhat"


def test_names_are_checked_against_a_frame(one):
    assert Columns().names.within(one) == ColumnNames(None, "ds", "y")
    shops = one.assign(shop=1)
    assert Columns(id="shop").names.within(shops).id == "shop"
    with pytest.raises(ArgumentError, match=r"Columns\(id=\.\.\.\) must be a column of df"):
        Columns(id="shop").names.within(one)
    with pytest.raises(ArgumentError, match=r"Got: Columns\(id='unique_id'\)"):
        Columns(id="unique_id").names.within(one, needs_id=True)
    with pytest.raises(DataError, match="df must have rows"):
        Columns().names.within(one.head(0))


def test_messages_name_a_series_by_its_id(one):
    names = ColumnNames("shop", "ds", "y")
    assert (names.name(7), names.label("a")) == ("Series 7", "series 'a'")
    single = ColumnNames(None, "ds", "y")
    assert (single.name(0), single.label(0)) == ("The series", "the series")
    assert single.with_id.id == "unique_id"

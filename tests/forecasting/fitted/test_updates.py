import copy
import functools
import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError, DataError, NotFittedError
from seqkeras.forecasting import insample
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.scoring import mae

quick = functools.partial(
    flat_forecaster, lookback=10, units=3, epochs=1, seed=0, validation=0, levels=(), progress=False
)


def frame():
    random = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range(start, periods=rows, freq="D"),
                "y": size * random.normal(size=rows).cumsum(),
            }
        )
        for name, start, rows, size in [
            ("a", "2024-01-01", 40, 1),
            ("b", "2024-01-05", 50, 10),
            ("c", "2024-02-01", 45, 3),
        ]
    ]
    return pd.concat(parts).sort_values("ds", kind="stable").reset_index(drop=True)


DF = frame()


@functools.cache
def fitted():
    return quick(4).fit(DF)


def behind(rows):
    """The fitted forecaster as it was that many rows of each series ago."""
    from_end = DF.groupby("unique_id").cumcount(ascending=False).to_numpy()
    other = copy.copy(fitted())
    earlier = read_panel(DF[from_end >= rows]).tail(fitted().lookback_)
    other.fitted_ = replace(fitted().fitted_, panel=earlier)
    return other, DF[from_end < rows]


@functools.cache
def twelve_behind():
    return behind(12)


@examples(4)
@given(st.lists(st.integers(0, 12), max_size=3), st.booleans())
def test_an_updated_forecaster_says_what_one_with_that_history_says(cuts, shuffled):
    other, rows = twelve_behind()
    updated = copy.copy(other)
    place = rows.groupby("unique_id").cumcount()
    bounds = sorted({0, 12, *cuts})
    for first, last in itertools.pairwise(bounds):
        part = rows[(place >= first) & (place < last)]
        updated.update(part.sort_values(["unique_id", "ds"], ascending=[not shuffled, True]))
    pd.testing.assert_frame_equal(updated.predict(), fitted().predict(), rtol=1e-5)


def test_series_without_new_rows_stay_where_they_are():
    other, rows = twelve_behind()
    updated = copy.copy(other)
    before = updated.predict()
    after = updated.update(rows[rows.unique_id == "b"]).predict()
    stayed = before.unique_id != "b"
    pd.testing.assert_frame_equal(after[stayed], before[stayed], rtol=1e-5)
    last = rows[rows.unique_id == "b"].ds.max()
    assert after[after.unique_id == "b"].ds.min() == last + pd.Timedelta(days=1)


def test_one_row_of_one_series_without_ids_is_enough_and_with_them_refused():
    one = DF[DF.unique_id == "b"].drop(columns="unique_id")
    updated = quick(4).fit(one.iloc[:-1])
    with pytest.raises(DataError, match="must be one series without ids, as in fit"):
        updated.update(new_rows().head(1))
    updated.update(one.iloc[-1:])
    assert updated.predict().ds.min() == one.ds.max() + pd.Timedelta(days=1)
    assert updated.panel_.values.values.tolist() == one.y.tolist()[-10:]


def new_rows(**columns):
    last = DF.groupby("unique_id", as_index=False).ds.max()
    return last.assign(ds=last.ds + pd.Timedelta(days=1), y=1.0).assign(**columns)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (DF, r"Series 'a' must continue at 2024-02-10 00:00:00, after .*Got: 2024-01-01.*3 of 3"),
        (new_rows(ds=pd.Timestamp("2030-01-01")), "must continue at"),
        (
            new_rows(unique_id="new").head(1),
            "only series that were fitted .3 in all.* 'new' .1 unknown",
        ),
        (new_rows(unique_id=[1, 2, 3]), "series 1 .3 unknown ids"),
        (new_rows(y=np.nan), "finite number.* fit on a history in which some targets are NaN"),
        (new_rows().head(0), "df must have rows"),
        (
            new_rows().drop(columns="unique_id").head(1),
            "must have its ids in the column 'uniq",
        ),
        (new_rows(ds=[1, 2, 3]), "stamps as in fit.*int64; fit had datetime64"),
        (new_rows(ds=new_rows().ds.dt.tz_localize("UTC")), "stamps as in fit.*UTC"),
        (new_rows(ds="2024-02-10"), "must hold timestamps, periods or integers"),
        (pd.concat([new_rows()] * 2), "2024-02-10 00:00:00 twice"),
    ],
    ids=[
        "seen rows",
        "a gap",
        "unknown id",
        "ids of another kind",
        "missing",
        "empty",
        "no ids",
        "integers",
        "time zone",
        "text",
        "twice",
    ],
)
def test_rows_that_do_not_go_on_are_refused_and_nothing_changes(rows, words):
    before = fitted().panel_
    with pytest.raises(DataError, match=words):
        fitted().update(rows)
    assert fitted().panel_ is before


def test_a_missing_column_is_named():
    with pytest.raises(ArgumentError, match=r"Columns\(target=\.\.\.\) must be a column"):
        fitted().update(new_rows().drop(columns="y"))
    with pytest.raises(ArgumentError, match="df must be a pandas DataFrame"):
        fitted().update([1.0, 2.0])


@pytest.mark.parametrize("rows", [1, 4, 9, 12])
def test_the_score_is_the_error_of_forecasts_that_follow_each_other(rows):
    other, new = twelve_behind()
    new = new[new.groupby("unique_id").cumcount() < rows]
    walking = copy.copy(other)
    guesses = []
    for first in range(0, rows, 4):
        guesses.append(walking.predict())
        part = new[new.groupby("unique_id").cumcount().between(first, first + 3)]
        walking.update(part)
    told = new.merge(pd.concat(guesses), on=["unique_id", "ds"])
    expected = -np.mean([mae(one.y, one.yhat) for _, one in told.groupby("unique_id")])
    assert other.score(new) == pytest.approx(expected, rel=1e-5)
    assert other.score(new[new.unique_id == "b"]) == pytest.approx(
        -mae(*told[told.unique_id == "b"][["y", "yhat"]].to_numpy().T), rel=1e-5
    )


def test_what_needs_a_fit_says_so():
    unfitted = quick(4)
    for ask in (
        unfitted.update,
        unfitted.score,
        functools.partial(insample, unfitted),
        unfitted.encode,
    ):
        with pytest.raises(NotFittedError, match=r"Call fit\(df\) first"):
            ask(DF)

"""Intervals that follow the series: in `update`, in a backtest, in a file."""

import copy
import functools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns, Forecaster, backtest

ROWS, HORIZON = 100, 3
quick = functools.partial(
    flat_forecaster,
    HORIZON,
    lookback=8,
    season_length=1,
    units=2,
    epochs=1,
    levels=(50, 80),
    seed=0,
    progress=False,
)


def frame(rows=ROWS + 30, *, gaps=()):
    """Two series whose noise grows tenfold behind the rows of the fit."""
    parts = []
    for seed, name in enumerate(["a", "b"]):
        noise = np.random.default_rng(seed).normal(size=rows)
        noise[ROWS:] *= 10
        noise[list(gaps)] = np.nan
        days = pd.date_range("2024-01-01", periods=rows, freq="D")
        price = np.arange(rows) % 5
        parts.append(pd.DataFrame({"unique_id": name, "ds": days, "y": noise, "price": price}))
    return pd.concat(parts, ignore_index=True)


def rows(df, first, last):
    place = df.groupby("unique_id").cumcount()
    return df[(place >= first) & (place < last)]


@functools.cache
def fitted(name):
    columns = Columns(future=["price"] if name == "gaps, future" else ())
    df = frame(gaps=[5, 90, 103, 104, 105, 110] if name == "gaps, future" else ())
    likelihood = "quantiles" if name == "likelihood" else None
    forecaster = quick(likelihood=likelihood).fit(rows(df, 0, ROWS), columns=columns)
    return forecaster, df, columns


def copy_of(forecaster):
    return copy.copy(forecaster)


def forecast(forecaster, df):
    if not forecaster.panel_.covariates.future:
        return forecaster.predict()
    keys = forecaster.future_frame()
    return forecaster.predict(future=keys.merge(df[["unique_id", "ds", "price"]]))


@pytest.mark.parametrize("name", ["plain", "gaps, future", "likelihood"])
@examples(2)
@given(cuts=st.lists(st.integers(ROWS, ROWS + 25), max_size=4))
def test_it_does_not_matter_in_how_many_parts_rows_come(name, cuts):
    known, df, _ = fitted(name)
    whole = copy_of(known).update(rows(df, ROWS, ROWS + 25))
    parts = copy_of(known)
    for first, last in zip([ROWS, *sorted(cuts)], [*sorted(cuts), ROWS + 25], strict=True):
        if last > first:
            parts.update(rows(df, first, last))
    pd.testing.assert_frame_equal(forecast(parts, df), forecast(whole, df), rtol=1e-4)
    np.testing.assert_array_equal(parts.intervals_.waiting, whole.intervals_.waiting)
    assert not np.allclose(whole.intervals_.factor, 1)


def test_a_backtest_follows_what_came_before_each_origin_and_nothing_later():
    known, df, columns = fitted("gaps, future")
    found = backtest(quick(), rows(df, 0, ROWS + 13), windows=11, step=1, columns=columns).frame
    for cut in (ROWS, ROWS + 2, ROWS + 3, ROWS + 10):
        there = copy_of(known)
        if cut > ROWS:
            there.update(rows(df, ROWS, cut))
        last = rows(df, cut - 1, cut).ds.iloc[0]
        expected = forecast(there, df)
        names = expected.columns[2:]
        np.testing.assert_allclose(
            found[found.cutoff == last][names], expected[names], rtol=1e-4, atol=1e-5
        )


def test_where_a_series_becomes_wilder_adaptive_intervals_keep_their_promise():
    df = frame(rows=ROWS + 90)
    inside = {}
    for method in ("adaptive", "split"):
        found = backtest(quick(method=method), df, windows=30).frame
        late = found[found.groupby("unique_id").cumcount() >= 30]
        between = late.y.between(late["yhat-lo-80"], late["yhat-hi-80"])
        inside[method] = between.mean()
    assert inside["split"] < 0.4
    assert 0.7 < inside["adaptive"] < 0.9


def test_a_file_keeps_the_width_of_each_series_and_goes_on_with_it(tmp_path):
    known, df, _ = fitted("plain")
    known = copy_of(known).update(rows(df, ROWS, ROWS + 7))
    known.save(tmp_path / "one.zip")
    loaded = Forecaster.load(tmp_path / "one.zip")
    pd.testing.assert_frame_equal(loaded.predict(), known.predict())
    for one in (loaded, known):
        one.update(rows(df, ROWS + 7, ROWS + 20))
    pd.testing.assert_frame_equal(loaded.predict(), known.predict())
    assert loaded.lookback_ == 8
    assert loaded.panel_.values.lengths.tolist() == [11, 11]


def test_it_is_the_fit_that_says_whether_intervals_follow_the_series(tmp_path):
    known, df, _ = fitted("plain")
    known = copy_of(known).update(rows(df, ROWS, ROWS + 2))
    other = copy_of(known).set_params(intervals__method="split")
    for one in (known, other):
        one.update(rows(df, ROWS + 2, ROWS + 7))
    other.save(tmp_path / "one.zip")
    loaded = Forecaster.load(tmp_path / "one.zip")
    stepper = loaded.stepper()
    for one in (known, other, loaded):
        one.update(rows(df, ROWS + 7, ROWS + 9))
        np.testing.assert_array_equal(one.intervals_.factor, known.intervals_.factor)
    for row in (7, 8):
        stepper.update(rows(df, ROWS + row, ROWS + row + 1).set_index("unique_id").y.to_dict())
    np.testing.assert_allclose(stepper.state()[3], known.intervals_.factor)
    assert loaded.intervals.method == "split"


def test_other_rows_of_a_known_series_have_its_width_and_new_series_that_of_all():
    known, df, _ = fitted("plain")
    known = copy_of(known).update(rows(df, ROWS, ROWS + 9))
    other = rows(df, 0, 40).replace({"unique_id": {"b": "new"}})
    found = known.predict(df=other).set_index("unique_id")
    width = (found["yhat-hi-80"] - found["yhat"]).groupby("unique_id").sum()
    scale = rows(df, 0, 40).groupby("unique_id").y.std(ddof=0)
    radius = known.intervals_.radius[1].sum()
    assert width["new"] == pytest.approx(radius * scale["b"], rel=1e-4)
    assert width["a"] == pytest.approx(
        radius * scale["a"] * known.intervals_.factor[0, 1], rel=1e-4
    )


def test_the_series_without_an_id_is_not_one_that_is_called_0():
    df = rows(frame(), 0, ROWS)
    one = df[df.unique_id == "a"].drop(columns="unique_id")
    known = quick().fit(one)
    known.intervals_.factor[:] = 3
    found = [known.predict(df=df) for df in (one, one.assign(unique_id=0))]
    own, other = (df["yhat-hi-80"] - df["yhat"] for df in found)
    np.testing.assert_allclose(own, 3 * other, rtol=1e-4)


def test_intervals_of_each_series_stay_as_they_are():
    """Those by "split" do so in `test_saving.py`, in a file of the second version."""
    df = frame()
    known = quick(method="per_series").fit(rows(df, 0, ROWS))
    before = known.intervals_.factor.copy()
    known.update(rows(df, ROWS, ROWS + 20))
    np.testing.assert_array_equal(known.intervals_.factor, before)
    assert known.panel_.values.lengths.tolist() == [8, 8]
    assert (before[0] != before[1]).all()


def test_kinds_of_intervals_that_there_are_not():
    with pytest.raises(ArgumentError, match="method must be one of"):
        quick(method="narrow").fit(frame())

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError, NotFittedError
from seqkeras.forecasting import Columns, Forecaster, components
from seqkeras.windows import GroupedArray

BARE = {
    **{"lookback": 8, "units": 2, "epochs": 1, "levels": (), "validation": 0},
    **{"seed": 0, "progress": False},
}


def shops(rows=40):
    random = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {
                "shop": shop,
                "ds": pd.date_range("2024-01-01", periods=rows),
                "y": 100 * size + random.normal(size=rows),
                "load": random.normal(50, 10, size=rows),
                "price": random.normal(5, 2, size=rows),
                "promo": random.choice(["no", "yes"], size=rows),
                "kind": shop[0],
                "size": size,
            }
        )
        for shop, size in [("east", 1.0), ("west", 2.0)]
    ]
    return pd.concat(frames)


@pytest.fixture(scope="module")
def case():
    """A fitted forecaster of everything, its history, and what is known of the horizon."""
    df = shops()
    known = df.groupby("shop").tail(3)
    fitted = flat_forecaster(3, **BARE, season_length=7).fit(
        df[df.groupby("shop").cumcount(ascending=False) >= 3],
        columns=Columns(
            id="shop",
            past=["load"],
            future=["price", "promo"],
            static=["kind", "size"],
            calendar=["day_of_week"],
        ),
    )
    random = np.random.default_rng(0)
    # Of one epoch, much is 0 still.
    weights = [random.normal(0, 0.3, one.shape) for one in fitted.model_.get_weights()]
    fitted.model_.set_weights(weights)
    return fitted, known


def test_the_components_add_up_to_the_forecast(case):
    fitted, known = case
    frame = components(fitted, future=known).frame
    assert frame.columns.tolist() == [
        "shop",
        "ds",
        "yhat",
        "seasonal naive",
        "network",
        "load",
        "price",
        "promo",
        "kind",
        "size",
        "calendar_day_of_week",
    ]
    np.testing.assert_allclose(frame.iloc[:, 3:].sum(axis=1), frame.yhat, rtol=1e-12)
    expected = fitted.predict(future=known)
    pd.testing.assert_frame_equal(frame.iloc[:, :3], expected, rtol=1e-5)
    assert (frame.iloc[:, 3:].abs() > 1e-6).any().all()


def test_the_season_is_that_of_the_history(case):
    fitted, known = case
    frame = components(fitted, future=known).frame
    history = shops().groupby("shop").nth(range(30, 33))
    np.testing.assert_allclose(frame["seasonal naive"], history.y, rtol=1e-6)


def test_a_covariate_at_its_mean_adds_nothing_and_others_what_they_change(case):
    fitted, known = case
    mean = fitted.inputs_.scaler.rows.center[0, 1]
    columns = fitted.panel_.known.rows.values.copy()
    columns[:, 1] = mean
    rows = GroupedArray(columns, fitted.panel_.known.rows.indptr)
    other = copy.copy(fitted)
    panel = replace(fitted.panel_, known=replace(fitted.panel_.known, rows=rows))
    other.fitted_ = replace(fitted.fitted_, panel=panel)
    plain = known.assign(price=mean)
    frame = components(other, future=plain).frame
    np.testing.assert_allclose(frame.price, 0, atol=1e-4)
    dear = components(other, future=known).frame
    assert (dear.price.abs() > 1e-3).any()
    for before_it in ("seasonal naive", "network", "load"):
        np.testing.assert_allclose(dear[before_it], frame[before_it], atol=1e-4)


def test_a_network_that_is_fed_its_answers_has_components():
    df = shops()[["shop", "ds", "y", "price"]].rename(columns={"shop": "unique_id"})
    df.loc[[5, 11], "y"] = np.nan
    fitted = flat_forecaster(3, architecture="recursive", likelihood="gaussian", **BARE).fit(
        df, columns=Columns(future=["price"])
    )
    future = fitted.future_frame().assign(price=9.0)
    frame = components(fitted, future=future).frame
    np.testing.assert_allclose(frame.iloc[:, 3:].sum(axis=1), frame.yhat, rtol=1e-12)
    np.testing.assert_allclose(frame.yhat, fitted.predict(future=future).yhat, rtol=1e-5)


def test_a_network_of_ones_own_has_components_of_other_rows_too():
    df = shops().query("shop == 'east'")[["ds", "y"]]

    options = {name: option for name, option in BARE.items() if name != "units"}
    fitted = flat_forecaster(3, architecture=dense, season_length=7, **options).fit(df)
    frame = components(fitted, df=df.head(20), horizon=2).frame
    assert frame.columns.tolist() == ["ds", "yhat", "seasonal naive", "network"]
    assert str(frame.ds[0].date()) == "2024-01-21"
    np.testing.assert_allclose(frame["seasonal naive"] + frame.network, frame.yhat, rtol=1e-12)
    np.testing.assert_allclose(frame["seasonal naive"], df.y.iloc[13:15], rtol=1e-6)


def test_a_covariate_of_the_name_of_a_component_is_refused():
    df = shops().query("shop == 'east'").rename(columns={"load": "network"})[["ds", "y", "network"]]
    fitted = flat_forecaster(3, **BARE).fit(df, columns=Columns(past=["network"]))
    with pytest.raises(ArgumentError, match=r"no other column has\. Got: covariates='network'"):
        components(fitted)
    with pytest.raises(NotFittedError):
        components(Forecaster(3))

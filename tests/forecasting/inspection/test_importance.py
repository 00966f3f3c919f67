import copy
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from helpers.models import training_eagerly
from seqkeras.errors import ArgumentError, DataError, NotFittedError
from seqkeras.forecasting import Columns, Forecaster, insample, permutation_importance
from seqkeras.forecasting.networks._features import covariate_columns, target_columns

COLUMNS = Columns(
    past=["load"], future=["price", "promo"], static=["kind", "size"], calendar=["day_of_week"]
)
LOOKBACK, HORIZON = 8, 3


def shops(rows=60, count=3):
    """Everything that a frame can hold, all of it noise."""
    random = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {
                "unique_id": f"shop {shop}",
                "ds": pd.date_range("2024-01-01", periods=rows),
                "y": random.normal(size=rows),
                "load": random.normal(size=rows),
                "price": random.normal(size=rows),
                "promo": random.choice(["no", "small", "large"], size=rows),
                "kind": ["a", "b"][shop % 2],
                "size": 1.0 + shop,
            }
        )
        for shop in range(count)
    ]
    return pd.concat(frames)


def fit(df, architecture="multi_output", units=2, **columns):
    forecaster = flat_forecaster(
        HORIZON,
        architecture=architecture,
        units=units,
        **{"lookback": LOOKBACK, "epochs": 1, "validation": 0, "levels": ()},
        seed=0,
        progress=False,
    )
    return forecaster.fit(df, **columns)


@pytest.fixture(scope="module")
def fitted():
    with training_eagerly(False):  # many forecasts are made with it
        return fit(shops(), columns=COLUMNS)


def reads_only(fitted, pick):
    """A forecaster whose network reads nothing but what `pick` takes."""
    inputs = {
        name: keras.Input(one.shape[1:], dtype=one.dtype, name=name)
        for name, one in fitted.model_.input.items()
    }
    answer = keras.layers.RepeatVector(HORIZON)(pick(inputs))[:, :, 0]
    other = copy.copy(fitted)
    other.fitted_ = replace(fitted.fitted_, model=keras.Model(inputs, answer))
    return other


PICKS = {
    "y": lambda x: x["inputs"][:, -1, 0:1],
    "load": lambda x: x["inputs"][:, -3, 1:2],
    "price": lambda x: x["inputs"][:, -1, 2:3] + x["future"][:, 0, 0:1],
    "promo": lambda x: x["future"][:, -1, 1:4],
    "kind": lambda x: keras.ops.cast(x["categories"][:, 0:1], "float32"),
    "size": lambda x: x["static"][:, 0:1],
    "calendar_day_of_week": lambda x: x["future"][:, 1, 4:6],
}


@pytest.mark.parametrize("name", PICKS)
def test_the_only_feature_that_is_read_is_found(fitted, name):
    found = permutation_importance(reads_only(fitted, PICKS[name]), shops(), windows=60, repeats=2)
    frame = found.frame
    assert frame.feature.unique().tolist() == [
        "y",
        "load",
        "price",
        "promo",
        "kind",
        "size",
        "calendar_day_of_week",
    ]
    moved = frame[(frame.importance != 0) | (frame.spread != 0)]
    assert moved.feature.unique().tolist() == [name]


@pytest.mark.parametrize(
    ("lag", "parts", "found"), [(2, 8, "2"), (2, 100, "2"), (5, 3, "4-6"), (8, 1, "1-8")]
)
def test_the_only_lag_that_is_read_is_found(fitted, lag, parts, found):
    other = reads_only(fitted, lambda x: x["inputs"][:, -lag, 0:1])
    frame = permutation_importance(other, shops(), lags=parts, windows=60, repeats=2).frame
    by_lag = frame[frame.lag != "all"]
    assert by_lag.lag[by_lag.importance != 0].tolist() == [found]
    assert len(by_lag) == min(parts, LOOKBACK)


@pytest.mark.usefixtures("compiled")
def test_what_was_learned_from_a_covariate_is_important():
    """The target follows the price of its own day; its own past says nothing."""
    df = shops(rows=150, count=2).assign(y=lambda df: 3 * df.price + df.y / 10)
    forecaster = flat_forecaster(
        2,
        **{
            "lookback": 4,
            "architecture": dense,
            "epochs": 6,
            "validation": 0,
            "levels": (),
            "batch_size": 32,
            "learning_rate": 0.05,
        },
        seed=0,
        progress=False,
    )
    fitted = forecaster.fit(df, columns=Columns(past=["load"], future=["price"]))
    found = permutation_importance(fitted, df, repeats=3)
    frame = found.frame.set_index(["feature", "lag"]).importance
    assert frame["price", "all"] > 3 * abs(frame["load", "all"])
    assert frame["price", "all"] > found.error


def test_the_seed_says_what_is_drawn_and_nothing_of_the_forecaster_changes(fitted):
    df = shops()
    before = fitted.encode()
    first = permutation_importance(fitted, df, windows=30)
    pd.testing.assert_frame_equal(permutation_importance(fitted, df, windows=30).frame, first.frame)
    assert not permutation_importance(fitted, df, windows=30, seed=1).frame.equals(first.frame)
    pd.testing.assert_frame_equal(fitted.encode(), before)
    assert (first.frame.spread >= 0).all()


def test_networks_that_are_fed_their_answers_are_explained():
    df = shops(rows=30, count=1)[["ds", "y", "price"]]
    df.loc[[5, 11], "y"] = np.nan
    forecaster = flat_forecaster(
        3,
        architecture="recursive",
        likelihood="gaussian",
        **{"lookback": 5, "units": 2, "epochs": 1, "levels": (), "validation": 0},
        seed=0,
        progress=False,
    )
    with training_eagerly():
        fitted = forecaster.fit(df, columns=Columns(future=["price"]))
        found = permutation_importance(fitted, df, windows=5, repeats=1)
    assert found.frame.feature.unique().tolist() == ["y", "price"]
    assert found.frame.importance.notna().all()
    assert found.frame.spread.isna().all()  # of one repeat
    assert found.error > 0


def test_the_error_is_that_of_the_forecasts():
    df = shops(count=2)[["unique_id", "ds", "y"]].assign(y=lambda df: df.y * 1000 + 7)
    fitted = fit(df, dense, None)
    frame = insample(fitted, df, step=1)
    deviations = df.groupby("unique_id").y.std(ddof=0)
    errors = (frame.y - frame.yhat).abs() / frame.unique_id.map(deviations)
    assert permutation_importance(fitted, df).error == pytest.approx(errors.mean(), rel=1e-5)
    with pytest.raises(DataError, match=r"must hold two windows with targets\. Got: 1\."):
        permutation_importance(fitted, df[df.unique_id == "shop 1"].tail(LOOKBACK + HORIZON))
    with pytest.raises(DataError, match=r"must have 11 rows \(lookback 8 \+ horizon 3\)\. Got: 10"):
        permutation_importance(fitted, df.tail(10))


def test_parts_stand_side_by_side(fitted):
    """Whatever a feature of the calendar is wide: holidays are one number."""
    known = replace(fitted.panel_.covariates, calendar=("holidays:DE", "day_of_week"))
    panel = replace(fitted.panel_, covariates=known)
    parts = [target_columns(panel, masked=True), *covariate_columns(panel, masked=True)]
    assert [part.name for part in parts[-2:]] == ["calendar_holidays:DE", "calendar_day_of_week"]
    for name, width in [("inputs", 10), ("future", 7), ("static", 1), ("categories", 1)]:
        places = [part.columns[name] for part in parts if name in part.columns]
        columns = [number for place in places for number in range(width)[place]]
        assert sorted(columns) == list(range(width))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lags": 0}, "lags must be an integer >= 1"),
        ({"windows": 1}, "windows must be an integer >= 2"),
        ({"repeats": 2.5}, "repeats must be an integer >= 1"),
        ({"seed": -1}, "seed must be an integer >= 0"),
    ],
)
def test_what_cannot_work_is_refused(fitted, options, message):
    with pytest.raises(ArgumentError, match=message):
        permutation_importance(fitted, shops(), **options)
    with pytest.raises(NotFittedError):
        permutation_importance(Forecaster(2), shops())

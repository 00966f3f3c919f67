"""Ensembles of networks."""

import functools

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from helpers.examples import long_run_only
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns, Forecaster
from seqkeras.forecasting.networks._ensemble import mixed_with
from seqkeras.forecasting.networks._linear_expert import LinearExpert
from seqkeras.models._window import NetworkSizes

quick = functools.partial(
    flat_forecaster,
    3,
    lookback=8,
    season_length=1,
    units=3,
    linear_expert=False,
    epochs=1,
    levels=(),
    seed=0,
    progress=False,
)


@pytest.fixture(scope="module")
def df():
    step = np.arange(70)
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=70, freq="D"),
                "y": size * (np.sin(step / 3) + step / 50),
                "price": step % 4,
                "kind": name * 2,
            }
        )
        for name, size in [("a", 1.0), ("b", 5.0)]
    )


@pytest.fixture(scope="module")
def known():
    return Columns(future=["price"], static=["kind"])


@pytest.fixture(scope="module")
def both(df, known):
    return quick(architecture=["multi_output"] * 2).fit(df, columns=known)


def test_the_output_is_the_mean_of_the_members(both):
    assert both.model_.output_shape == (None, 3)
    random = np.random.default_rng(0)
    x = {
        name: random.random((4, *part.shape[1:])).astype(part.dtype)
        for name, part in both.model_.input.items()
    }
    members = [both.model_.get_layer(f"member_{number}") for number in (1, 2)]
    outputs = [np.asarray(member(x)) for member in members]
    np.testing.assert_allclose(both.model_(x), np.mean(outputs, axis=0), rtol=1e-5, atol=1e-6)
    assert not np.allclose(outputs[0], outputs[1], atol=1e-4)  # same strategy, another seed


def test_the_first_member_is_the_network_without_an_ensemble(both, df, known):
    single = quick().fit(df, columns=known)
    member = both.model_.get_layer("member_1")
    for own, other in zip(single.model_.get_weights(), member.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)
    assert both.log_ == both.logs_[0]
    assert len(both.logs_) == 2
    assert both.log_.best_epoch == single.log_.best_epoch
    listed = quick(architecture=["multi_output"]).fit(df, columns=known)
    future = single.future_frame().assign(price=2)
    pd.testing.assert_frame_equal(
        listed.predict(future=future), single.predict(future=future), rtol=1e-4
    )


@long_run_only
def test_the_first_member_is_the_same_with_random_draws_in_training(df):
    """The seed is the last one that there is: that of the second member begins anew."""
    options = {"teacher_forcing": 0.5, "seed": 2**32 - 1, "validation": 0}
    single = quick(architecture="recursive", **options).fit(df)
    both = quick(architecture=["recursive"] * 2, **options).fit(df)
    member = both.model_.get_layer("member_1")
    for own, other in zip(single.model_.get_weights(), member.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)
    assert np.isfinite(both.predict().yhat).all()


def test_an_ensemble_is_saved_and_cloned_and_encodes(both, tmp_path):
    future = both.future_frame().assign(price=2)
    both.save(tmp_path / "both.zip")
    loaded = Forecaster.load(tmp_path / "both.zip")
    assert loaded.network == both.network
    assert loaded.logs_ == both.logs_
    pd.testing.assert_frame_equal(loaded.predict(future=future), both.predict(future=future))
    assert clone(both).get_params() == both.get_params()
    assert both.encode().shape == (2, 6)


def test_an_ensemble_with_a_likelihood_has_intervals_and_paths(df):
    options = {"likelihood": "gaussian", "levels": (80,)}
    forecaster = quick(architecture=["multi_output"] * 2, **options).fit(df)
    assert forecaster.sample(2, seed=0).filter(like="path").shape == (6, 2)
    forecast = forecaster.predict()
    assert (forecast["yhat-lo-80"] < forecast["yhat-hi-80"]).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ([], "network must be one model or more"),
        (["multi_output", "arima"], "network must be one of"),
        (["multi_output", "recursive"], "forecast the same number of steps"),
    ],
)
@pytest.mark.usefixtures("no_training")
def test_lists_that_cannot_be_an_ensemble_are_refused(df, model, message):
    with pytest.raises(ArgumentError, match=message):
        quick(architecture=model).fit(df)


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def test_mixed_precision_does_not_round_the_forecast(mixed_precision):
    inputs = keras.Input((2, 1))
    networks = [keras.Model(inputs, inputs[:, :, 0]) for _ in range(2)]
    random = np.random.default_rng(0)
    x, y = (random.normal(4, 1, (20, 2)).astype("float32") for _ in range(2))
    expert = LinearExpert.of(x, y, 1)
    model = mixed_with(networks, expert.model(NetworkSizes(lookback=2, horizon=2)), 0.3)
    expected = 0.7 * x + 0.3 * expert.forecast(x)
    np.testing.assert_allclose(model(x[..., np.newaxis]), expected, rtol=1e-6)

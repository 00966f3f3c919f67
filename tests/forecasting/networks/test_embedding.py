import copy
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from seqkeras import many_to_one
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns
from seqkeras.forecasting.networks._build import STRATEGIES, build_network, network_sizes
from seqkeras.forecasting.networks._embedding import last_state


@pytest.fixture(scope="module")
def case():
    steps = np.arange(40)
    df = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": steps, "y": np.sin(steps * speed)})
        for name, speed in [("slow", 0.3), ("fast", 1.9), ("slow too", 0.3)]
    )
    forecaster = flat_forecaster(
        3, lookback=8, units=(5, 4), epochs=1, validation=0, levels=(), seed=0, progress=False
    )
    return forecaster.fit(df), df


def test_series_of_equal_values_have_equal_embeddings(case):
    fitted, df = case
    states = fitted.encode()
    assert states.shape == (3, 4)
    assert states.index.tolist() == ["slow", "fast", "slow too"]
    np.testing.assert_allclose(states.loc["slow"], states.loc["slow too"], rtol=1e-5)
    assert not np.allclose(states.loc["slow"], states.loc["fast"], atol=1e-3)
    pd.testing.assert_frame_equal(fitted.encode(df), states, rtol=1e-6)


def test_some_series_are_encoded_up_to_their_last_row(case):
    fitted, df = case
    states = fitted.encode(df[(df.ds < 30) & (df.unique_id != "slow")])
    assert states.index.tolist() == ["fast", "slow too"]
    assert not np.allclose(states.loc["fast"], fitted.encode().loc["fast"], atol=1e-3)
    assert fitted.encode(df[df.ds < 7]).notna().all(axis=None)  # padded


@pytest.mark.backends
def test_a_layer_that_returns_sequences_is_read_at_its_last_timestep():
    x = keras.Input((5, 1))
    sequence = keras.layers.LSTM(3, return_sequences=True)(x)
    network = keras.Model(x, keras.layers.Dense(2)(sequence[:, -1]))
    rows = np.random.default_rng(0).normal(size=(2, 5, 1)).astype("float32")
    expected = keras.ops.convert_to_numpy(network.layers[1](rows))[:, -1]
    np.testing.assert_allclose(last_state(network).predict_on_batch(rows), expected, rtol=1e-5)
    both = many_to_one(1, timesteps=5, units=3, bidirectional=True)
    assert last_state(both).output_shape == (None, 6)


def test_a_layer_named_like_a_member_does_not_make_an_ensemble():
    x = keras.Input((5, 1))
    state = keras.layers.GRU(3, name="member_1")(x)
    network = keras.Model(x, keras.layers.Dense(2, name="member_2")(state))
    assert last_state(network).output_shape == (None, 3)


def test_a_network_without_recurrence_is_refused():
    x = keras.Input((5, 1))
    with pytest.raises(ArgumentError, match="must be a network with a recurrent layer"):
        last_state(keras.Model(x, keras.layers.Flatten()(x)))


@pytest.fixture(scope="module")
def covered(case):
    """An encoder and a decoder, fitted with a known price, and their frame."""
    _, df = case
    known = df.assign(price=1000 + df.ds / 100)
    options = {"lookback": 8, "units": 4, "epochs": 1, "validation": 0, "levels": ()}
    forecaster = flat_forecaster(
        3, architecture="encoder_decoder", **options, seed=0, progress=False
    )
    return forecaster.fit(known, columns=Columns(future=["price"])), known


@pytest.mark.parametrize("model", STRATEGIES)
def test_every_named_network_encodes_its_window_and_assumes_constant_covariates(covered, model):
    fitted, known = covered
    if model != "encoder_decoder":  # another network, untrained, in the place of that one
        covariates = fitted.panel_.covariates
        names = ("lookback", "horizon", "season_length")
        sizes = {name: getattr(fitted.fitted_, name) for name in names}
        keras.utils.set_random_seed(0)
        network = build_network(model, network_sizes(covariates, **sizes), units=4)
        fitted = copy.copy(fitted)
        fitted.fitted_ = replace(fitted.fitted_, model=network)
    states = fitted.encode()
    assert states.shape == (3, 4)
    # Zeros for the price would be thousands of deviations away, and saturate the state.
    assert np.abs(states.to_numpy()).max() < 0.999
    np.testing.assert_allclose(states.loc["slow"], states.loc["slow too"], rtol=1e-5)
    assert not np.allclose(states.loc["slow"], states.loc["fast"], atol=1e-3)
    pd.testing.assert_frame_equal(fitted.encode(known), states, rtol=1e-6)
    # The newest value counts.
    newer = known.assign(y=known.y + (known.ds == 39))
    assert not np.allclose(fitted.encode(newer), states, atol=1e-3)
    assert fitted.encode(known[known.ds < 30]).shape == (3, 4)

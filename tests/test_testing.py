"""The public checks find what they are there to find."""

import keras
import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from seqkeras.forecasting import Forecaster, load_air_passengers
from seqkeras.testing import check_forecaster


def quick(model):
    return flat_forecaster(
        3,
        **{"lookback": 12, "architecture": model, "epochs": 1, "validation": 0, "levels": ()},
        seed=0,
        progress=False,
    )


def test_a_forecaster_that_does_not_read_the_newest_value_is_found():
    """The fault of heads that take the last horizon outputs of the recurrent layer."""

    def blind(features, *, lookback, horizon):
        x = keras.Input((lookback, features))
        sequence = keras.layers.GRU(4, return_sequences=True)(x)
        return keras.Model(x, keras.layers.Dense(1)(sequence[:, -horizon:])[:, :, 0])

    with pytest.raises(AssertionError, match="do not change when the newest observation does"):
        check_forecaster(quick(blind), load_air_passengers())


def test_a_forecaster_whose_rows_depend_on_each_other_is_found():
    def mixing(features, *, lookback, horizon):
        x = keras.Input((lookback, features))
        y = keras.layers.Dense(horizon)(x[:, :, 0])
        return keras.Model(x, y + keras.ops.mean(y, axis=0, keepdims=True))

    df = load_air_passengers()
    both = df.assign(unique_id="a"), df.assign(unique_id="b", y=df.y.to_numpy()[::-1].copy())
    with pytest.raises(AssertionError, match="gets another forecast by itself"):
        check_forecaster(quick(mixing), pd.concat(both))


def test_weights_that_live_on_in_a_builder_are_found():
    kept = {}

    def hoarding(features, *, lookback, horizon):
        if not kept:
            kept["model"] = dense(features, lookback=lookback, horizon=horizon)
        return kept["model"]

    with pytest.raises(AssertionError):
        check_forecaster(quick(hoarding), load_air_passengers())


def test_a_check_without_a_seed_is_refused():
    with pytest.raises(AssertionError, match="needs a forecaster with a seed"):
        check_forecaster(Forecaster(3), load_air_passengers())


def test_the_checks_leave_their_forecaster_alone():
    forecaster = quick(dense)
    before = forecaster.get_params()
    check_forecaster(forecaster, load_air_passengers())
    assert forecaster.get_params() == before
    assert not hasattr(forecaster, "model_")
    assert np.all(load_air_passengers().y > 0)

"""Forecasts of the whole horizon at once, from the newest observation."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.models import many_to_one, multi_output

RANDOM = np.random.default_rng(7)


def zero(model, *names):
    """Set the weights of these layers to zero."""
    for name in names:
        layer = model.get_layer(name)
        layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    return model


def seasonal_naive(x, horizon, season):
    """Return the value one season before; if that is a forecast too, the one before it."""
    series = x[:, :, 0].tolist()
    for row in series:
        for _ in range(horizon):
            row.append(row[-season])
    return np.array(series)[:, -horizon:]


@pytest.mark.parametrize(
    ("lookback", "horizon", "season"),
    [(6, 4, 1), (6, 4, 4), (6, 9, 4), (6, 13, 6), (1, 3, 1), (6, 1, 3)],
)
@pytest.mark.parametrize("features", [1, 3])
def test_without_a_correction_the_forecast_is_seasonal_naive(
    features, lookback, horizon, season, outputs, randomize
):
    model = multi_output(
        features, lookback=lookback, horizon=horizon, season_length=season, units=5
    )
    zero(randomize(model), "head", "linear_path")
    x = RANDOM.normal(size=(3, lookback, features))
    np.testing.assert_allclose(outputs(model, x), seasonal_naive(x, horizon, season), atol=1e-5)


@pytest.mark.parametrize("features", [1, 3])
def test_an_untrained_model_is_the_seasonal_naive_forecast(features, outputs):
    model = multi_output(features, lookback=6, horizon=4, season_length=3, units=5)
    x = 100 * RANDOM.normal(size=(3, 6, features))
    np.testing.assert_allclose(outputs(model, x), seasonal_naive(x, 4, 3), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("features", [1, 3])
def test_numbers_are_naive_plus_linear_path_plus_head(features, outputs, randomize):
    model = randomize(
        multi_output(features, lookback=6, horizon=4, season_length=3, units=(5, 4), cell="gru")
    )
    x = RANDOM.normal(size=(3, 6, features))
    # The other features are read unchanged, the target relative to its newest value.
    relative = x.copy()
    relative[..., 0] -= x[:, -1:, 0]
    recurrent = many_to_one(features, outputs=4, units=(5, 4), cell="gru")
    recurrent.set_weights(
        [
            weight
            for layer in ("recurrent_1", "recurrent_2", "head")
            for weight in model.get_layer(layer).get_weights()
        ]
    )
    expected = (
        seasonal_naive(x, 4, 3)
        + relative[..., 0] @ model.get_layer("linear_path").get_weights()[0]
        + outputs(recurrent, relative)
    )
    np.testing.assert_allclose(outputs(model, x), expected, atol=1e-5)


@pytest.mark.parametrize("season", [1, 3])
@pytest.mark.parametrize("features", [1, 2])
def test_adding_a_constant_to_the_window_adds_it_to_the_forecast(
    features, season, outputs, randomize
):
    model = multi_output(features, lookback=6, horizon=4, season_length=season, units=5)
    randomize(model)
    x = RANDOM.normal(size=(3, 6, features))
    shifted = x.copy()
    shifted[..., 0] += 50
    np.testing.assert_allclose(outputs(model, shifted), outputs(model, x) + 50, atol=1e-3)


@pytest.mark.parametrize("parts", [[], ["head"], ["linear_path"]])
@pytest.mark.parametrize("season", [1, 3])
def test_every_lead_depends_on_the_newest_observation_by_either_path(
    parts, season, outputs, randomize
):
    model = multi_output(lookback=6, horizon=4, season_length=season, units=5)
    zero(randomize(model), *parts)
    x = RANDOM.normal(size=(3, 6, 1))
    changed = x.copy()
    changed[:, -1] += 1
    assert np.abs(outputs(model, changed) - outputs(model, x)).min() > 1e-4


def test_other_features_reach_the_forecast(outputs, randomize):
    model = randomize(multi_output(3, lookback=6, horizon=4, units=5))
    x = RANDOM.normal(size=(3, 6, 3))
    for feature in (1, 2):
        changed = x.copy()
        changed[:, 2, feature] += 1
        assert np.abs(outputs(model, changed) - outputs(model, x)).max() > 1e-4


@pytest.mark.parametrize(("season", "horizon"), [(1, 3), (4, 3), (4, 9)])
def test_future_covariates_are_compared_with_the_row_of_the_naive_forecast(
    season, horizon, randomize
):
    """The target follows a covariate: two weights compute its change since a season ago."""
    model = multi_output(2, lookback=6, horizon=horizon, season_length=season, future=1, units=5)
    zero(randomize(model), "head", "linear_path", "ahead_path")
    level = RANDOM.normal(size=(3, 1))
    effect = RANDOM.normal(size=(3, 6 + horizon))
    known = effect[:, :6]
    ahead = effect[:, 6:]
    x = np.stack([level + 2 * known, known], axis=-1)
    weights = np.array([[2.0], [0.0], [-2.0]])  # ahead, and the target and the covariate before
    model.get_layer("linear_ahead").set_weights([weights, np.zeros(1)])
    forecast = model({"inputs": x, "future": ahead[..., np.newaxis]})
    np.testing.assert_allclose(keras.ops.convert_to_numpy(forecast), level + 2 * ahead, atol=1e-5)


def test_stateful_is_refused_with_the_model_to_use_instead():
    with pytest.raises(ArgumentError) as caught:
        multi_output(lookback=6, horizon=4, stateful=True, batch_size=2)
    message = str(caught.value)
    assert "stateful must be False for multi_output. Got: stateful=True." in message
    assert "Use next_step" in message


def test_a_season_longer_than_the_lookback_is_refused_with_both():
    with pytest.raises(ArgumentError) as caught:
        multi_output(lookback=6, horizon=4, season_length=7)
    message = str(caught.value)
    assert "season_length must be at most lookback. Got: season_length=7." in message
    assert "lookback of 6" in message


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3", None])
@pytest.mark.parametrize("name", ["features", "lookback", "horizon", "season_length"])
def test_a_size_that_is_not_a_positive_integer_is_refused(name, value):
    sizes = {"features": 1, "lookback": 6, "horizon": 4} | {name: value}
    with pytest.raises(ArgumentError) as caught:
        multi_output(sizes.pop("features"), **sizes)
    assert str(caught.value) == f"{name} must be an integer >= 1. Got: {name}={value!r}."

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.forecasting.networks._build import build_network, default_lookback
from seqkeras.models import many_to_one
from seqkeras.models._window import NetworkSizes

SIZES = NetworkSizes(lookback=5, horizon=3)


@pytest.mark.parametrize(("strategy", "steps"), [("multi_output", 6), ("recursive", 1)])
def test_a_strategy_forecasts_all_steps_or_one(strategy, steps):
    sizes = NetworkSizes(lookback=10, horizon=6, season_length=2)
    network = build_network(strategy, sizes, units=4)
    assert network.input_shape == (None, 10, 1)
    assert network.output_shape == (None, steps)


def test_a_model_is_copied_with_fresh_weights():
    model = many_to_one(1, outputs=3, units=4)
    copy = build_network(model, SIZES)
    assert copy is not model
    kernels = [network.get_layer("recurrent_1").cell.kernel for network in (model, copy)]
    assert not np.allclose(*map(keras.ops.convert_to_numpy, kernels))


def test_a_builder_is_called_with_lookback_and_horizon():
    def builder(features, *, lookback, horizon):
        return many_to_one(features, timesteps=lookback, outputs=horizon, units=4)

    assert build_network(builder, SIZES).output_shape == (None, 3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda f, lookback, horizon: "a word", "network must be a keras.Model of (batch, 5, 1)"),
        (lambda f, lookback, horizon: many_to_one(2, outputs=3), "Got: (None, None, 2)"),
        (lambda f, lookback, horizon: many_to_one(1, outputs=4), "to (None, 4)"),
        (lambda f, lookback, horizon: many_to_one(1, timesteps=6), "Got: (None, 6, 1)"),
    ],
)
def test_a_model_of_another_shape_is_refused_with_both_shapes(model, message):
    with pytest.raises(ArgumentError) as caught:
        build_network(model, SIZES)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("horizon", "season", "room", "lookback"),
    [
        (12, 12, 100, 36),
        (12, 12, 30, 24),
        (12, 12, 13, 13),
        (48, 24, 200, 96),
        (1, 1, 50, 3),
        (6, 52, 40, 12),
        (6, 7, 18, 14),
        (5, 1, -3, 1),
    ],
)
def test_the_lookback_is_three_seasons_if_there_is_room(horizon, season, room, lookback):
    assert default_lookback(horizon, season, room) == lookback


def test_the_normalization_of_a_named_strategy_can_be_chosen():
    """Untrained they all forecast the same; per-window scaling stretches the learned correction."""
    sizes = NetworkSizes(lookback=6, horizon=2)
    window = np.arange(6, dtype="float32").reshape(1, 6, 1)

    def stretch(**options):
        network = build_network("multi_output", sizes, units=2, **options)
        network.set_weights([np.full(array.shape, 0.1) for array in network.get_weights()])
        small, large = (network.predict_on_batch(size * window) for size in (1, 10))
        return (large - 10 * small).ravel()

    np.testing.assert_allclose(stretch(normalization="mean_scale"), 0, atol=1e-4)
    np.testing.assert_allclose(stretch(counts=True), 0, atol=1e-4)
    assert np.abs(stretch()).min() > 0.01
    with pytest.raises(ArgumentError, match="normalization must be one of 'none'"):
        build_network("multi_output", sizes, normalization="minmax")

"""The linear expert beside the network."""

import numpy as np
import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Forecaster, Network, Training

OPTIONS = {"lookback": 14, "units": 3, "epochs": 2, "seed": 0, "progress": False}


@pytest.fixture(scope="module")
def df():
    step = np.arange(120)
    noise = np.random.default_rng(0).normal(0, 0.1, 120)
    y = 10 + 0.05 * step + np.sin(2 * np.pi * step / 7) + noise
    return pd.DataFrame({"ds": pd.date_range("2020-01-01", periods=120, freq="D"), "y": y})


@pytest.fixture(scope="module")
def mixed(df):
    return flat_forecaster(5, **OPTIONS).fit(df)


def test_the_forecast_is_the_weighted_mean_of_both(mixed):
    x = np.random.default_rng(0).normal(size=(4, 14, 1)).astype("float32")
    network, expert = (
        np.asarray(mixed.model_.get_layer(name)(x)) for name in ("member_1", "linear_expert")
    )
    share = mixed.mixture_.expert_share
    expected = (1 - share) * network + share * expert
    np.testing.assert_allclose(mixed.model_(x), expected, rtol=1e-5, atol=1e-6)
    assert 0 < share < 1


def test_the_share_follows_from_the_errors_on_held_out_rows(mixed):
    mixture = mixed.mixture_
    assert mixture.network_error == pytest.approx(min(mixed.log_.val_loss), rel=1e-4)
    horizons = 24 / 5  # a fifth of the rows
    odds = (mixture.network_error / mixture.expert_error) ** (8 * horizons / (horizons + 10))
    assert mixture.expert_share == pytest.approx(odds / (1 + odds))


def test_a_network_that_learned_nothing_leaves_most_to_the_expert(df):
    """A trend and a wave, of which the naive forecast sees only the last value."""
    untrained = flat_forecaster(5, **OPTIONS | {"season_length": 1, "learning_rate": 1e-9})
    assert untrained.fit(df).mixture_.expert_share > 0.9


def test_it_is_saved_with_the_forecaster(mixed, tmp_path):
    mixed.save(tmp_path / "f")
    loaded = Forecaster.load(tmp_path / "f")
    assert loaded.mixture_ == mixed.mixture_
    np.testing.assert_array_equal(loaded.predict().yhat, mixed.predict().yhat)


def test_intervals_are_calibrated_on_the_errors_of_the_mixture(mixed, df):
    network_only = flat_forecaster(5, **OPTIONS, linear_expert=False).fit(df)
    assert network_only.mixture_ is None
    assert network_only.log_ == mixed.log_
    radii = [forecaster.intervals_.radius.mean() for forecaster in (mixed, network_only)]
    assert radii[0] != radii[1]


@pytest.mark.parametrize("options", [{"network": "recursive"}, {"likelihood": "gaussian"}])
def test_it_is_omitted_where_it_cannot_be_mixed(options, df):
    forecaster = Forecaster(2, lookback=7, training=Training(epochs=1, progress=False), **options)
    assert forecaster.fit(df).mixture_ is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"likelihood": "gaussian"}, "with a likelihood"),
        ({"training": Training(validation=0), "intervals": ()}, "validation=0"),
        ({"architecture": "recursive"}, "forecasts the whole horizon"),
    ],
)
def test_asking_for_it_there_is_refused_before_training(options, reason, df, no_training):
    network = Network(options.pop("architecture", "multi_output"), linear_expert=True)
    with pytest.raises(ArgumentError, match=reason):
        Forecaster(2, lookback=7, network=network, **options).fit(df)

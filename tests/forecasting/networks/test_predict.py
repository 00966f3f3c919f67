"""Forecasts of networks: fed back, with intervals, and as sample paths."""

import itertools
import pickle

import keras
import numpy as np
import pandas as pd
import pytest

from helpers.examples import covering
from helpers.forecasters import POINT, flat_forecaster
from helpers.models import training_eagerly
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting import Columns, Forecaster
from seqkeras.forecasting.networks._predict import look_ahead, roll_forward, sample_paths
from seqkeras.likelihoods import LIKELIHOODS, Gaussian, NegativeBinomial, Quantiles
from seqkeras.models import multi_output

MODELS = ("multi_output", "recursive", "encoder_decoder", "segment_rnn")


def frame_of(series, start="2024-01-01"):
    stamps = pd.date_range(start, periods=len(series), freq="D")
    return pd.DataFrame({"ds": stamps, "y": series})


def panel_of(series):
    return pd.concat(
        [frame_of(values).assign(unique_id=name) for name, values in series.items()],
        ignore_index=True,
    )


def counts(rows, seed=0):
    return np.random.default_rng(seed).poisson(20 + 10 * np.sin(np.arange(rows)), rows)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_outputs_are_fed_back_until_the_horizon_is_reached(steps):
    """A network that adds 1, 2, ... to the newest value counts on, however few its steps."""
    x = keras.Input((4, 1))
    network = keras.Model(x, x[:, -1, :] + keras.ops.arange(1, steps + 1, dtype="float32"))
    windows = np.array([[1, 2, 3, 4], [0, 0, 0, 9]], dtype="float32")[..., np.newaxis]
    forecast = roll_forward(network, windows, 7)
    np.testing.assert_allclose(forecast, [4 + np.arange(1, 8), 9 + np.arange(1, 8)])


def forecaster_of(model, likelihood, **options):
    options = {"lookback": 4, "units": 4, "epochs": 1, "seed": 0, "progress": False, **options}
    return flat_forecaster(3, architecture=model, likelihood=likelihood, **options)


@pytest.fixture(scope="module")
def normal():
    """A forecaster with a normal distribution."""
    return forecaster_of("multi_output", "gaussian").fit(frame_of(counts(50)))


@pytest.fixture(scope="module")
def counted():
    """A forecaster of counts near 0, and their frame."""
    random = np.random.default_rng(0)
    df = panel_of({name: random.poisson(0.5, 80) for name in "ab"})
    return forecaster_of("multi_output", "negative_binomial").fit(df), df


@pytest.mark.parametrize(
    ("model", "likelihood"), covering(list(itertools.product(MODELS, LIKELIHOODS)), 5)
)
def test_every_model_and_every_likelihood_forecasts_and_is_saved(model, likelihood, tmp_path):
    """Also where targets are missing."""
    df = panel_of({"a": counts(50), "b": counts(60, 1)})
    if model in MODELS[:2]:
        df["y"] = df.y.where(~df.index.isin([7, 20, 41, 90, 105]))
    forecaster = forecaster_of(model, likelihood).fit(df)
    forecast = forecaster.predict()
    assert np.isfinite(forecast.filter(like="yhat").to_numpy(float)).all()
    for level in (80, 95):
        assert (forecast[f"yhat-lo-{level}"] < forecast["yhat"]).all()
        assert (forecast["yhat"] < forecast[f"yhat-hi-{level}"]).all()
    forecaster.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    pd.testing.assert_frame_equal(loaded.predict(), forecast)
    assert type(loaded.likelihood_) is type(forecaster.likelihood_)
    single = forecaster.predict(df=df[df.unique_id == "b"])
    both = forecaster.predict(df=df)
    both = both[both.unique_id == "b"].reset_index(drop=True)
    pd.testing.assert_frame_equal(single.reset_index(drop=True), both, rtol=1e-4)


def test_intervals_are_as_wide_as_the_likelihood_predicts():
    """Noise depends on a known covariate; without a likelihood all widths are equal."""
    rng = np.random.default_rng(0)
    loud = np.repeat(rng.random(150) < 0.5, 4).astype(float)
    df = frame_of(rng.normal(0, np.where(loud > 0, 3.0, 0.3))).assign(loud=loud)
    options = {"units": 4, "learning_rate": 3e-2, "batch_size": 32, "levels": (80,)}
    widths = {}
    for likelihood, epochs in ((None, 1), ("gaussian", 6)):
        forecaster = forecaster_of("multi_output", likelihood, epochs=epochs, **options)
        with training_eagerly(False):  # for many steps
            forecaster.fit(df.iloc[:-3], columns=Columns(future=["loud"]))
        future = forecaster.future_frame()
        for loudness in (0.0, 1.0):
            forecast = forecaster.predict(future=future.assign(loud=loudness))
            width = forecast["yhat-hi-80"] - forecast["yhat-lo-80"]
            widths[likelihood, loudness] = width.mean()
    assert widths[None, 1.0] == pytest.approx(widths[None, 0.0])
    assert widths["gaussian", 1.0] > 2 * widths["gaussian", 0.0]


def test_the_steps_of_a_path_depend_on_each_other_if_outputs_are_fed_back():
    """The steps of a random walk, which these networks are from the start, are correlated."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=100))
    correlations = {}
    for model in ("recursive", "multi_output"):
        forecaster = forecaster_of(model, "gaussian", season_length=1, **POINT)
        paths = forecaster.fit(frame_of(walk)).sample(400, seed=0)
        steps = paths.filter(like="path-").to_numpy(float)
        correlations[model] = np.corrcoef(steps[0], steps[2])[0, 1]
    assert correlations["recursive"] > 0.3
    assert abs(correlations["multi_output"]) < 0.2


def test_paths_are_returned_in_the_form_of_the_series(counted):
    forecaster, _ = counted
    paths = forecaster.sample(5, seed=3)
    assert paths.columns.tolist() == ["unique_id", "ds", *(f"path-{i}" for i in range(1, 6))]
    drawn = paths.filter(like="path-").to_numpy(float)
    assert (drawn >= 0).all()
    assert (drawn == drawn.round()).all()
    pd.testing.assert_frame_equal(paths, forecaster.sample(5, seed=3))


def test_shared_draws_do_not_depend_on_other_series():
    network = multi_output(lookback=4, horizon=1, outputs=2, units=4)
    x = np.random.default_rng(0).normal(size=(3, 4, 1)).astype("float32")
    whole = look_ahead(network, Gaussian(), x, 3)
    for row in range(3):
        single = look_ahead(network, Gaussian(), x[row : row + 1], 3)
        np.testing.assert_allclose(single.point[0], whole.point[row], rtol=1e-4, atol=1e-5)
    independent = sample_paths(network, Gaussian(), x[[0, 0]], 3, 50, seed=0)
    assert (independent[:, 0] != independent[:, 1]).all()


def test_a_horizon_may_be_shorter_than_that_of_a_network_with_future_covariates():
    network = multi_output(lookback=4, horizon=3, features=2, future=1, outputs=2, units=4)
    random = np.random.default_rng(0)
    network.set_weights([random.normal(size=array.shape) for array in network.get_weights()])
    inputs = {
        "inputs": random.normal(size=(2, 4, 2)).astype("float32"),
        "future": random.normal(size=(2, 3, 1)).astype("float32"),
    }
    whole = look_ahead(network, Gaussian(), inputs, 3)
    shorter = look_ahead(network, Gaussian(), inputs | {"future": inputs["future"][:, :2]}, 2)
    np.testing.assert_allclose(shorter.point, whole.point[:, :2], rtol=1e-5)


def test_errors_are_measured_in_widths():
    network = multi_output(lookback=4, horizon=3, outputs=3, units=4)
    x = np.ones((2, 4, 1), "float32")
    forecast = look_ahead(network, Quantiles([0.1, 0.5, 0.9]), x, 3)
    # Untrained, all quantiles are the naive forecast, and the widths are the least possible.
    np.testing.assert_allclose(forecast.point, 1.0)
    np.testing.assert_allclose(forecast.in_widths(2 * forecast.above), 2.0)
    np.testing.assert_allclose(forecast.in_widths(-3 * forecast.below), -3.0)


@pytest.mark.parametrize("wrong", [-1.0, 0.5])
def test_targets_of_a_likelihood_of_counts_must_be_counts(wrong):
    y = counts(50).astype(float)
    y[30] = wrong
    with pytest.raises(
        DataError, match=f"must have counts .* for NegativeBinomial. Got: {wrong:g}"
    ):
        forecaster_of("multi_output", NegativeBinomial()).fit(frame_of(y))


@pytest.mark.usefixtures("no_training")
def test_an_unknown_likelihood_is_refused():
    with pytest.raises(ArgumentError, match="likelihood must be None, one of 'quantiles'"):
        forecaster_of("multi_output", "poisson").fit(frame_of(counts(50)))


def test_without_a_likelihood_no_paths_can_be_drawn(normal):
    forecaster = forecaster_of("multi_output", None, **POINT).fit(frame_of(counts(50)))
    with pytest.raises(ArgumentError, match="a distribution to draw from"):
        forecaster.sample(3)
    with pytest.raises(ArgumentError, match="count must be"):
        normal.sample(0)


def test_a_custom_network_must_return_the_outputs_of_the_likelihood():
    def network(features, *, lookback, horizon):
        return multi_output(features, lookback=lookback, horizon=horizon, units=4)

    with pytest.raises(ArgumentError, match="outputs=2"):
        forecaster_of(network, "gaussian", units=None).fit(frame_of(counts(50)))
    model = network(1, lookback=4, horizon=3)
    with pytest.raises(ArgumentError, match=r"to \(batch, steps, 2\)"):
        forecaster_of(model, "gaussian", units=None).fit(frame_of(counts(50)))


def test_intervals_of_counts_do_not_reach_below_zero(counted):
    forecast = counted[0].predict()
    assert (forecast.filter(like="yhat-lo").to_numpy(float) >= 0).all()


def test_new_rows_of_counts_must_be_counts(counted):
    forecaster, df = counted
    newer = df.iloc[-1:].assign(ds=df.ds.max() + pd.Timedelta(days=1), y=-7.5)
    with pytest.raises(DataError, match=r"Got: -7\.5"):
        forecaster.update(newer)


def test_a_custom_likelihood_is_trained_with_its_own_options(normal):
    class Heavier(Gaussian):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def _loss(self, target, outputs):
            return self.factor * super()._loss(target, outputs)

    heavier = forecaster_of("multi_output", Heavier(100), levels=()).fit(frame_of(counts(50)))
    expected = 100 * normal.log_.val_loss[0]
    assert heavier.log_.val_loss[0] == pytest.approx(expected, rel=1e-4)


def test_paths_do_not_replace_a_column_of_ids():
    df = panel_of({"a": counts(50)}).rename(columns={"unique_id": "path-1"})
    forecaster = forecaster_of("multi_output", "gaussian", **POINT)
    forecaster.fit(df, columns=Columns(id="path-1"))
    with pytest.raises(ArgumentError, match="names other than path-1"):
        forecaster.sample(2)


def test_quantiles_of_paths_do_not_depend_on_how_many_series_there_are(monkeypatch):
    network = multi_output(lookback=4, horizon=1, outputs=2, units=4)
    x = np.random.default_rng(0).normal(size=(7, 4, 1)).astype("float32")
    whole = look_ahead(network, Gaussian(), x, 2)
    monkeypatch.setattr("seqkeras.forecasting.networks._predict._MOST_ROWS", 600)
    np.testing.assert_allclose(look_ahead(network, Gaussian(), x, 2).point, whole.point, rtol=1e-5)


def test_a_fitted_forecaster_with_a_likelihood_is_pickled():
    forecaster = forecaster_of("multi_output", Quantiles([0.1, 0.5, 0.9]), **POINT)
    forecaster.fit(frame_of(counts(50)))
    copy = pickle.loads(pickle.dumps(forecaster))
    pd.testing.assert_frame_equal(copy.predict(), forecaster.predict())
    assert copy.likelihood_.probabilities == (0.1, 0.5, 0.9)

"""The linear expert, fitted in closed form."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from seqkeras.forecasting.networks import _linear_expert
from seqkeras.forecasting.networks._linear_expert import LinearExpert
from seqkeras.forecasting.networks._shares import shares
from seqkeras.forecasting.networks._simple_forecasts import SimpleForecasts
from seqkeras.models._window import NetworkSizes
from seqkeras.windows import Windows, WindowSpec


def autoregression(rows=400, seed=0):
    """A series that ridge regression can learn and no simple forecast can: y = -0.9 y before."""
    random = np.random.default_rng(seed)
    y = np.zeros(rows)
    for row in range(1, rows):
        y[row] = 5 - 0.9 * (y[row - 1] - 5) + random.normal()
    return y


def pairs_of(y, lookback, horizon):
    both = np.lib.stride_tricks.sliding_window_view(y, lookback + horizon)
    return both[:, :lookback], both[:, lookback:]


def test_it_learns_what_the_best_simple_forecast_cannot():
    x, y = pairs_of(autoregression(), 6, 2)
    x_test, y_test = pairs_of(autoregression(seed=1), 6, 2)
    forecasts, _ = SimpleForecasts.of(6, 2, 1).read(x_test)
    simple = np.abs(y_test[:, np.newaxis] - forecasts).mean(axis=(0, 2)).min()
    error = np.abs(y_test - LinearExpert.of(x, y, 1).forecast(x_test)).mean()
    oracle = np.abs(y_test - (5 + (x_test[:, -1:] - 5) * [[-0.9, 0.81]])).mean()
    assert error < 1.1 * oracle < 0.7 * simple


def test_the_regression_is_that_of_scikit_learn(monkeypatch):
    x, y = pairs_of(autoregression(80), 5, 2)
    monkeypatch.setattr(_linear_expert, "PENALTIES", np.array([0.01]))
    targets = [y, y[:, ::-1]]
    (_, weights), (_, other) = _linear_expert._Ridge(x, targets, np.arange(len(x))).best()
    np.testing.assert_allclose(other, weights[:, ::-1])
    relative = (x - x[:, -1:])[:, :-1]
    penalty = 0.01 * np.trace(relative.T @ relative) / 4
    reference = Ridge(penalty, fit_intercept=False).fit(relative, y)
    np.testing.assert_allclose(weights[:-1], reference.coef_.T, rtol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=0), 0, atol=1e-12)


def test_the_error_of_a_penalty_is_measured_on_windows_that_it_was_not_fitted_to():
    """Noise cannot be learned, however well its own windows are fitted."""
    x, y = pairs_of(np.random.default_rng(0).normal(size=60), 20, 3)
    regression = _linear_expert._Ridge(x, [y], np.arange(len(x)))
    relative = (x - x[:, -1:])[:, :-1]
    own = [np.abs(y - relative @ weights).mean() for weights in regression._solutions(slice(0, 0))]
    [(error, _)] = regression.best()
    assert min(own) < 0.65 * error
    assert error > 0.95 * np.abs(y).mean()


@pytest.mark.parametrize("windows", [0, 1, 2, 5])
@pytest.mark.parametrize("lookback", [1, 4])
def test_few_windows_give_a_forecast_too(windows, lookback):
    x, y = pairs_of(autoregression(lookback + 2 + 10), lookback, 3)
    expert = LinearExpert.of(x[:windows], y[:windows], 1)
    forecasts = expert.forecast(x)
    assert forecasts.shape == (len(x), 3)
    np.testing.assert_allclose(expert.forecast(x + 100), forecasts + 100)


def test_the_regression_reads_only_the_newest_rows_of_a_long_window(monkeypatch):
    x, y = pairs_of(autoregression(), 9, 2)
    monkeypatch.setattr(_linear_expert, "_MOST_LAGS", 3)
    regression = _linear_expert._Ridge(x, [y - x[:, -1:]], np.arange(len(x)))
    short = _linear_expert._Ridge(x[:, -4:], [y - x[:, -1:]], np.arange(len(x)))
    (error, weights), (short_error, short_weights) = *regression.best(), *short.best()
    assert error == short_error
    np.testing.assert_array_equal(weights[:5], 0)
    np.testing.assert_array_equal(weights[5:], short_weights)


def test_a_constant_series_is_continued():
    x = np.full((30, 4), 7.0)
    np.testing.assert_allclose(LinearExpert.of(x, x[:, :2], 1).forecast(x), 7.0)


def test_without_any_window_it_is_the_seasonal_naive_forecast():
    x, y = pairs_of(autoregression(20), 6, 4)
    expert = LinearExpert.of(x[:0], y[:0], 3)
    np.testing.assert_allclose(expert.forecast(x), x[:, [3, 4, 5, 3]])


def test_windows_with_a_missing_target_are_omitted():
    y = autoregression(60)
    with_gap = y.copy()
    with_gap[50] = np.nan
    windows = Windows(
        y,
        WindowSpec(4, horizon=2),
        targets=with_gap[:, np.newaxis],
        missing="mask",
        transform=lambda x, y: (x["past"], y),
    )
    expert = LinearExpert.fit(windows, 1)
    x, y = pairs_of(y, 4, 2)
    is_known = np.ones(len(x), bool)
    is_known[[45, 46]] = False
    without = LinearExpert.of(x.astype("float32")[is_known], y[is_known], 1)
    np.testing.assert_allclose(expert.forecast(x), without.forecast(x), atol=1e-4)


@pytest.mark.backends
def test_a_batch_with_as_many_rows_as_steps_is_forecast_row_by_row():
    x, y = pairs_of(autoregression(), 6, 3)
    expert = LinearExpert.of(x, y, 1)
    model = expert.model(NetworkSizes(lookback=6, horizon=3))
    windows = x[:3, :, np.newaxis].astype("float32")
    np.testing.assert_allclose(
        model.predict_on_batch(windows), expert.predict_on_batch(windows), rtol=1e-5
    )


@pytest.mark.backends
def test_the_model_gives_the_same_at_a_high_level():
    x, y = pairs_of(autoregression(), 6, 2)
    expert = LinearExpert.of(x, y, 1)
    model = expert.model(NetworkSizes(lookback=6, horizon=2, features=3))
    assert isinstance(model, keras.Model)
    high = np.random.default_rng(0).normal(size=(5, 6, 3)).astype("float32")
    high[..., 0] += 1e4
    exact = expert.predict_on_batch({"inputs": high.astype("float64")})
    np.testing.assert_allclose(model.predict_on_batch(high), exact, rtol=3e-7)
    assert model.output_shape == expert.output_shape == (None, 2)


def test_shares_fall_with_the_error():
    np.testing.assert_allclose(shares([1.0, 1.0]), [0.5, 0.5])
    np.testing.assert_allclose(shares([1.0, 2.0]), [256 / 257, 1 / 257])
    np.testing.assert_allclose(shares([0.0, 1.0]), [1, 0], atol=1e-9)
    np.testing.assert_allclose(shares([0.0, 0.0]), [0.5, 0.5])

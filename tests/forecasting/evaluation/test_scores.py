import numpy as np
import pandas as pd
import pytest

from seqkeras import scoring
from seqkeras.forecasting.evaluation._scores import Actuals, MethodForecast, tables

SERIES = np.array([0, 0, 1, 1, 1])
HISTORIES = [np.array([1.0, 3.0, 2.0, 5.0]), np.array([10.0, 40.0, 20.0])]
SCALES = [np.abs(np.diff(one)).mean() for one in HISTORIES]


@pytest.fixture(scope="module")
def case():
    random = np.random.default_rng(0)
    actual = random.normal(size=(5, 3)) * [[1]] * np.array([1, 1, 9, 9, 9])[:, None]
    yhat = actual + random.normal(size=(5, 3))
    levels = {80.0: (yhat - 1, yhat + 1), 95.0: (yhat - 2, yhat + 2)}
    truth = Actuals(SERIES, actual, pd.Index(["a", "b"]), np.array(SCALES), np.zeros(2))
    return truth, MethodForecast(yhat, levels)


def test_each_series_has_the_scores_of_its_windows(case):
    truth, guess = case
    found = truth.by_series(guess)
    shares = [0.025, 0.1, 0.5, 0.9, 0.975]
    for number, (name, history) in enumerate(zip("ab", HISTORIES, strict=True)):
        rows = number == SERIES
        actual, yhat = truth.values[rows], guess.yhat[rows]
        (low80, high80), (low95, high95) = (
            (low[rows], high[rows]) for low, high in guess.intervals.values()
        )
        quantiles = np.stack([low95, low80, yhat, high80, high95], axis=-1)
        flat = {"history": history, "level": 95}
        expected = {
            "MAE": scoring.mae(actual, yhat),
            "RMSE": scoring.rmse(actual, yhat),
            "sMAPE": scoring.smape(actual, yhat),
            "MASE": scoring.mase(actual.ravel(), yhat.ravel(), history=history),
            "WQL": scoring.wql(actual, quantiles, probabilities=shares),
            "CRPS": scoring.crps(actual, quantiles, probabilities=shares),
            "in 80 %": 100 * scoring.coverage(actual, low80, high80),
            "MSIS 95 %": scoring.msis(actual.ravel(), low95.ravel(), high95.ravel(), **flat),
        }
        for score, value in expected.items():
            assert found.loc[name, score] == pytest.approx(value), score


def test_what_differs_by_the_rounding_of_a_series_is_right():
    values = np.ones((2, 1))
    truth = Actuals(np.array([0, 1]), values, pd.Index(["a", "b"]), np.ones(2), np.array([1e-3, 0]))
    yhat = values + 5e-4
    by_series = truth.by_series(MethodForecast(yhat, {80.0: (yhat, yhat + 1)}))
    assert by_series.MAE.tolist() == [0, pytest.approx(5e-4)]
    assert by_series["in 80 %"].tolist() == [100, 0]


def test_overall_is_the_mean_over_series_and_wql_over_all_values(case):
    truth, guess = case
    overall, by_series = tables(truth, {"ours": guess, "point": MethodForecast(guess.yhat)})
    assert overall.index.tolist() == ["ours", "point"]
    assert by_series.index.names[0] == "method"
    for score in ("MAE", "RMSE", "MASE", "in 80 %"):
        assert overall.loc["ours", score] == pytest.approx(by_series.loc["ours", score].mean())
    wql = scoring.wql(truth.values, guess.yhat[..., None], probabilities=[0.5])
    assert overall.loc["point", "WQL"] == pytest.approx(wql)
    assert overall.loc["point", "CRPS"] == pytest.approx(overall.loc["point", "MAE"])
    assert np.isnan(overall.loc["point", "in 80 %"])


def test_what_cannot_be_divided_is_nan_and_the_rest_counts():
    values = np.array([[0.0], [2.0]])
    scales = np.array([np.nan, 2.0])
    truth = Actuals(np.array([0, 1]), values, pd.Index([7, 8]), scales, np.zeros(2))
    overall, by_series = tables(truth, {"ours": MethodForecast(np.array([[1.0], [1.0]]))})
    assert by_series.loc["ours"].MASE.isna().tolist() == [True, False]
    assert by_series.loc["ours"].WQL.isna().tolist() == [True, False]
    # Both errors of 1 count, over the values 0 and 2: WQL of all values is not a mean of ratios.
    assert overall.loc["ours", ["MASE", "WQL"]].tolist() == [0.5, 1.0]

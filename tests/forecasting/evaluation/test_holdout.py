import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from seqkeras.errors import DataError, SkippedSeriesWarning
from seqkeras.forecasting import Columns, evaluate_holdout
from seqkeras.scoring import mae, mase


def forecaster(**options):
    return flat_forecaster(
        5,
        **{"lookback": 14, "architecture": dense, "epochs": 1, "seed": 0, "progress": False}
        | options,
    )


def bare():
    """Nothing held out inside the fit: half the time."""
    return forecaster(validation=0, levels=())


def test_scores_are_those_of_the_forecast_beside_what_came(panel):
    held_out = evaluate_holdout(bare(), panel)
    frame = held_out.forecast
    expected = {"MAE": [], "MASE": []}
    for name, rows in panel.groupby("unique_id"):
        history, actual = rows.y.to_numpy()[:-5], rows.y.to_numpy()[-5:]
        guess = frame[frame.unique_id == name].yhat
        assert frame[frame.unique_id == name].actual.tolist() == actual.tolist()
        expected["MAE"].append(mae(actual, guess))
        expected["MASE"].append(mase(actual, guess, history=history, season_length=7))
    for score, values in expected.items():
        assert held_out.scores.loc["seqkeras", score] == pytest.approx(np.mean(values))


def test_baselines_stand_beside_every_score_and_the_given_forecaster_stays(one):
    given = forecaster()
    scores = evaluate_holdout(given, one).scores
    assert not hasattr(given, "model_")
    assert scores.index.tolist() == ["seqkeras", "seasonal naive", "naive"]
    history, actual = one.y.to_numpy()[:-5], one.y.to_numpy()[-5:]
    assert scores.loc["seasonal naive", "MAE"] == pytest.approx(mae(actual, history[-7:-2]))
    assert scores.loc["naive", "MAE"] == pytest.approx(mae(actual, [history[-1]] * 5))
    assert 0 <= scores.loc["seqkeras", "in 80 %"] <= scores.loc["seqkeras", "in 95 %"] <= 100


def test_a_history_without_change_has_no_scaled_error(one):
    scores = evaluate_holdout(forecaster(), one.assign(y=3.0)).scores
    assert scores.MASE.isna().all()
    assert scores.MAE.to_numpy() == pytest.approx(0, abs=1e-5)


def test_series_too_short_to_hold_out_are_told(panel):
    short = pd.concat([panel, panel[panel.unique_id == "a"].head(3).assign(unique_id="short")])
    with pytest.raises(DataError, match=r"'short' must have 6 rows .*Got: 3"):
        evaluate_holdout(forecaster(), short, columns=Columns(short_series="raise"))
    with pytest.warns(SkippedSeriesWarning):
        held_out = evaluate_holdout(bare(), short, columns=Columns(short_series="skip"))
    assert held_out.forecast.unique_id.unique().tolist() == ["a", "b", "c"]


def test_columns_that_a_forecast_has_itself_are_refused(panel):
    with pytest.raises(DataError, match="other names than cutoff and yhat"):
        evaluate_holdout(
            forecaster(), panel.rename(columns={"y": "yhat"}), columns=Columns(target="yhat")
        )

import time
from functools import partial

import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from seqkeras.errors import (
    ArgumentError,
    DataError,
    MissingDependencyError,
    SkippedSeriesWarning,
)
from seqkeras.forecasting import Columns, Forecaster, compare, load_air_passengers
from seqkeras.forecasting.evaluation._contenders import LinearContender, run_in_time
from seqkeras.forecasting.evaluation._peers import PEERS, Request, named_forecasts

QUICK = ["naive", "seasonal naive", "linear"]


def quick(df, horizon=6, **options):
    return compare(df, horizon, **{"contenders": QUICK, "progress": False} | options)


def small(horizon=6, **options):
    return flat_forecaster(
        horizon, **{"lookback": 12, "architecture": dense, "epochs": 1, "seed": 0} | options
    )


def test_contenders_are_ranked_by_earlier_horizons_and_scored_on_the_last_one():
    df = load_air_passengers()
    scores = quick(df, score="MAE", windows=3).scores
    values = df.y.to_numpy(float)
    errors = [
        np.abs(values[first : first + 6] - values[first - 12 : first - 6]).mean()
        for first in len(values) - 6 * np.arange(1, 5)
    ]
    assert scores.loc["seasonal naive", "MAE"] == pytest.approx(errors[0])
    assert scores.loc["seasonal naive", "MAE, choice"] == pytest.approx(np.mean(errors[1:]))
    assert scores["MAE, choice"].is_monotonic_increasing
    assert scores["seconds"].gt(0).all()


def test_the_last_horizon_has_no_part_in_the_ranking():
    df = load_air_passengers()
    other = df.copy()
    other.loc[other.index[-6:], "y"] *= 3
    plain, changed = quick(df).scores, quick(other).scores
    assert plain.index.tolist() == changed.index.tolist()
    np.testing.assert_array_equal(plain["MASE, choice"], changed["MASE, choice"])
    assert (plain["MASE"] != changed["MASE"]).all()


@pytest.mark.parametrize("name", QUICK)
def test_the_winner_forecasts_what_follows_all_rows(name):
    df = load_air_passengers()
    values = df.y.to_numpy(float)
    result = quick(df, contenders=[name])
    assert result.forecast["ds"].tolist() == list(pd.date_range("1961-01", periods=6, freq="MS"))
    expected = {"naive": [432] * 6, "seasonal naive": values[-12:-6]}
    if name in expected:
        np.testing.assert_array_equal(result.forecast["yhat"], expected[name])
    else:
        inside = result.forecast["yhat"].between(
            result.forecast["yhat-lo-80"], result.forecast["yhat-hi-80"]
        )
        assert inside.all()
        assert np.abs(result.forecast["yhat"] / values[-12:-6] - 1.1).max() < 0.15
    assert (result.winner, result.forecaster) == (name, None)


def test_a_linear_series_is_forecast_without_error_by_the_linear_expert():
    df = pd.DataFrame({"ds": pd.date_range("2020", periods=80, freq="D"), "y": np.arange(80.0)})
    assert quick(df, season_length=1, score="MAE").winner == "linear"
    assert quick(df, season_length=1).scores.loc["linear", "MASE"] < 1e-6


def test_own_forecasters_take_part_and_the_best_one_is_fitted_to_all_rows(panel):
    result = quick(panel, 5, contenders=["naive"], forecasters={"mine": small(5)}, score="MAE")
    assert set(result.scores.index) == {"naive", "mine"}
    result = quick(panel, 5, contenders=[], forecasters={"mine": small(5)})
    assert result.winner == "mine"
    pd.testing.assert_frame_equal(result.forecast, result.forecaster.predict())
    first = result.forecast.groupby("unique_id").ds.min()
    last = panel.groupby("unique_id").ds.max()
    assert (first - last == pd.Timedelta(days=1)).all()


def test_a_contender_that_cannot_be_fitted_says_why_and_the_others_go_on():
    scores = quick(load_air_passengers(), forecasters={"long": small(lookback=140)}).scores
    assert scores.index[-1] == "long"
    assert "140" in scores.loc["long", "why"]
    assert scores["why"].iloc[:-1].eq("").all()
    with pytest.raises(DataError, match=r"No contender could forecast\. long: .*140"):
        quick(load_air_passengers(), contenders=[], forecasters={"long": small(lookback=140)})


def test_a_time_limit_stops_training(one):
    hasty = flat_forecaster(5, lookback=14, architecture=dense, epochs=10_000, patience=10_000)
    hasty.set_params(training__seconds=1e-6, training__progress=False)
    hasty.fit(one)
    assert len(hasty.log_.loss) == 1


def test_what_takes_too_long_or_fails_elsewhere_is_given_up():
    assert run_in_time(partial(pow, 2, 3), 60) == 8
    with pytest.raises(DataError, match="not ready after 0 seconds"):
        run_in_time(partial(time.sleep, 30), 0.2)
    with pytest.raises(ValueError, match="invalid literal"):
        run_in_time(partial(int, "x"), 60)


def test_series_that_are_too_short_are_skipped_from_the_first_forecast_to_the_last(panel):
    short = panel[panel.unique_id == "a"].tail(12).assign(unique_id="short")
    df = pd.concat([panel, short]).sort_values("ds", kind="stable")
    columns = Columns(short_series="skip")
    with pytest.warns(SkippedSeriesWarning):
        result = quick(df, 5, columns=columns, contenders=[], forecasters={"mine": small(5)})
    assert sorted(result.forecast.unique_id.unique()) == ["a", "b", "c"]
    assert result.forecast.yhat.notna().all()


@pytest.mark.parametrize("rows", range(62, 150, 8))
def test_the_linear_expert_forecasts_series_of_any_length(rows):
    values = np.tile([1.0, 5.0, 2.0, 4.0], 40)[:rows] + 0.01 * np.arange(rows)
    df = pd.DataFrame({"ds": pd.date_range("2020", periods=rows, freq="QS"), "y": values})
    result = quick(df, 12, contenders=["linear"], score="MAE")
    assert (result.scores["why"] == "").all()


def test_missing_targets_are_neither_forecast_nor_scored():
    df = load_air_passengers().astype({"y": float})
    df.loc[[20, 21, len(df) - 2], "y"] = np.nan
    result = quick(df)
    assert result.scores[["MASE, choice", "MASE", "WQL"]].notna().all(axis=None)
    assert (result.scores["why"] == "").all()
    assert result.forecast.notna().all(axis=None)


def test_a_constant_series_does_not_change_the_forecasts_of_others(panel):
    constant = panel[panel.unique_id == "a"].assign(unique_id="flat", y=0.1)
    df = pd.concat([panel, constant]).sort_values("ds", kind="stable")
    forecasts = [quick(rows, 5, contenders=["linear"]).forecast for rows in (panel, df)]
    plain, beside = (frame[frame.unique_id == "a"].reset_index(drop=True) for frame in forecasts)
    wide = [frame["yhat-hi-95"] - frame["yhat-lo-95"] for frame in (plain, beside)]
    np.testing.assert_allclose(wide[1], wide[0], rtol=0.1)
    flat = forecasts[1][forecasts[1].unique_id == "flat"]
    np.testing.assert_allclose(flat.yhat, 0.1)


def test_an_error_of_the_last_fit_puts_the_next_contender_first(monkeypatch):
    def fail(contender, task, seconds):
        raise RuntimeError("no power")

    monkeypatch.setattr(LinearContender, "forecast", fail)
    result = quick(load_air_passengers())
    assert result.winner == "seasonal naive"
    assert result.scores.index.tolist() == ["seasonal naive", "naive", "linear"]
    assert result.scores.loc["linear", "why"] == "fit to all rows: RuntimeError: no power"


def test_columns_of_another_library_are_read_by_series_and_level():
    request = Request([np.zeros(3), np.zeros(4)], 2, 1, (80, 97.5), 0)
    frame = pd.DataFrame({"unique_id": [1, 0, 0, 1], "ds": [5, 3, 4, 4], "peer": [4.0, 1, 2, 3]})
    for level in ("80", "97.5"):
        frame[f"peer-lo-{level}"] = frame.peer - float(level)
        frame[f"peer-hi-{level}"] = frame.peer + float(level)
    forecasts = named_forecasts(frame, request)
    assert forecasts["yhat"].tolist() == [[1, 2], [3, 4]]
    assert forecasts["yhat-lo-97.5"].tolist() == [[-96.5, -95.5], [-94.5, -93.5]]
    assert request.frame()["unique_id"].tolist() == [0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("name", PEERS)
def test_forecasters_of_other_libraries_take_part_where_they_are_installed(name):
    df = load_air_passengers()
    if not PEERS[name].is_installed:
        with pytest.raises(MissingDependencyError, match=r"pip install \"seqkeras\[compare\]\""):
            quick(df, contenders=[name])
        return
    result = quick(df, contenders=[name, "naive"])
    assert result.winner == name
    assert (result.scores["why"] == "").all()
    assert (result.forecast["yhat-lo-95"] < result.forecast["yhat-lo-80"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0}, "minutes must be a finite number > 0"),
        ({"contenders": ["linaer"]}, "linear"),
        ({"contenders": []}, "one contender or more"),
        ({"score": "R2"}, "score must be one of"),
        ({"windows": 0}, "windows must be an integer >= 1"),
        ({"levels": (80, 120)}, "levels"),
        ({"forecasters": {"mine": Forecaster(3)}}, "6, the horizon of the comparison"),
        ({"forecasters": {"segment_rnn": Forecaster(6)}}, "names other than naive, "),
        ({"forecasters": {"mine": "segment_rnn"}}, "Forecaster"),
        ({"progress": "no"}, "progress must be"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(options, message):
    with pytest.raises(ArgumentError, match=message):
        quick(load_air_passengers(), **options)


def test_future_covariates_must_be_known_over_the_horizon():
    df = load_air_passengers().assign(price=1.0)
    columns = Columns(future=["price"])
    with pytest.raises(ArgumentError, match=r"future must be the columns .*price"):
        quick(df, columns=columns)
    later = pd.DataFrame({"ds": pd.date_range("1961-01", periods=6, freq="MS"), "price": 1.0})
    with pytest.raises(DataError, match="1961-06"):
        quick(df, columns=columns, future=later[:5])
    assert len(quick(df, columns=columns, future=later).forecast) == 6


def test_a_picture_has_a_bar_for_each_contender_and_the_forecast_below():
    figure = quick(load_air_passengers()).plot(title="airline")
    above, below = figure.axes
    assert [text.get_text() for text in above.get_yticklabels()] == [
        "linear",
        "seasonal naive",
        "naive",
    ]
    assert len(above.patches) == 3
    assert {line.get_label() for line in below.lines} == {"history", "forecast"}

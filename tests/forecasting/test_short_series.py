"""Series that are too short to train on are forecast by what was learned from the others."""

import warnings

import numpy as np
import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from seqkeras.errors import DataError, ShortSeriesWarning, SkippedSeriesWarning
from seqkeras.forecasting import Columns, Forecaster, backtest, compare, evaluate_holdout, insample

LOOKBACK, HORIZON = 8, 4
#: The last of these series has a lookback but no horizon after it; those before it are padded.
SHORT = {"one": 1, "few": 5, "half": 9}
WARNING = (
    r"3 of 5 series have fewer than 12 rows \(lookback 8 \+ horizon 4\), such as series 'one' with "
    "1. .* them. 2 of them are padded to 8 rows"
)


def rows_of(name, rows, first=0):
    step = np.arange(first, first + rows)
    y = 10 + np.tile([0.0, 3.0, 5.0, 1.0], 99)[step] + np.sin(step)
    return pd.DataFrame({"unique_id": name, "ds": step, "y": y, "sun": np.cos(step)})


def joined(**rows):
    return pd.concat([rows_of(name, count) for name, count in rows.items()], ignore_index=True)


def forecaster(**options):
    small = {"lookback": LOOKBACK, "season_length": 4, "units": 4, "epochs": 1, "levels": (50,)}
    return flat_forecaster(HORIZON, **{**small, "seed": 0, "progress": False, **options})


@pytest.fixture(scope="module")
def df():
    return joined(a=40, b=44, **SHORT)


@pytest.fixture(scope="module")
def fitted(df):
    with pytest.warns(ShortSeriesWarning, match=WARNING) as warned:
        fitted = forecaster().fit(df)
    assert warned[0].filename == __file__  # the line of the caller
    return fitted


def test_every_series_gets_a_forecast_with_intervals(fitted):
    forecast = fitted.predict()
    assert forecast.unique_id.unique().tolist() == ["a", "b", *SHORT]
    assert forecast.notna().all(axis=None)
    first = forecast.groupby("unique_id").ds.min()
    assert first[list(SHORT)].tolist() == list(SHORT.values())


def test_short_series_change_no_forecast_of_the_others(fitted, df):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ShortSeriesWarning)
        without = forecaster().fit(df[~df.unique_id.isin(SHORT)])
    assert without.model_.input_shape == fitted.model_.input_shape
    both = fitted.predict().head(2 * HORIZON)
    pd.testing.assert_frame_equal(both, without.predict(), rtol=1e-5)


def test_a_padded_window_begins_with_the_oldest_known_seasons(fitted):
    """A season that repeats itself is forecast as if it had been seen for longer."""
    repeating = joined(**{"new": 30}).assign(y=lambda df: df.ds % 4)
    short = repeating.tail(5)
    long = fitted.predict(df=repeating)
    assert long.yhat.to_numpy() == pytest.approx(repeating.y.head(6).tail(4).to_numpy(), abs=0.6)
    np.testing.assert_allclose(fitted.predict(df=short).yhat, long.yhat, atol=0.6)


def test_short_series_grow_by_updates_and_steps(fitted, df, tmp_path):
    fitted.save(tmp_path / "forecaster.zip")
    grown = Forecaster.load(tmp_path / "forecaster.zip")
    pd.testing.assert_frame_equal(grown.predict(), fitted.predict())
    newer = rows_of("one", 20, first=1)
    stepper = fitted.stepper()
    for y in newer.y:
        stepped = stepper.step({"one": y})
    grown.update(newer)
    forecast = grown.predict().query("unique_id == 'one'")
    np.testing.assert_allclose(stepped["yhat"][0], forecast.yhat, rtol=1e-4)
    np.testing.assert_allclose(stepped["yhat-lo-50"][0], forecast["yhat-lo-50"], rtol=1e-4)
    # Nothing of the padding is left: other rows before these would give the same.
    longer = Forecaster.load(tmp_path / "forecaster.zip").update(rows_of("half", 12, first=9))
    assert not np.isnan(longer.panel_.take([4]).values.values).any()


@pytest.mark.parametrize("short", [7, 10])
def test_covariates_and_missing_targets_of_short_series(short):
    columns = Columns(past=["sun"])
    df = joined(a=40, new=short)
    df.loc[[20, 40 + short - 2], "y"] = np.nan
    with pytest.warns(ShortSeriesWarning, match="1 of 2 series"):
        fitted = forecaster(validation=0, levels=()).fit(df, columns=columns)
    assert fitted.predict().notna().all(axis=None)


def test_a_missing_target_is_refused_where_none_was_fitted(fitted):
    short = rows_of("new", 6)
    short.loc[3, "y"] = np.nan
    with pytest.raises(DataError, match=r"no missing targets.*Got: 1 missing"):
        fitted.predict(df=short)


def test_they_can_be_refused_or_skipped(df):
    with pytest.raises(DataError, match=r"'one' must have 12 rows .*; 3 of 5 series are too short"):
        forecaster().fit(df, columns=Columns(short_series="raise"))
    long = df[~df.unique_id.isin(SHORT)]
    refusing = forecaster(validation=0, levels=()).fit(long, columns=Columns(short_series="raise"))
    with pytest.raises(DataError, match=r"'new' must have 8 rows \(lookback 8\)\. Got: 6"):
        refusing.predict(df=rows_of("new", 6))
    with pytest.raises(DataError, match=r"longest .* have 16 rows .*'half' with 9"):
        forecaster().fit(joined(few=5, half=9))


def test_short_series_are_scored_where_a_row_is_before_the_first_cutoff(df):
    some = df[df.unique_id.isin(["a", "b", "few", "half"])]
    bare = forecaster(validation=0, levels=())
    with pytest.warns(ShortSeriesWarning, match="2 of 4 series"):
        result = backtest(bare, some, windows=1)
    assert result.frame.unique_id.unique().tolist() == ["a", "b", "few", "half"]
    assert result.frame.yhat.notna().all()
    with pytest.warns(ShortSeriesWarning):
        assert len(evaluate_holdout(bare, some).forecast) == 4 * HORIZON
    with pytest.warns(ShortSeriesWarning), pytest.warns(SkippedSeriesWarning, match="'few' must"):
        result = backtest(bare, some, windows=2)
    assert result.frame.unique_id.unique().tolist() == ["a", "b", "half"]


@pytest.mark.parametrize("fill", ["raise", "mask"])
@pytest.mark.parametrize("winner", ["linear", "seasonal naive", "mine"])
def test_a_comparison_forecasts_series_that_it_cannot_score(df, winner, fill):
    known = {} if winner != "mine" else {"mine": forecaster(validation=0, levels=())}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = compare(
            df,
            HORIZON,
            windows=1,
            columns=Columns(fill=fill),
            contenders=[] if known else [winner],
            forecasters=known,
            progress=False,
        )
    told = [str(each.message) for each in warned if each.category is SkippedSeriesWarning]
    assert len(told) == 1
    assert told[0].startswith("2 of 5 series are too short")
    assert result.winner == winner
    assert result.forecast.unique_id.unique().tolist() == ["a", "b", *SHORT]
    assert result.forecast.yhat.notna().all()


def test_a_comparison_can_skip_short_series(df):
    with pytest.warns(SkippedSeriesWarning):
        result = compare(
            df,
            HORIZON,
            windows=1,
            columns=Columns(short_series="skip"),
            contenders=["naive"],
            progress=False,
        )
    assert result.forecast.unique_id.unique().tolist() == ["a", "b", "half"]


def test_insample_omits_them_with_a_warning(fitted, df):
    with pytest.warns(UserWarning, match="3 of 5 series are too short and were skipped"):
        frame = insample(fitted, df)
    assert frame.unique_id.unique().tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("settings", "rows", "message"),
    [
        (
            {"horizon": 30},
            {"one": 40},
            r"61 rows \(lookback 1 .* held out 30\).* a smaller horizon, or",
        ),
        (
            {"horizon": 90},
            {"one": 40, "two": 9},
            r"181 rows .* 'one' with 40.* a smaller horizon\.$",
        ),
        (
            {"horizon": 4, "lookback": 50},
            {"one": 40, "two": 9},
            r"58 rows \(lookback 50 .*smaller lookback or horizon\.$",
        ),
    ],
)
def test_where_no_series_is_long_enough_a_message_says_what_would_be(settings, rows, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ShortSeriesWarning)  # nothing is forecast, so no warning
        with pytest.raises(DataError, match=message):
            Forecaster(**settings, intervals=(80,)).fit(joined(**rows))

"""What repeats itself is forecast exactly, in every unit, by everything that forecasts."""

import copy
import functools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.forecasters import flat_forecaster
from seqkeras.errors import LostChangesWarning
from seqkeras.forecasting import Columns, Forecaster, components, evaluate_holdout
from seqkeras.forecasting.networks._predict import NetworkForecast
from seqkeras.forecasting.networks._units import Units, scaler_for
from seqkeras.windows import GroupedArray

ROWS = 48
SEASON = 4
HORIZON = 6
CYCLE = [0.0, 1.3, 5.0, 0.1 + 0.2]
#: The changes of a panel, by series; the last three repeat themselves.
SERIES = {
    "walk": np.random.default_rng(0).normal(size=ROWS).cumsum(),
    "cycle": np.tile(CYCLE, ROWS // SEASON),
    "flat": np.full(ROWS, 1e-3),
    "none": np.zeros(ROWS),
}
EXACT = ("cycle", "flat", "none")
quick = functools.partial(
    flat_forecaster,
    lookback=12,
    season_length=SEASON,
    units=2,
    epochs=2,
    levels=(80,),
    seed=0,
    progress=False,
)


def units_of(series, *, lookback=12, steps=HORIZON, season_length=SEASON):
    grouped = GroupedArray.from_series([series])
    scaler = scaler_for(grouped, None, season_length)
    windows = np.asarray(series, np.float64)[np.newaxis, -lookback:]
    return Units.of(scaler, windows, season_length=season_length, steps=steps)


@examples(20)
@given(
    level=st.sampled_from([0.0, 7.0, -1e4, 20.1]),
    size=st.sampled_from([1e-3, 1.0, 1e5]),
    noise=st.sampled_from([0, 1, -2]),
)
def test_what_a_network_repeats_is_the_value_itself(level, size, noise):
    """Also where it is the mean of an ensemble, and off by some steps of float32."""
    series = level + size * np.random.default_rng(0).normal(size=30)
    series[-9:] = level
    units = units_of(series, season_length=1)
    scaled = units.scaler.transform_batch(units.season).astype(np.float32)
    scaled += noise * np.spacing(scaled)
    assert units.restore(scaled.astype(np.float64)).tolist() == [[level] * HORIZON]


def test_what_a_network_adds_is_added():
    series = np.random.default_rng(0).normal(size=40)
    units = units_of(series)
    scaled = units.scaler.transform_batch(units.season) + 0.25
    expected = np.resize(series[-SEASON:], HORIZON) + 0.25 * series.std()
    np.testing.assert_allclose(units.restore(scaled)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1024.0, 1e6])
@pytest.mark.parametrize("lookback", [SEASON, SEASON + 1, 12])
def test_series_that_repeat_are_forecast_exactly_whatever_a_network_adds(name, unit, lookback):
    series = SERIES[name][: ROWS - 1] * unit
    units = units_of(series, lookback=lookback)
    assert units.scale.tolist() == [[0]]
    assert units.restore(np.full((1, HORIZON), 0.3)).tolist() == [
        np.resize(series[-SEASON:], HORIZON).tolist()
    ]


def test_a_repeating_series_that_has_changed_is_scaled_by_what_is_read():
    grouped = GroupedArray.from_series([np.full(30, 5.0)])
    scaler = scaler_for(grouped, None, SEASON)
    window = np.array([[5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 6.0, 8.0]])
    for unit in (1.0, 1e-3, 1e3):
        units = Units.of(scaler, window * unit, season_length=SEASON, steps=2)
        np.testing.assert_allclose(units.scale, [[window.std() * unit]])


def test_a_window_of_one_season_that_has_changed_is_not_exact():
    scaler = scaler_for(GroupedArray.from_series([SERIES["cycle"]]), None, SEASON)
    for change in ([0, 0, 0, 1e-3], [1, 1, 1, 1]):
        window = np.array([CYCLE]) + change
        units = Units.of(scaler, window, season_length=SEASON, steps=2)
        np.testing.assert_allclose(units.scale, [[window.std()]])


def test_two_equal_seasons_are_needed_to_call_a_series_exact():
    seasons = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert scaler_for(GroupedArray.from_series([seasons * 2]), None, 6).constant_.all()
    short = GroupedArray.from_series([[*seasons, 1.0, 2.0]])
    assert not scaler_for(short, None, 6).constant_.any()


def test_a_missing_target_is_the_value_of_the_season_before():
    series = SERIES["cycle"].copy()
    series[-5:] = np.nan
    assert units_of(series).season.tolist() == [np.resize(CYCLE, HORIZON).tolist()]


def test_errors_of_rounding_are_none_where_a_forecast_has_no_width():
    forecast = NetworkForecast(np.ones((1, 3)), np.zeros((1, 3)), np.zeros((1, 3)), 1e-6)
    errors = forecast.in_widths(np.array([[1e-7, np.nan, -0.5]]))
    assert errors[0, 0] == 0
    assert np.isnan(errors[0, 1])
    assert errors[0, 2] < -1e100


INTERMITTENT = np.zeros(40)
INTERMITTENT[[3, 11, 18]] = [1, 2, 1]
ALONE = {
    "intermittent": (INTERMITTENT, {"season_length": 1}),
    "plateau": (np.repeat([7.0, 3.0], [25, 20]), {"season_length": 1, "architecture": "recursive"}),
    "cycle": (SERIES["cycle"], {"likelihood": "gaussian"}),
    "ensemble": (SERIES["cycle"] / 3, {"architecture": ["multi_output"] * 3}),
    "recorded": (SERIES["cycle"] + np.arange(ROWS) % 3 * 4e-7, {}),
}


@pytest.mark.parametrize("name", ALONE)
def test_an_exact_forecast_is_scored_as_right(name):
    values, options = ALONE[name]
    df = pd.DataFrame({"ds": range(len(values)), "y": values})
    forecaster = quick(3, **{"lookback": 8, "epochs": 1} | options)
    result = evaluate_holdout(forecaster, df)
    scores = result.scores.loc["seqkeras"]
    assert scores[["MAE", "sMAPE", "in 80 %"]].tolist() == [0, 0, 100]
    np.testing.assert_allclose(result.forecast.yhat, values[-3:], atol=1e-6)
    if name != "recorded":
        assert result.forecast.yhat.tolist() == values[-3:].tolist()


def panel(unit=1.0, rows=ROWS):
    """Return the series in a unit, with rows after those of `SERIES` that go on repeating."""
    frames = [
        pd.DataFrame({"unique_id": name, "ds": range(rows), "y": unit * np.resize(values, rows)})
        for name, values in SERIES.items()
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def fitted():
    return quick(HORIZON).fit(panel())


def by_series(forecast):
    return forecast.set_index("unique_id").drop(columns="ds")


def test_a_panel_has_the_same_forecast_in_every_unit(fitted):
    """And what repeats itself is exact beside what does not, without any width."""
    forecast = by_series(fitted.predict())
    for name in EXACT:
        expected = np.resize(SERIES[name][-SEASON:], HORIZON)
        for column in forecast:
            assert forecast.loc[name, column].tolist() == expected.tolist(), (name, column)
    assert (forecast.loc["walk"]["yhat-hi-80"] > forecast.loc["walk"]["yhat-lo-80"]).all()
    assert (forecast.loc["walk"].yhat != np.resize(SERIES["walk"][-SEASON:], HORIZON)).any()
    other = by_series(quick(HORIZON).fit(panel(1e3)).predict())
    np.testing.assert_allclose(other / 1e3, forecast, rtol=1e-3, atol=1e-12)


def test_all_that_forecast_agree_on_series_that_repeat(fitted, tmp_path):
    fitted.save(tmp_path / "f")
    loaded = Forecaster.load(tmp_path / "f")
    expected = fitted.predict()
    pd.testing.assert_frame_equal(loaded.predict(), expected)
    stepped = loaded.stepper().predict()
    for name, values in stepped.items():
        np.testing.assert_allclose(values.ravel(), expected[name], rtol=1e-5)
        assert values[1:].ravel().tolist() == expected[name][HORIZON:].tolist()
    parts = components(fitted).frame
    assert parts["yhat"].tolist() == expected["yhat"].tolist()
    apart = fitted.predict(df=panel()[lambda df: df.unique_id == "cycle"])
    assert apart.yhat.tolist() == expected.yhat[expected.unique_id == "cycle"].tolist()


def test_updates_keep_exact_series_exact_and_follow_those_that_change(fitted):
    newer = panel(rows=ROWS + HORIZON)[lambda df: df.ds >= ROWS]
    moved = newer.unique_id == "flat"
    newer.loc[moved, "y"] = 1e-3 + np.arange(HORIZON)
    stepper = fitted.stepper()
    for _, rows in newer.groupby("ds"):
        stepper.update(dict(zip(rows.unique_id, rows.y, strict=True)))
    updated = copy.copy(fitted).update(newer)
    forecast = updated.predict()
    for name, values in stepper.predict().items():
        np.testing.assert_allclose(values.ravel(), forecast[name], rtol=1e-5, atol=1e-6)
    names = list(SERIES)
    factor = updated.intervals_.factor[:, 0]
    assert factor[names.index("cycle")] == factor[names.index("none")] < 1
    assert factor[names.index("flat")] > 1
    forecast = by_series(forecast)
    cycle = np.resize(np.roll(CYCLE, -HORIZON % SEASON), HORIZON)
    assert forecast.loc["cycle", "yhat-lo-80"].tolist() == cycle.tolist()
    flat = forecast.loc["flat"]
    assert (flat["yhat-hi-80"] - flat["yhat-lo-80"] > 0.1).all()
    assert flat.yhat.between(0, 2 * HORIZON).all()


def test_series_that_change_less_than_float32_can_tell_are_named(no_training):
    df = panel()
    df.loc[df.unique_id == "flat", "y"] = 1e9 + np.arange(ROWS) % 10
    with (
        pytest.warns(LostChangesWarning, match=r"'flat'.*changes by only 9 at a level of 1e\+09"),
        pytest.raises(pytest.fail.Exception, match="a network is trained"),
    ):
        quick(HORIZON).fit(df, columns=Columns(id="unique_id"))

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from seqkeras.forecasting.fitting._season import has_season
from seqkeras.windows import GroupedArray

WEEK = np.array([5.0, 6.0, 7.0, 6.0, 8.0, 2.0, 1.0])


def autoregressive(rows, seed):
    noise = np.random.default_rng(seed).normal(size=rows)
    values = np.zeros(rows)
    for row in range(1, rows):
        values[row] = 0.9 * values[row - 1] + noise[row]
    return values


def seasonal(*series, season_length=7):
    return has_season(GroupedArray.from_series(series), season_length)


def test_most_series_without_a_season_are_recognized():
    assert np.mean([seasonal(autoregressive(400, seed)) for seed in range(100)]) < 0.3


@given(st.integers(0, 2**16), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_a_season_is_found_at_any_level_with_any_trend_and_in_any_unit(seed, level, unit):
    noise = np.random.default_rng(seed).normal(size=70)
    values = np.tile(WEEK, 10) + 0.3 * noise + 0.1 * np.arange(70)
    assert seasonal(unit * (values + level))


def test_series_of_a_panel_support_each_other():
    random = np.random.default_rng(0)
    series = [0.15 * np.tile(WEEK, 9) + random.normal(size=63) for _ in range(60)]
    assert np.mean([seasonal(one) for one in series]) < 0.8
    assert seasonal(*series)


def test_missing_values_hide_no_season():
    values = np.tile(WEEK, 10)
    values[[3, 20, 21, 22, 50]] = np.nan
    assert seasonal(values)
    hidden = autoregressive(400, 2)
    assert not seasonal(hidden)
    hidden[::11] = np.nan
    assert not seasonal(hidden)


@pytest.mark.parametrize(
    "values", [WEEK, np.full(50, 3.0), np.arange(50.0), np.full(50, np.nan), np.zeros(1)]
)
def test_where_nothing_speaks_against_a_season_it_is_assumed(values):
    assert seasonal(values)


def test_a_forecaster_assumes_no_season_that_the_series_does_not_have(capsys):
    df = pd.DataFrame({"ds": pd.date_range("2020", periods=120), "y": autoregressive(120, 2)})
    options = {"lookback": 14, "architecture": dense, "epochs": 1, "seed": 0}
    assert flat_forecaster(5, **options).fit(df).season_length_ == 1
    assert "do not repeat after 7 timesteps" in capsys.readouterr().err
    assert flat_forecaster(5, **options, season_length=7).fit(df).season_length_ == 7
    assert "do not repeat" not in capsys.readouterr().err
    assert (
        flat_forecaster(5, **options).fit(df.assign(y=np.tile(WEEK, 18)[:120])).season_length_ == 7
    )

import functools
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError, MissingDependencyError
from seqkeras.forecasting import Columns, Forecaster
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.calendars._calendar_features import choose
from seqkeras.forecasting.calendars._holidays import _dates, count
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.forecasting.networks._features import covariate_columns

quick = functools.partial(
    flat_forecaster, 7, lookback=14, units=2, levels=(), validation=0, seed=0, progress=False
)


def counts_of(times, name="holidays:DE"):
    return count(name, times, Calendar.of(times, np.array([0, len(times)]))).tolist()


def test_a_day_is_a_holiday_or_not():
    days = pd.date_range("2024-12-23", periods=5, freq="D")
    assert counts_of(days) == [0, 0, 1, 1, 0]
    assert counts_of(days.to_period("D")) == [0, 0, 1, 1, 0]
    # A holiday of Bavaria and not of Germany.
    days = pd.date_range("2024-01-05", periods=3, freq="D")
    assert counts_of(days) == [0, 0, 0]
    assert counts_of(days, "holidays:DE-BY") == [0, 1, 0]


def test_hours_count_the_day_by_the_clock_of_their_zone():
    hours = pd.date_range("2023-12-31 22:00", periods=4, freq="h", tz="UTC")
    assert counts_of(hours) == [0, 0, 1, 1]
    assert counts_of(hours.tz_convert("Europe/Berlin")) == [0, 1, 1, 1]
    assert sum(counts_of(pd.date_range("2024-12-20", periods=240, freq="h"))) == 48


@pytest.mark.parametrize(
    ("freq", "start", "counts"),
    [
        ("W-SUN", "2024-12-22", [0, 2, 1, 0]),  # weeks that end here
        ("MS", "2024-03-01", [1, 1, 3, 0]),
        ("ME", "2024-03-31", [1, 1, 3, 0]),
        ("QS", "2024-01-01", [2, 4, 0, 3]),
        ("YE", "2024-12-31", [9, 9, 9, 9]),
        ("2D", "2024-12-22", [0, 1, 1, 0]),
        ("B", "2024-12-24", [0, 1, 1, 0]),
    ],
)
def test_longer_steps_count_the_holidays_in_them(freq, start, counts):
    times = pd.date_range(start, periods=4, freq=freq)
    actual = count("holidays:DE", times, Calendar(str(times.dtype), freq))
    assert actual.tolist() == counts
    if freq in ("MS", "ME", "QS"):
        assert counts_of(times.to_period(freq[0])) == counts


def test_an_unknown_place_is_refused_before_anything_is_read():
    daily = Calendar("datetime64[us]", "D")
    assert choose(["auto", "holidays:DE-BY"], daily, 100) == ("day_of_week", "holidays:DE-BY")
    for name in ("holidays:XX", "holidays:DE-ZZ"):
        with pytest.raises(ArgumentError, match="a place that has holidays"):
            choose(name, daily, 100)
    for name in ("holidays", "holidays:", "holidays:germany", "holiday:DE"):
        with pytest.raises(ArgumentError, match="calendar must be one of"):
            choose(name, daily, 100)
    with pytest.raises(ArgumentError, match="integer timestamps, which have no calendar"):
        choose("holidays:DE", Calendar("int64", "1"), 100)


@pytest.mark.usefixtures("compiled")
def test_a_forecast_knows_the_holidays_of_its_horizon(tmp_path, monkeypatch):
    days = pd.date_range("2022-12-01", "2024-12-21", freq="D")
    closed = np.array(counts_of(days))
    noise = np.random.default_rng(0).normal(0, 0.1, len(days))
    df = pd.DataFrame({"ds": days, "y": 10.0 - 8 * closed + noise})
    fitted = quick(units=4, epochs=4, learning_rate=0.03).fit(
        df, columns=Columns(calendar="holidays:DE")
    )
    forecast = fitted.predict()
    assert set(np.argsort(forecast.yhat)[:2]) == {3, 4}  # the 25th and the 26th
    fitted.save(tmp_path / "f.zip")
    _dates.cache_clear()
    monkeypatch.setitem(sys.modules, "holidays", None)
    loaded = Forecaster.load(tmp_path / "f.zip")
    with pytest.raises(MissingDependencyError, match=r'pip install "seqkeras\[holidays\]"'):
        loaded.predict()
    with pytest.raises(MissingDependencyError):
        quick(epochs=1).fit(df, columns=Columns(calendar="holidays:DE"))
    monkeypatch.undo()
    pd.testing.assert_frame_equal(loaded.predict(), forecast, rtol=1e-5)


def test_holidays_are_one_column_among_pairs_of_sine_and_cosine(panel):
    columns = Columns(future=["promo"], calendar=["day_of_week", "holidays:DE", "month"])
    read = read_panel(panel.assign(promo=list("ab" * 105)), columns)
    other = replace(read.covariates, categories={"promo": ("b", "c", "d")})
    known = read.covariates.recode(read.known, other).rows.values
    assert known.shape[1] == other.future_width == 3 + 2 + 1 + 2
    np.testing.assert_array_equal(known[:, 3:], read.known.rows.values[:, 2:])
    places = {part.name: part.columns["future"] for part in covariate_columns(read, masked=False)}
    assert places["calendar_day_of_week"] == slice(2, 4)
    assert places["calendar_holidays:DE"] == slice(4, 5)
    assert places["calendar_month"] == slice(5, 7)

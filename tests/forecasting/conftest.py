"""Frames that several test files need."""

import numpy as np
import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from helpers.models import training_eagerly


def series_frame(rows: int, *, start: str = "2020-01-01", freq: str = "D", seed: int = 0):
    """One series in the columns ds and y: a trend, a wave of 7 and noise."""
    noise = np.random.default_rng(seed).normal(0, 0.1, rows)
    step = np.arange(rows)
    values = 10 + 0.05 * step + np.sin(2 * np.pi * step / 7) + noise
    return pd.DataFrame({"ds": pd.date_range(start, periods=rows, freq=freq), "y": values})


def panel_frame():
    """Three series of other lengths, starts and sizes, their rows interleaved by time."""
    frames = [
        series_frame(60 + 10 * i, start=f"2020-01-{1 + 3 * i:02d}", seed=i).assign(
            unique_id=name, y=lambda df, i=i: df.y * 10**i
        )
        for i, name in enumerate(["a", "b", "c"])
    ]
    return pd.concat(frames).sort_values("ds", kind="stable").reset_index(drop=True)


@pytest.fixture(scope="module", autouse=True)
def eagerly():
    """Train without compiling, as these tests do not depend on how steps run."""
    with training_eagerly():
        yield


@pytest.fixture
def compiled():
    """Compile after all, for training of many steps."""
    with training_eagerly(False):
        yield


@pytest.fixture
def no_training(monkeypatch):
    """Fails where a network would be trained."""

    def fails(*given, **options):
        pytest.fail("a network is trained")

    monkeypatch.setattr("seqkeras.forecasting.fitting._fit.train", fails)


@pytest.fixture
def one() -> pd.DataFrame:
    return series_frame(90)


@pytest.fixture
def panel() -> pd.DataFrame:
    return panel_frame()


def fit(df):
    with training_eagerly():
        return flat_forecaster(5, lookback=14, units=4, epochs=3, seed=0, progress=False).fit(df)


@pytest.fixture(scope="session")
def fitted_series():
    """A forecaster of the series `one`, for all tests: those that change it take a `copy`."""
    return fit(series_frame(90))


@pytest.fixture(scope="session")
def fitted_panel():
    """A forecaster of the series in `panel`, for all tests: those that change it take a `copy`."""
    return fit(panel_frame())

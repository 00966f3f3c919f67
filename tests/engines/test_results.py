"""Tests that each engine gives what one process gives, to the bit."""

import threading

import keras
import numpy as np
import pandas as pd
import pytest

from seqkeras.anomaly import ForecastDetector
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns, Forecaster, Network, Training, backtest, compare
from seqkeras.forecasting.networks._predict import BATCH

TRAINING = Training(epochs=2, progress=False)
LOCK = threading.Lock()


def frame(series, rows):
    """Waves of different speeds and sizes."""
    number, step = np.divmod(np.arange(series * rows), rows)
    return pd.DataFrame(
        {
            "unique_id": number,
            "ds": step,
            "y": (1 + number % 7) * np.sin(step / (1 + number % 5)) + number % 11,
            "promotion": np.sin(step / 3),
            "remark": [LOCK] * len(step),  # a column that is not read, and cannot be sent
        }
    )


def forecaster(**options):
    training = {"lookback": 8, "network": Network(units=4), "training": TRAINING, "seed": 0}
    return Forecaster(2, **training | options)


def assert_same(left, right):
    pd.testing.assert_frame_equal(left, right, check_exact=True)


@pytest.fixture(scope="module")
def folds():
    """A backtest in this process."""
    columns = Columns(freq=1, future=("promotion",))
    arguments = {"windows": 2, "refit": True, "columns": columns}
    return arguments, backtest(forecaster(), frame(3, 40), **arguments)


@pytest.fixture(scope="module")
def stored(folds, tmp_path_factory):
    """The folder of the same backtest."""
    folder = tmp_path_factory.mktemp("stored")
    backtest(forecaster(), frame(3, 40), **folds[0], folder=folder)
    return folder


def test_a_backtest(engine, folds, tmp_path):
    arguments, serial = folds
    for _ in range(2):  # the second one reads the folder
        result = backtest(forecaster(), frame(3, 40), **arguments, engine=engine, folder=tmp_path)
        assert_same(result.frame, serial.frame)
        assert_same(result.scores, serial.scores)
        assert_same(result.by_series, serial.by_series)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"windows": 3},
        {"step": 1},
        {"columns": Columns(freq=1)},
        {"forecaster": forecaster(seed=1)},
        {"forecaster": forecaster(network=Network(units=5))},
        {"forecaster": forecaster(training=Training(epochs=3, progress=False))},
        {"df": frame(3, 40).assign(y=lambda df: df.y + (df.index == 100) * 1e-9)},
        {"df": frame(3, 41)},
    ],
)
def test_a_folder_of_another_backtest_is_refused(change, folds, stored, monkeypatch):
    monkeypatch.setattr(
        "seqkeras.forecasting.evaluation._backtest.run_fold", lambda *_: pytest.fail("a fit")
    )
    arguments = {"forecaster": forecaster(), "df": frame(3, 40), **folds[0]} | change
    with pytest.raises(ArgumentError, match="folder must be empty, or that of an earlier backtest"):
        backtest(**arguments, folder=stored)


@pytest.fixture(scope="module")
def fitted():
    columns = Columns(freq=1, future=("promotion",))
    return forecaster().fit(frame(3, 40), columns=columns)


def test_forecasts_of_many_series(engine, fitted, tmp_path):
    series = frame(BATCH + 900, 9)
    future = fitted.future_frame(df=series).assign(promotion=0.5)
    serial = fitted.predict(series, future=future)
    for _ in range(2):
        assert_same(fitted.predict(series, future=future, engine=engine, folder=tmp_path), serial)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ArgumentError, match="other data"):
        fitted.predict(series, future=future.assign(promotion=0.6), engine=engine, folder=tmp_path)


def test_forecasts_of_paths_are_drawn_in_the_same_batches(joblib_engine):
    drawn = forecaster(network="recursive", likelihood="gaussian", intervals=(), lookback=4)
    drawn.fit(frame(2, 30), columns=Columns(freq=1))
    series = frame(4000, 4)
    assert_same(drawn.predict(series, engine=joblib_engine), drawn.predict(series))


def test_scores_of_detectors(engine, tmp_path):
    series = [frame(1, 20_000).y.to_numpy() + number for number in range(5)]
    detector = ForecastDetector(20, horizon=2, units=4, training=TRAINING, seed=0)
    detector.fit(series[0][:400])
    serial = detector.decision_function(series)
    for _ in range(2):
        scores = detector.decision_function(series, engine=engine, folder=tmp_path)
        for part, expected in zip(scores, serial, strict=True):
            np.testing.assert_array_equal(part, expected)
    assert len(list(tmp_path.iterdir())) == 2
    # A threshold changes no score, so the folder serves it as well.
    detector.set_threshold(2.0)
    for part, expected in zip(
        detector.predict(series, engine=engine, folder=tmp_path), serial, strict=True
    ):
        np.testing.assert_array_equal(part, expected > 2.0)
    assert detector.intervals(series, engine=engine) == detector.intervals(series)


def test_a_comparison(engine, tmp_path):
    arguments = {
        "contenders": ["naive", "seasonal naive", "linear"],
        "forecasters": {"../small": forecaster()},
        "columns": Columns(freq=1),
        "progress": False,
    }
    serial = compare(frame(3, 40), 2, **arguments)
    assert (serial.scores.why == "").all()
    for _ in range(2):
        result = compare(frame(3, 40), 2, **arguments, engine=engine, folder=tmp_path)
        assert_same(result.scores.drop(columns="seconds"), serial.scores.drop(columns="seconds"))
        assert_same(result.forecast, serial.forecast)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"compare-{number}.result" for number in range(1, 5)
    ]


def test_a_network_with_a_layer_of_the_user(joblib_engine):
    @keras.saving.register_keras_serializable("tests_of_engines")
    class Doubling(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    inputs = keras.Input((8, 1), name="inputs")
    outputs = keras.layers.Dense(2)(keras.layers.LSTM(3)(Doubling()(inputs)))
    own = forecaster(network=keras.Model(inputs, outputs), season_length=1)
    arguments = {"windows": 2, "refit": True, "columns": Columns(freq=1)}
    serial = backtest(own, frame(2, 40), **arguments)
    assert_same(backtest(own, frame(2, 40), **arguments, engine=joblib_engine).frame, serial.frame)

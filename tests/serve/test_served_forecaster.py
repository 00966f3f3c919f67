"""A service of a forecaster gives what its stepper gives."""

import numpy as np
import pandas as pd
import pytest

from helpers.forecasters import flat_forecaster
from helpers.models import training_eagerly
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._served_forecaster import ServedForecaster
from seqkeras.serve._service import load_model
from seqkeras.serve._sessions import Call, Sessions

HORIZON = 3
IDS = ("east", "west")


def shops(rows=60):
    frames = []
    for number, name in enumerate(IDS):
        random = np.random.default_rng(number)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": name,
                    "ds": pd.date_range("2024-01-01", periods=rows),
                    "y": 5 + random.normal(size=rows),
                    "visits": random.normal(size=rows),
                    "price": random.random(rows),
                    "kind": random.choice(["a", "b"], rows),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def forecaster():
    options = {"units": 4, "epochs": 1, "lookback": 6, "progress": False, "seed": 0}
    columns = Columns(past=["visits"], future=["price"], calendar=["day_of_week"])
    with training_eagerly():
        return flat_forecaster(HORIZON, **options).fit(shops(), columns=columns)


@pytest.fixture(scope="module")
def path(forecaster, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "shops.forecaster"
    forecaster.save(path)
    return path


@pytest.fixture
def sessions(path):
    return Sessions(load_model(str(path)))


def observation(i):
    return {"y": 5.0 + i, "visits": 0.5, "price": [0.1 * i + 0.1 * j for j in range(HORIZON + 1)]}


def expected(forecaster, identity, count):
    stepper = forecaster.stepper()
    for i in range(count):
        x = observation(i)
        forecast = stepper.step(
            [x["y"]],
            ids=[identity],
            covariates={"visits": [0.5], "price": [x["price"][0]]},
            future={"price": [x["price"][1:]]},
        )
    return {name: values[0] for name, values in forecast.items()}


def test_a_session_gives_the_forecasts_of_its_series(forecaster, sessions):
    for i in range(4):
        for identity in IDS:
            moved = sessions.step(
                Call(f"/{identity}", sessions.model.read(observation(i)), i, identity)
            )
    written = sessions.model.write(moved.outputs[0])
    for name, values in expected(forecaster, "west", 4).items():
        np.testing.assert_allclose(written[name], values, rtol=1e-6)


def test_many_sessions_step_together(forecaster, sessions):
    calls = [Call(f"/{name}", sessions.model.read(observation(0)), 0, name) for name in IDS]
    outcomes = sessions.run(calls)
    for name, outcome in zip(IDS, outcomes, strict=True):
        forecast = expected(forecaster, name, 1)["yhat"]
        written = sessions.model.write(outcome.outputs[0])["yhat"]
        np.testing.assert_allclose(written, forecast, rtol=1e-6)


def test_clients_with_a_session_of_the_same_series_do_not_disturb_each_other(forecaster, sessions):
    rows = [sessions.model.read(observation(i)) for i in range(3)]
    for i in range(2):  # the first client is one step ahead
        sessions.run([Call("one/east", rows[i], i, "east")])
    calls = [
        Call("one/east", rows[2], 2, "east"),
        Call("two/east", rows[0], 0, "east"),
        Call("two/west", rows[0], 0, "west"),
    ]
    outcomes = sessions.run(calls)
    for (key, _, number, *_), outcome in zip(calls, outcomes, strict=True):
        forecast = expected(forecaster, key.partition("/")[2], number + 1)["yhat"]
        written = sessions.model.write(outcome.outputs[0])["yhat"]
        np.testing.assert_allclose(written, forecast, rtol=1e-6)


def test_a_rollout_is_the_newest_forecast(forecaster, sessions):
    model = sessions.model
    sessions.step(Call("/east", model.read(observation(0)), 0, "east"))
    rows = sessions.rollout("/east", 2, None, "east")
    np.testing.assert_allclose(
        [row["yhat"] for row in rows], expected(forecaster, "east", 1)["yhat"][:2], rtol=1e-6
    )
    with pytest.raises(ArgumentError, match="at most the horizon, 3"):
        sessions.rollout("/east", 4, None, "east")


def test_only_fitted_series_are_sessions(sessions):
    row = sessions.model.read(observation(0))
    with pytest.raises(RefusedError, match="Did you mean 'west'"):
        sessions.step(Call("/wes", row, 0, "wes"))
    assert sessions.count() == 0


def test_wrong_observations_are_refused(sessions):
    model = sessions.model
    with pytest.raises(ArgumentError, match=r"4 numbers, now and over the horizon"):
        model.read({**observation(0), "price": [1.0]})
    with pytest.raises(ArgumentError, match="names y, visits, price"):
        model.read({"y": 1.0})
    with pytest.raises(ArgumentError, match="6 numbers"):
        model.read([1.0])


@pytest.mark.usefixtures("eagerly")
def test_a_fit_of_the_same_kind_continues_the_sessions(forecaster, path):
    again = flat_forecaster(HORIZON, units=4, epochs=2, lookback=6, progress=False, seed=1).fit(
        shops(), columns=Columns(past=["visits"], future=["price"], calendar=["day_of_week"])
    )
    assert ServedForecaster(again).fingerprint == load_model(str(path)).fingerprint


@pytest.mark.usefixtures("eagerly")
def test_text_covariates_are_refused():
    forecaster = flat_forecaster(2, units=2, epochs=1, lookback=4, progress=False)
    forecaster.fit(shops(), columns=Columns(past=["kind"]))
    with pytest.raises(ArgumentError, match="covariates are numbers"):
        ServedForecaster(forecaster)

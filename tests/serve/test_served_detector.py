"""A service of a detector gives the scores of its stepper, without Keras."""

import subprocess
import sys

import numpy as np
import pytest

from seqkeras.anomaly import ForecastDetector
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Training
from seqkeras.serve._service import load_model
from seqkeras.serve._sessions import Call, Sessions


@pytest.fixture(scope="module")
def stepper():
    x = np.stack([np.sin(np.arange(300) / 5), np.cos(np.arange(300) / 5)], axis=1)
    training = Training(epochs=1, progress=False)
    return ForecastDetector(10, units=4, training=training, seed=0).fit(x).stepper()


@pytest.fixture(scope="module")
def path(stepper, tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "pump.stepper"
    stepper.save(path)
    return str(path)


def rows(seed, count=12):
    return np.random.default_rng(seed).normal(size=(count, 2))


def test_each_session_has_the_scores_of_a_series_of_its_own(stepper, path):
    sessions = Sessions(load_model(path))
    model = sessions.model
    expected = {name: stepper.__copy__() for name in ("a", "b", "c")}
    for number in range(12):
        calls = [
            Call(f"/{name}", model.read(rows(seed)[number].tolist()), number)
            for seed, name in enumerate("ab")
        ]
        for seed, (name, moved) in enumerate(zip("ab", sessions.run(calls), strict=True)):
            score = expected[name].step(rows(seed)[number])
            written = model.write(moved.outputs[0])
            np.testing.assert_allclose(written["score"], score, rtol=1e-9)
            assert written["flagged"] == expected[name].flagged
    (moved,) = sessions.run([Call("/c", rows(2), 0)])
    scores = [expected["c"].step(row) for row in rows(2)]
    np.testing.assert_allclose(moved.outputs[:, 0], scores, rtol=1e-9)


def test_wrong_rows_and_rollouts_are_refused(path):
    sessions = Sessions(load_model(path))
    for wrong in ([1.0], [1.0, float("nan")], {"flow": 1.0}, ["a", 1.0]):
        with pytest.raises(ArgumentError, match="x must be"):
            sessions.model.read(wrong)
    sessions.run([Call("/a", sessions.model.read([0.0, 1.0]), 0)])
    with pytest.raises(ArgumentError, match="program or a forecaster"):
        sessions.rollout("/a", 2, None)


def test_it_is_served_without_keras(path):
    code = (
        "import sys; from seqkeras.serve._service import load_model; "
        f"model = load_model({path!r}); "
        "model.step(model.read([0.0, 1.0]), model.initial_state(['a'])); "
        "assert not {'keras', 'tensorflow', 'pandas', 'sklearn'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Detectors that several files of tests read, each fitted once; one of them compiles."""

import pytest

from helpers.anomalies import QUICK, wave, waves
from helpers.models import training_eagerly
from seqkeras.anomaly import AutoencoderDetector, ForecastDetector


@pytest.fixture(scope="session")
def series():
    return wave()


@pytest.fixture(scope="session")
def forecasts(series):
    with training_eagerly():
        return ForecastDetector(20, horizon=3, **QUICK).fit(series)


@pytest.fixture(scope="session")
def reconstructions(series):
    return AutoencoderDetector(20, latent=3, **QUICK).fit(series)


@pytest.fixture(scope="session")
def causal_reconstructions(series):
    with training_eagerly():
        return AutoencoderDetector(20, latent=3, causal=True, **QUICK).fit(series)


@pytest.fixture(scope="session")
def with_context():
    with training_eagerly():
        return ForecastDetector(20, horizon=3, scored=[0], **QUICK).fit(waves())


@pytest.fixture(
    scope="session",
    params=["forecasts", "reconstructions", "causal_reconstructions"],
)
def detector(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session", params=["forecasts", "causal_reconstructions"])
def causal_detector(request):
    return request.getfixturevalue(request.param)

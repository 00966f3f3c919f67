"""The adapter passes scikit-learn's checks, and turns the conventions around."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from helpers.anomalies import ALL_CHECKS, SPIKE
from seqkeras.anomaly import ForecastDetector
from seqkeras.forecasting import Training

#: Checks that treat samples as exchangeable, which timesteps are not.
IN_TIME = "the score of a timestep depends on the timesteps before it"
EXPECTED_FAILURES = {
    "check_methods_sample_order_invariance": IN_TIME,
    "check_methods_subset_invariance": IN_TIME,
}


@pytest.mark.usefixtures("eagerly")
@parametrize_with_checks(
    [
        ForecastDetector(
            2,
            horizon=1,
            units=1,
            cell="simple_rnn",
            training=Training(epochs=1, validation=0, progress=False),
            seed=0,
        ).as_sklearn()
    ],
    legacy=ALL_CHECKS,
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_conventions_are_those_of_outlier_detectors(detector, series):
    adapter = detector.as_sklearn()
    x = series[:, np.newaxis]
    labels = adapter.predict(x)
    np.testing.assert_array_equal(labels == -1, detector.labels_ == 1)
    assert labels[SPIKE] == -1
    np.testing.assert_allclose(adapter.score_samples(x), -detector.decision_scores_)
    np.testing.assert_allclose(
        adapter.decision_function(x), adapter.score_samples(x) - adapter.offset_
    )


@pytest.mark.usefixtures("eagerly")
def test_fitting_the_adapter_leaves_the_detector_alone(forecasts, series):
    adapter = forecasts.as_sklearn()
    before = forecasts.scorer_
    adapter.fit(series[:100, np.newaxis])
    assert forecasts.scorer_ is before
    assert adapter.detector_ is not forecasts
    with pytest.raises(ValueError, match="features"):
        adapter.predict(np.zeros((50, 2)))

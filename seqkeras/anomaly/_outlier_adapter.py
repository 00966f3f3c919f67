"""A detector with the conventions of scikit-learn's outlier detectors."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from seqkeras._arrays import Floats, Integers
from seqkeras._checks import bad_argument
from seqkeras.anomaly._detector_like import DetectorLike


class OutlierAdapter(OutlierMixin, BaseEstimator):
    """A detector in scikit-learn's conventions: low scores and -1 are anomalies, 1 is usual.

    Samples are the timesteps of one series, `(timesteps, features)`, in order of time: unlike those
    of other estimators they depend on each other. `Detector.as_sklearn` creates it.

    Args:
        detector: the detector; `fit` fits a copy.

    Attributes:
        detector_: the fitted detector.
        offset_: minus the threshold of the detector.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Example:
        >>> from seqkeras.anomaly import ForecastDetector
        >>> from seqkeras.forecasting import Training
        >>> x = np.sin(np.arange(300) / 5)
        >>> x[200] += 4
        >>> training = Training(epochs=1, progress=False)
        >>> options = {"units": 4, "smoothing": None, "training": training, "seed": 0}
        >>> detector = ForecastDetector(lookback=20, **options)
        >>> labels = detector.as_sklearn().fit_predict(x.reshape(-1, 1))
        >>> int(labels[200]), int(labels[100])
        (-1, 1)
    """

    def __init__(self, detector: DetectorLike) -> None:
        self.detector = detector

    def fit(self, X: Any, y: None = None) -> Self:  # noqa: N803
        """Fit a copy of the detector to one series.

        Args:
            X: `(timesteps, features)`, a frame or an array.
            y: not used.

        Raises:
            ValueError: a value or a parameter cannot be used.
        """
        if not hasattr(self.detector, "refit_threshold"):
            expected = "a detector of seqkeras.anomaly, such as ForecastDetector(100)"
            raise bad_argument("detector", self.detector, expected)
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self.detector_ = clone(self.detector).fit(rows)
        self.offset_ = -self.detector_.threshold_
        return self

    def score_samples(self, X: Any) -> Floats:  # noqa: N803
        """Return minus the score of each timestep: lower is more anomalous.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: X has other features than in `fit`, or values that cannot be used.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        return -self.detector_.decision_function(rows)

    def decision_function(self, X: Any) -> Floats:  # noqa: N803
        """Return how far the score of each timestep is below the threshold: negative if flagged."""
        scores = -self.score_samples(X)
        return np.asarray(self.detector_.rule_.values(scores) - scores)

    def predict(self, X: Any) -> Integers:  # noqa: N803
        """Return -1 for each flagged timestep, and 1 for the others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

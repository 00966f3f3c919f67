"""A detector that compares each timestep with forecasts of it."""

from typing import Any

import keras
import numpy as np

from seqkeras._arrays import Floats
from seqkeras._checks import check_flag, check_integer
from seqkeras.anomaly._detector import Detector, TrainingSeries
from seqkeras.anomaly._detector_settings import DetectorSettings
from seqkeras.anomaly._forecast_errors import ForecastErrors
from seqkeras.anomaly._forecast_inputs import ForecastInputs
from seqkeras.anomaly._linear_forecast import LinearForecast
from seqkeras.anomaly._network_program import program_of
from seqkeras.anomaly._residuals import ErrorMeasure
from seqkeras.anomaly._row_scaler import RowScaler
from seqkeras.anomaly._spread import centers_and_spreads
from seqkeras.anomaly._warmup import LEAST_SPREAD, fit_errors, with_warmup
from seqkeras.anomaly._window_training import train_on_windows
from seqkeras.models import many_to_many
from seqkeras.training import TrainingLog
from seqkeras.windows import GroupedArray

#: Windows of the training rows from which the errors at the start of a series are learned.
_STARTS = 64


class ForecastDetector(Detector):
    """Flags timesteps that differ from what a recurrent network forecasts, for series and streams.

    Each timestep is compared with the forecasts made 1 to `horizon` timesteps before it. A linear
    forecast from the last `lookback` rows is fitted in closed form (ridge regression); a recurrent
    network reads the rows one after the other, and learns what the linear forecast lacks. Training
    stops when forecasts of the held-out rows stop improving, and if the network is no better than
    the linear forecast, it changes nothing.

    Scores are causal by default: the score of a timestep depends on the timesteps up to it, and
    `stepper()` computes the same scores one timestep at a time.

    Args:
        lookback: timesteps that the linear forecast reads, and length of the windows that the
            network is trained on. Default 100.
        horizon: timesteps to forecast from each timestep, default 5.
        units: width of the recurrent layers; a tuple is a stack. Default 32.
        cell: `"gru"` (default), `"lstm"` or `"simple_rnn"`.
        linear_skip: whether to fit the linear forecast, default True. False: the network corrects a
            forecast that repeats the newest row.
        scored: names or positions of the features to score. The others are context: the network
            reads them, and their own anomalies do not count. None, the default: all.
        error: from the errors of all forecasts of a timestep to one: `"l1"` (default), `"l2"`,
            `"mahalanobis"`, `"nll"`, or an object such as `L1(scaled=False)`.
        smoothing: smoothing of the scores. `"auto"` (default): `ExponentialSmoothing(5.0)`, or
            `MovingAverage(35)` with `causal=False`; or one of these with other options; or None.
        fusion: `"amplitude"` (default) adds how far a value is from the usual level, as
            `AmplitudeFusion(weight=0.5)` does; or an `AmplitudeFusion`; or None: only the errors.
        causal: whether no score may depend on later timesteps, default True. Otherwise the local
            level of the fusion is centered, and smoothing may be.
        clean: whether the series of `fit` are known to hold no anomalies. False, the default: they
            may; extreme values are limited in training, and the threshold flags the share
            `contamination` of the timesteps. True: whatever they hold is usual; the threshold is
            `Conformal()`, on the held-out rows.
        contamination: share of timesteps to flag in `fit`, above 0 and at most 0.5, default 0.05.
            Not used with `clean=True` or a `threshold`.
        threshold: a threshold such as `KSigma(3.0)` instead. None: as `clean` says.
        training: a `Training`; `teacher_forcing` does not apply. None, the default:
            `Training(epochs=10, patience=3, progress=False)`.
        seed: seed of weights and shuffles, below 2**32; None for different ones each time.

    Attributes:
        decision_scores_: score of each timestep in `fit`, higher is more anomalous.
        threshold_: scores above it are flagged.
        labels_: 1 for each flagged timestep in `fit`, 0 for the others.
        rule_: the fitted threshold.
        model_: the trained `keras.Model`.
        log_: losses and the best epoch, a `TrainingLog`.
        n_features_in_: number of features.

    Example:
        >>> from seqkeras.forecasting import Training
        >>> x = np.sin(np.arange(600) / 5)
        >>> x[450] += 3
        >>> training = Training(epochs=1, progress=False)
        >>> options = {"units": 8, "smoothing": None, "training": training, "seed": 0}
        >>> detector = ForecastDetector(lookback=20, **options).fit(x)
        >>> int(detector.decision_scores_.argmax())
        450
        >>> stepper = detector.stepper()
        >>> scores = [stepper.step(value) for value in x]
        >>> bool(np.allclose(scores, detector.decision_function(x), atol=1e-6))
        True
    """

    _expected_name = "forecast"

    def __init__(
        self,
        lookback: int = 100,
        *,
        horizon: int = 5,
        units: int | tuple[int, ...] = 32,
        cell: str = "gru",
        linear_skip: bool = True,
        scored: Any = None,
        error: str | ErrorMeasure = "l1",
        smoothing: Any = "auto",
        fusion: Any = "amplitude",
        causal: bool = True,
        clean: bool = False,
        contamination: float = 0.05,
        threshold: Any = None,
        training: Any = None,
        seed: int | None = None,
    ) -> None:
        self.lookback = lookback
        self.horizon = horizon
        self.units = units
        self.cell = cell
        self.linear_skip = linear_skip
        self.scored = scored
        self.error = error
        self.smoothing = smoothing
        self.fusion = fusion
        self.causal = causal
        self.clean = clean
        self.contamination = contamination
        self.threshold = threshold
        self.training = training
        self.seed = seed

    def settings(self) -> DetectorSettings:
        """Check the parameters, and return those that all detectors share.

        Raises:
            ArgumentError: a parameter is invalid.
        """
        check_integer("horizon", self.horizon)
        check_flag("linear_skip", self.linear_skip)
        return super().settings()

    def _rows_needed(self, settings: DetectorSettings) -> int:
        return settings.lookback + self.horizon

    def _learn(
        self, series: TrainingSeries, settings: DetectorSettings, seed: int
    ) -> tuple[ForecastErrors, keras.Model, TrainingLog]:
        model = self._build(series, settings)
        inputs = self._inputs(series, settings)
        x = [inputs.read(_floats(rows))[0] for rows in series.values]
        y = [inputs.corrections(_floats(rows)) for rows in series.values]
        x = [rows[: len(targets)] for rows, targets in zip(x, y, strict=True)]
        log = train_on_windows(
            model,
            series,
            GroupedArray.from_series(x),
            GroupedArray.from_series(y),
            lookback=settings.lookback,
            training=settings.training,
            seed=seed,
        )
        errors = ForecastErrors(inputs, program_of(model), settings.error, np.ones(1))
        residuals = [errors.residuals(_floats(rows)) for rows in series.values]
        fit_errors(settings.error, np.concatenate(residuals))
        return with_warmup(errors, series.values, settings.lookback, _STARTS), model, log

    def _build(self, series: TrainingSeries, settings: DetectorSettings) -> keras.Model:
        features = series.values.values.shape[1]
        scored = len(series.scored)
        model = many_to_many(
            features + scored,
            outputs=self.horizon * scored,
            units=settings.units,
            cell=settings.cell,
            name="forecast_detector",
        )
        # The untrained network corrects nothing.
        head = model.get_layer("head")
        head.set_weights([np.zeros_like(array) for array in head.get_weights()])
        return model

    def _inputs(self, series: TrainingSeries, settings: DetectorSettings) -> ForecastInputs:
        scaler = RowScaler.fit(series.values.values, clean=settings.clean)
        scaled = scaler.clip(scaler.transform(series.values.values))[:, series.scored]
        own = GroupedArray(scaled, series.values.indptr)
        sizes = {"lookback": settings.lookback, "horizon": self.horizon}
        if self.linear_skip:
            held_out = series.tail(own, settings.lookback)
            linear = LinearForecast.fit(series.train(own), held_out, **sizes)
        else:
            linear = LinearForecast.nothing(len(series.scored), **sizes)
        ones = np.ones((self.horizon, len(series.scored)))
        inputs = ForecastInputs(scaler, series.scored, linear, ones)
        lacks = [inputs.corrections(_floats(rows)) for rows in series.values]
        unit = centers_and_spreads("X", np.concatenate(lacks))[1]
        unit = np.maximum(unit, LEAST_SPREAD).reshape(ones.shape)
        return ForecastInputs(scaler, series.scored, linear, unit)


def _floats(rows: Any) -> Floats:
    return np.asarray(rows, np.float64)

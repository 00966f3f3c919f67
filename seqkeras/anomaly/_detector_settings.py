"""The parameters of a detector, checked."""

import numbers
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from seqkeras._checks import bad_argument, check_flag, check_integer, check_one_of, check_seed
from seqkeras.anomaly._amplitude import AmplitudeFusion
from seqkeras.anomaly._residuals import L1, L2, ErrorMeasure, GaussianNLL, Mahalanobis
from seqkeras.anomaly._smoothing import ExponentialSmoothing, MovingAverage
from seqkeras.anomaly._thresholds import Conformal, Quantile, Threshold
from seqkeras.forecasting import Training
from seqkeras.layers import CELLS

#: Names of errors, the values of `error=...`.
ERRORS = {"l1": L1, "l2": L2, "mahalanobis": Mahalanobis, "nll": GaussianNLL}

#: The training of a detector, unless another is given.
EPOCHS = 10
PATIENCE = 3

#: Smoothing with `smoothing="auto"`: the half-life of a causal one, the window of another.
HALFLIFE = 5.0
WINDOW = 35
#: Share of the amplitude with `fusion="amplitude"`.
AMPLITUDE = 0.5


@dataclass(frozen=True)
class DetectorSettings:
    """The parameters that all detectors share, checked, with their defaults filled in.

    The pieces are copies, so fitting them changes no parameter.
    """

    lookback: int
    units: Any
    cell: str
    error: ErrorMeasure
    smoothing: Any
    fusion: AmplitudeFusion | None
    causal: bool
    clean: bool
    threshold: Threshold
    training: Training

    @classmethod
    def parse(cls, params: dict[str, Any]) -> "DetectorSettings":
        """Check the parameters of a detector.

        Raises:
            ArgumentError: a parameter is invalid.
        """
        causal = check_flag("causal", params["causal"])
        clean = check_flag("clean", params["clean"])
        check_seed(params["seed"])
        settings = cls(
            lookback=check_integer("lookback", params["lookback"], minimum=2),
            units=params["units"],
            cell=check_one_of("cell", params["cell"], CELLS),
            error=_error(params["error"]),
            smoothing=_smoothing(params["smoothing"], causal),
            fusion=_fusion(params["fusion"], causal),
            causal=causal,
            clean=clean,
            threshold=_threshold(params["threshold"], params["contamination"], clean),
            training=_training(params["training"]),
        )
        settings.training.check()
        return settings


def _error(error: Any) -> ErrorMeasure:
    if isinstance(error, ErrorMeasure):
        return deepcopy(error)
    if not isinstance(error, str):
        raise bad_argument("error", error, f"one of {list(ERRORS)}, or an object such as L1()")
    return ERRORS[check_one_of("error", error, ERRORS)]()


def _smoothing(smoothing: Any, causal: bool) -> Any:
    if smoothing is None:
        return None
    if smoothing == "auto":
        return ExponentialSmoothing(HALFLIFE) if causal else MovingAverage(WINDOW)
    if not isinstance(smoothing, ExponentialSmoothing | MovingAverage):
        expected = "'auto', ExponentialSmoothing(...), MovingAverage(...) or None"
        raise bad_argument("smoothing", smoothing, expected)
    if causal and not smoothing.causal:
        fix = "Use ExponentialSmoothing, or causal=False."
        raise bad_argument("smoothing", smoothing, "causal where causal=True", fix)
    return deepcopy(smoothing)


def _fusion(fusion: Any, causal: bool) -> AmplitudeFusion | None:
    if fusion is None:
        return None
    if fusion == "amplitude":
        return AmplitudeFusion(weight=AMPLITUDE, causal=causal)
    if not isinstance(fusion, AmplitudeFusion):
        raise bad_argument("fusion", fusion, "'amplitude', an AmplitudeFusion, or None")
    if causal and not fusion.causal:
        fix = "Use AmplitudeFusion(causal=True), or causal=False."
        raise bad_argument("fusion", fusion, "causal where causal=True", fix)
    return deepcopy(fusion)


def _threshold(threshold: Any, contamination: Any, clean: bool) -> Threshold:
    real = isinstance(contamination, numbers.Real) and not isinstance(contamination, bool)
    if not real or not 0 < float(contamination) <= 0.5:
        fix = "For data without anomalies use clean=True."
        raise bad_argument("contamination", contamination, "above 0 and at most 0.5", fix)
    return as_threshold(threshold, Conformal() if clean else Quantile(float(contamination)))


def as_threshold(threshold: Any, default: Threshold) -> Threshold:
    """Return a copy of a threshold, or the default for None.

    Raises:
        ArgumentError: it is neither None nor a threshold.
    """
    if threshold is None:
        return default
    if not isinstance(threshold, Threshold):
        fix = "To set a number, use set_threshold(number) after fit."
        raise bad_argument("threshold", threshold, "a threshold such as KSigma(3.0)", fix)
    return deepcopy(threshold)


def _training(training: Any) -> Training:
    if training is None:
        return Training(epochs=EPOCHS, patience=PATIENCE, progress=False)
    if not isinstance(training, Training):
        fix = "Use training=Training(epochs=50), for example."
        raise bad_argument("training", training, "a Training", fix)
    return training

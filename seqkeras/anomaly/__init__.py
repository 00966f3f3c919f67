"""Anomaly detection: detectors, and the pieces that turn their residuals into alarms."""

from typing import TYPE_CHECKING

from seqkeras._lazy import attach

# Needs only NumPy, and makes each kind of piece known to `piece_from_state`.
from seqkeras.anomaly import _amplitude, _overlap, _residuals, _smoothing, _thresholds  # noqa: F401

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from seqkeras.anomaly._alarms import Alarm as Alarm
    from seqkeras.anomaly._alarms import find_alarms as find_alarms
    from seqkeras.anomaly._amplitude import AmplitudeFusion as AmplitudeFusion
    from seqkeras.anomaly._autoencoder_detector import AutoencoderDetector as AutoencoderDetector
    from seqkeras.anomaly._detector import Detector as Detector
    from seqkeras.anomaly._detector_stepper import DetectorStepper as DetectorStepper
    from seqkeras.anomaly._detector_stepper import load_stepper as load_stepper
    from seqkeras.anomaly._embedding_plot import plot_embedding as plot_embedding
    from seqkeras.anomaly._forecast_detector import ForecastDetector as ForecastDetector
    from seqkeras.anomaly._outlier_adapter import OutlierAdapter as OutlierAdapter
    from seqkeras.anomaly._overlap import Overlap as Overlap
    from seqkeras.anomaly._piece import Piece as Piece
    from seqkeras.anomaly._piece import piece_from_state as piece_from_state
    from seqkeras.anomaly._residuals import L1 as L1
    from seqkeras.anomaly._residuals import L2 as L2
    from seqkeras.anomaly._residuals import ErrorMeasure as ErrorMeasure
    from seqkeras.anomaly._residuals import GaussianNLL as GaussianNLL
    from seqkeras.anomaly._residuals import Mahalanobis as Mahalanobis
    from seqkeras.anomaly._sequence_encoder import SequenceEncoder as SequenceEncoder
    from seqkeras.anomaly._smoothing import ExponentialSmoothing as ExponentialSmoothing
    from seqkeras.anomaly._smoothing import MovingAverage as MovingAverage
    from seqkeras.anomaly._thresholds import MAD as MAD
    from seqkeras.anomaly._thresholds import Conformal as Conformal
    from seqkeras.anomaly._thresholds import FBeta as FBeta
    from seqkeras.anomaly._thresholds import KSigma as KSigma
    from seqkeras.anomaly._thresholds import PeaksOverThreshold as PeaksOverThreshold
    from seqkeras.anomaly._thresholds import Quantile as Quantile
    from seqkeras.anomaly._thresholds import Threshold as Threshold

# Lazy, because detectors need Keras and the pieces only NumPy.
__getattr__, __dir__ = attach(
    __name__,
    {
        "_alarms": ("Alarm", "find_alarms"),
        "_amplitude": ("AmplitudeFusion",),
        "_autoencoder_detector": ("AutoencoderDetector",),
        "_detector": ("Detector",),
        "_detector_stepper": ("DetectorStepper", "load_stepper"),
        "_embedding_plot": ("plot_embedding",),
        "_forecast_detector": ("ForecastDetector",),
        "_outlier_adapter": ("OutlierAdapter",),
        "_overlap": ("Overlap",),
        "_piece": ("Piece", "piece_from_state"),
        "_residuals": ("ErrorMeasure", "GaussianNLL", "L1", "L2", "Mahalanobis"),
        "_sequence_encoder": ("SequenceEncoder",),
        "_smoothing": ("ExponentialSmoothing", "MovingAverage"),
        "_thresholds": (
            "MAD",
            "Conformal",
            "FBeta",
            "KSigma",
            "PeaksOverThreshold",
            "Quantile",
            "Threshold",
        ),
    },
)

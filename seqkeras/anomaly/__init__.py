"""Anomaly detection: pieces that turn residuals and scores into alarms."""

from seqkeras.anomaly._alarms import Alarm as Alarm
from seqkeras.anomaly._alarms import find_alarms as find_alarms
from seqkeras.anomaly._amplitude import AmplitudeFusion as AmplitudeFusion
from seqkeras.anomaly._overlap import Overlap as Overlap
from seqkeras.anomaly._piece import Piece as Piece
from seqkeras.anomaly._piece import piece_from_state as piece_from_state
from seqkeras.anomaly._residuals import L1 as L1
from seqkeras.anomaly._residuals import L2 as L2
from seqkeras.anomaly._residuals import ErrorMeasure as ErrorMeasure
from seqkeras.anomaly._residuals import GaussianNLL as GaussianNLL
from seqkeras.anomaly._residuals import Mahalanobis as Mahalanobis
from seqkeras.anomaly._smoothing import ExponentialSmoothing as ExponentialSmoothing
from seqkeras.anomaly._smoothing import MovingAverage as MovingAverage
from seqkeras.anomaly._thresholds import MAD as MAD
from seqkeras.anomaly._thresholds import Conformal as Conformal
from seqkeras.anomaly._thresholds import FBeta as FBeta
from seqkeras.anomaly._thresholds import KSigma as KSigma
from seqkeras.anomaly._thresholds import PeaksOverThreshold as PeaksOverThreshold
from seqkeras.anomaly._thresholds import Quantile as Quantile
from seqkeras.anomaly._thresholds import Threshold as Threshold

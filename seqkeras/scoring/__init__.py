"""Scores of forecasts and of anomaly detectors, and simple ones of both to compare with."""

from seqkeras.scoring._affiliation import (
    affiliation_precision_recall as affiliation_precision_recall,
)
from seqkeras.scoring._anomaly_points import PrecisionRecall as PrecisionRecall
from seqkeras.scoring._anomaly_points import best_threshold as best_threshold
from seqkeras.scoring._anomaly_points import (
    point_adjusted_precision_recall as point_adjusted_precision_recall,
)
from seqkeras.scoring._anomaly_points import point_precision_recall as point_precision_recall
from seqkeras.scoring._anomaly_ranges import overlap_precision_recall as overlap_precision_recall
from seqkeras.scoring._anomaly_ranges import range_precision_recall as range_precision_recall
from seqkeras.scoring._anomaly_report import AnomalyReport as AnomalyReport
from seqkeras.scoring._anomaly_report import anomaly_report as anomaly_report
from seqkeras.scoring._baselines import is_seasonal as is_seasonal
from seqkeras.scoring._baselines import naive as naive
from seqkeras.scoring._baselines import naive2 as naive2
from seqkeras.scoring._detection_times import false_alarms_per_day as false_alarms_per_day
from seqkeras.scoring._detection_times import seconds_to_detect as seconds_to_detect
from seqkeras.scoring._metrics import mae as mae
from seqkeras.scoring._metrics import mase as mase
from seqkeras.scoring._metrics import owa as owa
from seqkeras.scoring._metrics import rmse as rmse
from seqkeras.scoring._metrics import seasonal_scales as seasonal_scales
from seqkeras.scoring._metrics import smape as smape
from seqkeras.scoring._nab import NabScore as NabScore
from seqkeras.scoring._nab import nab_score as nab_score
from seqkeras.scoring._probabilistic import coverage as coverage
from seqkeras.scoring._probabilistic import crps as crps
from seqkeras.scoring._probabilistic import interval_score as interval_score
from seqkeras.scoring._probabilistic import msis as msis
from seqkeras.scoring._probabilistic import wql as wql
from seqkeras.scoring._reference_scores import moving_z_scores as moving_z_scores
from seqkeras.scoring._reference_scores import neighbor_scores as neighbor_scores
from seqkeras.scoring._reference_scores import random_scores as random_scores
from seqkeras.scoring._vus import vus_pr as vus_pr
from seqkeras.scoring._vus import vus_roc as vus_roc

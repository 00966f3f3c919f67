"""Scores of forecasts against actual values, and simple forecasts to compare with."""

from seqkeras.scoring._baselines import is_seasonal as is_seasonal
from seqkeras.scoring._baselines import naive as naive
from seqkeras.scoring._baselines import naive2 as naive2
from seqkeras.scoring._metrics import mae as mae
from seqkeras.scoring._metrics import mase as mase
from seqkeras.scoring._metrics import owa as owa
from seqkeras.scoring._metrics import rmse as rmse
from seqkeras.scoring._metrics import seasonal_scales as seasonal_scales
from seqkeras.scoring._metrics import smape as smape
from seqkeras.scoring._probabilistic import coverage as coverage
from seqkeras.scoring._probabilistic import crps as crps
from seqkeras.scoring._probabilistic import interval_score as interval_score
from seqkeras.scoring._probabilistic import msis as msis
from seqkeras.scoring._probabilistic import wql as wql

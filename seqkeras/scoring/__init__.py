"""Scores: how far a forecast is from what came."""

from seqkeras.scoring._metrics import coverage as coverage
from seqkeras.scoring._metrics import mae as mae
from seqkeras.scoring._metrics import mase as mase
from seqkeras.scoring._metrics import rmse as rmse
from seqkeras.scoring._metrics import smape as smape

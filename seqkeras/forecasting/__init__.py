"""Forecasts from pandas frames, with intervals, and honest scores beside them."""

from seqkeras._lazy import require

require("keras", "pandas", "sklearn", "tqdm")

from seqkeras.forecasting._audit import audit_leaks as audit_leaks
from seqkeras.forecasting._backtest import Backtest as Backtest
from seqkeras.forecasting._components import Components as Components
from seqkeras.forecasting._datasets import load_air_passengers as load_air_passengers
from seqkeras.forecasting._evaluate import Holdout as Holdout
from seqkeras.forecasting._evaluate import evaluate_holdout as evaluate_holdout
from seqkeras.forecasting._forecaster import Forecaster as Forecaster
from seqkeras.forecasting._importance import Importance as Importance
from seqkeras.forecasting._stepper import ForecastStepper as ForecastStepper
from seqkeras.forecasting._tune import Tuning as Tuning
from seqkeras.forecasting._tune import tune as tune

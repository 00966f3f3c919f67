"""Forecasts from pandas frames, with intervals, and honest scores beside them."""

from seqkeras._lazy import require

require("keras", "pandas", "sklearn", "tqdm")

from seqkeras.forecasting._forecaster import Forecaster as Forecaster
from seqkeras.forecasting.evaluation._audit import audit_leaks as audit_leaks
from seqkeras.forecasting.evaluation._backtest import Backtest as Backtest
from seqkeras.forecasting.evaluation._holdout import Holdout as Holdout
from seqkeras.forecasting.evaluation._holdout import evaluate_holdout as evaluate_holdout
from seqkeras.forecasting.evaluation._tune import Tuning as Tuning
from seqkeras.forecasting.evaluation._tune import tune as tune
from seqkeras.forecasting.fitted._stepper import ForecastStepper as ForecastStepper
from seqkeras.forecasting.frames._columns import Columns as Columns
from seqkeras.forecasting.frames._datasets import load_air_passengers as load_air_passengers
from seqkeras.forecasting.inspection._components import Components as Components
from seqkeras.forecasting.inspection._importance import Importance as Importance

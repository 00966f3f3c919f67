"""Forecasts from pandas frames, with intervals, and scores next to simple baselines."""

from seqkeras._lazy import require

require("keras", "pandas", "sklearn", "tqdm")

from seqkeras.forecasting._forecaster import Forecaster as Forecaster
from seqkeras.forecasting._settings import Intervals as Intervals
from seqkeras.forecasting._settings import Network as Network
from seqkeras.forecasting._settings import Training as Training
from seqkeras.forecasting.evaluation._audit import audit_leaks as audit_leaks
from seqkeras.forecasting.evaluation._backtest import Backtest as Backtest
from seqkeras.forecasting.evaluation._backtest import backtest as backtest
from seqkeras.forecasting.evaluation._holdout import Holdout as Holdout
from seqkeras.forecasting.evaluation._holdout import evaluate_holdout as evaluate_holdout
from seqkeras.forecasting.evaluation._tune import Tuning as Tuning
from seqkeras.forecasting.evaluation._tune import tune as tune
from seqkeras.forecasting.fitted._stepper import ForecastStepper as ForecastStepper
from seqkeras.forecasting.frames._columns import Columns as Columns
from seqkeras.forecasting.frames._datasets import load_air_passengers as load_air_passengers
from seqkeras.forecasting.inspection._components import Components as Components
from seqkeras.forecasting.inspection._components import components as components
from seqkeras.forecasting.inspection._importance import Importance as Importance
from seqkeras.forecasting.inspection._importance import (
    permutation_importance as permutation_importance,
)
from seqkeras.forecasting.inspection._insample import insample as insample

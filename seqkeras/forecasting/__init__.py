"""Forecasts from pandas frames, with intervals, and scores next to simple baselines."""

from typing import TYPE_CHECKING, Any

from seqkeras._lazy import attach, require

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from seqkeras.forecasting._forecaster import Forecaster as Forecaster
    from seqkeras.forecasting._settings import Intervals as Intervals
    from seqkeras.forecasting._settings import Network as Network
    from seqkeras.forecasting._settings import Training as Training
    from seqkeras.forecasting.evaluation._audit import audit_leaks as audit_leaks
    from seqkeras.forecasting.evaluation._backtest import Backtest as Backtest
    from seqkeras.forecasting.evaluation._backtest import backtest as backtest
    from seqkeras.forecasting.evaluation._compare import Comparison as Comparison
    from seqkeras.forecasting.evaluation._compare import compare as compare
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

# Lazy, because the rooms that read frames need only pandas, and Keras is slow to import.
_attached, __dir__ = attach(
    __name__,
    {
        "_forecaster": ("Forecaster",),
        "_settings": ("Intervals", "Network", "Training"),
        "evaluation._audit": ("audit_leaks",),
        "evaluation._backtest": ("Backtest", "backtest"),
        "evaluation._compare": ("Comparison", "compare"),
        "evaluation._holdout": ("Holdout", "evaluate_holdout"),
        "evaluation._tune": ("Tuning", "tune"),
        "fitted._stepper": ("ForecastStepper",),
        "frames._columns": ("Columns",),
        "frames._datasets": ("load_air_passengers",),
        "inspection._components": ("Components", "components"),
        "inspection._importance": ("Importance", "permutation_importance"),
        "inspection._insample": ("insample",),
    },
)


def __getattr__(name: str) -> Any:
    if name in __dir__():
        require("keras", "pandas", "sklearn", "tqdm")
    return _attached(name)

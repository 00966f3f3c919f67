"""Forecast rows that a fit has seen: how the network fits, not how well it forecasts."""

from typing import Any

import numpy as np
import pandas as pd

from seqkeras._checks import bad_data, check_integer
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting.fitted._origins import Origins, check_names, origin_frame
from seqkeras.forecasting.fitted._tracking import forecast_at
from seqkeras.forecasting.frames._panel import Panel


def insample(
    forecaster: Forecaster, df: "pd.DataFrame | pd.Series", *, step: int | None = None
) -> pd.DataFrame:
    """Forecast rows that `fit` has seen, from origins among them, in one pass.

    Each forecast reads the rows before its origin, as `predict` would have then, but the weights,
    the scaler and the intervals have seen the actual values. So the result shows how the network
    fits, not how well it forecasts; use `backtest` for the latter.

    Args:
        forecaster: a fitted forecaster. It does not change.
        df: rows of `fit` or `update`, in the columns of `fit`; the forecaster itself only keeps the
            newest rows.
        step: rows from one origin to the next. None: the horizon, so that each row is forecast at
            most once.

    Returns:
        A long frame, as `Backtest.frame`.

    Raises:
        NotFittedError: `fit` was not called.
        DataError: a series was not fitted, has rows after those that the forecaster has seen, or
            is shorter than a lookback and a horizon.

    Example:
        >>> from seqkeras.forecasting import Training, load_air_passengers
        >>> df = load_air_passengers()
        >>> forecaster = Forecaster(12, training=Training(epochs=1), seed=0).fit(df)
        >>> insample(forecaster, df).columns[:4].tolist()
        ['cutoff', 'ds', 'y', 'yhat']
    """
    check_is_forecaster(forecaster)
    fitted = forecaster.check_fitted()
    horizon = fitted.horizon
    lookback = fitted.lookback
    step = check_integer("step", step) if step is not None else horizon
    panel, numbers = fitted.read_fitted_series(df)
    check_names(panel)
    _check_seen(panel, fitted.panel.take(numbers))
    panel = panel.long_enough(
        lookback + horizon,
        why=f"lookback {lookback} + horizon {horizon}",
        short_series=fitted.if_short,
    )
    lengths = panel.values.lengths
    windows = (lengths - lookback - horizon) // step + 1
    origins = Origins.rolling(lengths, windows=windows, step=step, horizon=horizon)
    frame = origin_frame(panel, origins, forecast_at(fitted, panel, origins))
    return panel.shape.native(frame, "cutoff", panel.columns.time)


def _check_seen(panel: Panel, seen: Panel) -> None:
    later: Any = np.flatnonzero(np.asarray(panel.last > seen.last))
    if len(later):
        worst = later[0]
        expected = f"end at {seen.last[worst]}, the last row that the forecaster has seen"
        fix = "Remove later rows, or add them with update(rows)."
        raise bad_data(panel.name(worst), f"rows up to {panel.last[worst]}", expected, fix)

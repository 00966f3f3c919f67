"""How good a forecaster is on rows that it never saw, with simple baselines beside it."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting.evaluation._backtest import (
    Schedule,
    check_names,
    read_history,
    repeat_warnings,
    result,
    run_fold,
)
from seqkeras.forecasting.frames._reading import split_last


@dataclass(frozen=True)
class Holdout:
    """What `evaluate_holdout` found.

    Attributes:
        scores: one row for each method, one column for each score.
        forecast: the forecast of the held-out rows, with the column `actual` beside it.
        forecaster: the copy that was fitted without the held-out rows.
    """

    scores: pd.DataFrame
    forecast: pd.DataFrame
    forecaster: Forecaster


def evaluate_holdout(forecaster: Forecaster, df: pd.DataFrame, **columns: Any) -> Holdout:
    """Fits a copy without the last horizon of each series, and scores its forecast of that.

    A backtest of one window, and it gives the fitted copy; `Forecaster.backtest` gives more
    windows and more scores. Beside it stand the seasonal naive forecast (the value one season
    before) and the naive one (the last value). Scores are means over series: MAE and RMSE in the
    unit of the series, sMAPE in percent, MASE by the season of the frequency (below 1 is better
    than the seasonal naive forecast was inside the history), and the share of values inside each
    interval in percent.

    Args:
        forecaster: is not changed.
        df: as for `Forecaster.fit`; the forecast is a long frame.
        **columns: id_col, time_col, target_col, freq and the rest, as for `Forecaster.fit`.

    Raises:
        ArgumentError, DataError: as `Forecaster.fit`, on the frame without the held-out rows.
    """
    forecaster._check_parameters()
    schedule = Schedule.parse(forecaster.horizon, windows=1, step=None, gap=0, refit=False)
    df, panel, columns = read_history(forecaster, df, schedule.rows, columns)
    check_names(panel)
    train, _ = split_last(df, schedule.rows, panel.columns)
    fold = run_fold(forecaster, train, panel, schedule, range(1), columns, keep=True)
    repeat_warnings([fold])
    found = result(forecaster, panel, fold.origins, fold.forecasts, schedule)
    forecast = found.frame.drop(columns=["cutoff", panel.columns.target])
    forecast["actual"] = found.frame[panel.columns.target].to_numpy()
    shares = [f"in {level:g} %" for level in forecaster.levels]
    scores = found.scores[["MAE", "RMSE", "sMAPE", "MASE", *shares]]
    forecast = panel.shape.native(forecast, panel.columns.time)
    return Holdout(scores, forecast, fold.fitted)

"""Evaluate a forecaster on the last horizon of each series, next to simple baselines."""

from dataclasses import dataclass

import pandas as pd

from seqkeras._html import html_frame
from seqkeras._warnings import repeat_warnings
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting.evaluation._folds import read_history, run_fold, scored
from seqkeras.forecasting.evaluation._schedule import Schedule
from seqkeras.forecasting.evaluation._scores import tables
from seqkeras.forecasting.fitted._origins import check_names
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._reading import split_last


@dataclass(frozen=True)
class Holdout:
    """The result of `evaluate_holdout`.

    Attributes:
        scores: one row for each method, one column for each score.
        forecast: the forecast of the held-out rows, with the actual values in the column `actual`.
        forecaster: the copy that was fitted without the held-out rows.
    """

    scores: pd.DataFrame
    forecast: pd.DataFrame
    forecaster: Forecaster

    def _repr_html_(self) -> str | None:
        return html_frame("Holdout: scores of the last horizon", self.scores)


def evaluate_holdout(
    forecaster: Forecaster, df: "pd.DataFrame | pd.Series", *, columns: Columns | None = None
) -> Holdout:
    """Fit a copy without the last horizon of each series, then score its forecast of that horizon.

    This is a backtest of one window that also returns the fitted copy; `backtest` has more windows
    and more scores. Two baselines are scored as well: the seasonal naive forecast (the value one
    season earlier) and the naive forecast (the last value). The scores are means over series: MAE
    and RMSE in the unit of the series, sMAPE in percent, MASE (the error relative to the in-sample
    error of the seasonal naive forecast, so below 1 is better than it), and the share of values
    inside each interval in percent.

    Args:
        forecaster: the forecaster; it does not change.
        df: as for `Forecaster.fit`.
        columns: as for `Forecaster.fit`.

    Returns:
        A `Holdout`.

    Raises:
        ArgumentError: as `Forecaster.fit`, or `columns.fill` is `"interpolate"`.
        DataError: as `Forecaster.fit`, or all series are too short to hold out a horizon.

    Warns:
        SkippedSeriesWarning: series are too short for this, and are not scored.

    Example:
        >>> from seqkeras.forecasting import Training, load_air_passengers
        >>> forecaster = Forecaster(12, training=Training(epochs=1), seed=0)
        >>> evaluate_holdout(forecaster, load_air_passengers()).scores.columns.tolist()
        ['MAE', 'RMSE', 'sMAPE', 'MASE', 'in 80 %', 'in 95 %']
    """
    check_is_forecaster(forecaster)
    settings = forecaster.settings()
    schedule = Schedule.parse(settings.horizon)
    df, panel, columns = read_history(df, schedule.rows, columns)
    check_names(panel)
    train, _ = split_last(df, schedule.rows, panel.columns)
    fold = run_fold(
        forecaster, train, panel, schedule, windows=range(1), columns=columns, keep=True
    )
    repeat_warnings(fold.warned)
    frame, actuals, methods = scored(forecaster, panel, fold.origins, fold.forecasts, schedule)
    forecast = frame.drop(columns=["cutoff", panel.columns.target])
    forecast["actual"] = frame[panel.columns.target].to_numpy()
    coverages = [f"in {level:g} %" for level in settings.levels]
    scores = tables(actuals, methods)[0][["MAE", "RMSE", "sMAPE", "MASE", *coverages]]
    forecast = panel.shape.native(forecast, panel.columns.time)
    assert fold.forecaster is not None  # because of keep=True
    return Holdout(scores, forecast, fold.forecaster)

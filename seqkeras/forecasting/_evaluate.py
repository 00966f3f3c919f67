"""How good a forecaster is on rows that it never saw, with simple baselines beside it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone

from seqkeras.errors import ArgumentError
from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting._frames import Columns, read_panel, split_last
from seqkeras.scoring import coverage, mae, mase, rmse, smape


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

    Beside it stand the seasonal naive forecast (the value one season before) and the naive one
    (the last value). Scores are means over series: MAE and RMSE in the unit of the series, sMAPE
    in percent, MASE by the season of the frequency (below 1 is better than the seasonal naive
    forecast was inside the history), and the share of values inside each interval in percent.

    Args:
        forecaster: is not changed.
        df: a long frame, as for `Forecaster.fit`.
        **columns: id_col, time_col, target_col, freq, as for `Forecaster.fit`.

    Raises:
        ArgumentError, DataError: as `Forecaster.fit`, on the frame without the held-out rows.
    """
    panel = read_panel(df, **columns).long_enough(
        forecaster.horizon + 1,
        why=f"horizon {forecaster.horizon} to hold out",
        short_series=forecaster.short_series,
    )
    train, test = split_last(df, forecaster.horizon, panel.columns)
    # The frequency is that of the whole: a part may be too short to show it.
    known = {} if panel.calendar.is_period else {"freq": panel.calendar.step}
    fitted = clone(forecaster).fit(train, **columns | known)
    forecast = fitted.predict()
    forecast["actual"] = _actual(test, forecast, panel.columns)
    kept = panel.take(panel.ids.get_indexer(fitted.panel_.ids)).values
    history = kept.select(0, kept.lengths - forecaster.horizon)
    season = forecaster.season_length or panel.calendar.season_length
    return Holdout(_scores(forecast, history, season, forecaster), forecast, fitted)


def naive(history: npt.NDArray[Any], horizon: int, season_length: int = 1) -> npt.NDArray[Any]:
    """The last season, repeated; the last value for `season_length=1`."""
    season = history[-min(season_length, len(history)) :]
    return np.resize(season, horizon)


def _actual(test: pd.DataFrame, forecast: pd.DataFrame, columns: Columns) -> npt.NDArray[Any]:
    keys = [columns.time] if columns.id is None else [columns.id, columns.time]
    truth = test[[*keys, columns.target]].rename(columns={columns.target: "actual"})
    merged = forecast[keys].merge(truth, on=keys, how="left")
    return merged["actual"].to_numpy(dtype=np.float64)


def _scores(
    forecast: pd.DataFrame, history: Any, season: int, forecaster: Forecaster
) -> pd.DataFrame:
    shape = (len(history), forecaster.horizon)
    actual = forecast["actual"].to_numpy().reshape(shape)
    guesses = {
        "seqkeras": forecast["yhat"].to_numpy().reshape(shape),
        "seasonal naive": np.stack([naive(one, shape[1], season) for one in history]),
        "naive": np.stack([naive(one, shape[1]) for one in history]),
    }
    rows = {name: _errors(actual, guess, history, season) for name, guess in guesses.items()}
    for level in forecaster.levels:
        low, high = (
            forecast[f"yhat-{side}-{level:g}"].to_numpy().reshape(shape) for side in ("lo", "hi")
        )
        rows["seqkeras"][f"in {level:g} %"] = 100 * coverage(actual, low, high)
    return pd.DataFrame.from_dict(rows, orient="index")


def _errors(
    actual: npt.NDArray[Any], guess: npt.NDArray[Any], history: Any, season: int
) -> dict[str, float]:
    pairs = list(zip(actual, guess, strict=True))
    scaled = [_mase(a, g, past, season) for (a, g), past in zip(pairs, history, strict=True)]
    return {
        "MAE": float(np.mean([mae(a, g) for a, g in pairs])),
        "RMSE": float(np.mean([rmse(a, g) for a, g in pairs])),
        "sMAPE": float(np.mean([smape(a, g) for a, g in pairs])),
        "MASE": float(np.nanmean(scaled)) if not np.all(np.isnan(scaled)) else float("nan"),
    }


def _mase(actual: Any, guess: Any, history: Any, season: int) -> float:
    """MASE, or NaN for a history that gives nothing to scale by."""
    try:
        return mase(actual, guess, history=history, season_length=season)
    except ArgumentError:
        return float("nan")

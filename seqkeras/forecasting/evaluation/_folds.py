"""Folds of a backtest: the series that are scored, a fit, its forecasts, and their scores."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from seqkeras._arrays import Array, Floats, rounding
from seqkeras._checks import bad_argument
from seqkeras.errors import DataError
from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting.evaluation._schedule import Schedule
from seqkeras.forecasting.evaluation._scores import Actuals, MethodForecast
from seqkeras.forecasting.fitted._origins import Origins, origin_frame, scales_before
from seqkeras.forecasting.fitted._tracking import forecast_at
from seqkeras.forecasting.frames._columns import Columns, as_columns
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.forecasting.networks._inputs import fill_missing_targets
from seqkeras.forecasting.networks._predict import Forecasts
from seqkeras.windows import GroupedArray


@dataclass(frozen=True)
class Fold:
    """The forecasts of one fit, and the warnings during it."""

    origins: Origins
    forecasts: Forecasts
    forecaster: Forecaster | None
    warned: list[warnings.WarningMessage]


def read_history(
    df: Any, rows: int, columns: Columns | None
) -> tuple[pd.DataFrame, Panel, Columns]:
    """Read series with more than `rows` rows; others are omitted with a warning, or refused.

    Returns:
        A long frame without gaps, its series, and the columns for `fit`, with the frequency and the
        calendar features of all rows, as the rows of one fit may be too few to infer them.

    Raises:
        ArgumentError: `columns.fill` would fill gaps with values from after a cutoff.
        DataError: as `Forecaster.fit`, or a series is too short, and short series are refused.
    """
    columns = as_columns(columns)
    if columns.fill == "interpolate":
        fix = "Interpolation reads values after a cutoff: use 'mask', or fill the gaps of df first."
        raise bad_argument("fill", "interpolate", "'raise' or 'mask' in a backtest", fix)
    panel = long_enough(read_panel(df, columns), rows, columns)
    frame = panel.long_frame(df) if columns.fill == "raise" else panel.history_frame()
    return frame, panel, columns_of(panel, columns)


def long_enough(panel: Panel, rows: int, columns: Columns) -> Panel:
    """Return the series that have more than `rows` rows.

    Raises:
        DataError: a series is too short, and short series are refused; or all are.
    """
    return panel.long_enough(
        rows + 1,
        why=f"1 + {rows} to hold out",
        short_series="raise" if columns.short_series == "raise" else "skip",
        fix="Use fewer windows, or a smaller step or horizon",
        kind="too short to score",
    )


def columns_of(panel: Panel, columns: Columns) -> Columns:
    """Return columns with the frequency and the calendar features of a panel.

    The rows of one fit may be too few to infer them.
    """
    freq = columns.freq if panel.calendar.is_period else panel.calendar.step
    return replace(columns, freq=freq, calendar=panel.covariates.calendar or None)


def only_read(df: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Return the columns of a long frame that the panel was read from."""
    names = (panel.columns.id, panel.columns.time, panel.columns.target, *panel.covariates.columns)
    return df[[name for name in names if name is not None]]


def run_fold(
    forecaster: Forecaster,
    train: pd.DataFrame,
    panel: Panel,
    schedule: Schedule,
    windows: range,
    columns: Columns,
    keep: bool = False,
) -> Fold:
    """Fit a fresh copy on the rows `train`, and forecast all windows in one pass."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        copy = clone(forecaster).fit(train, columns=columns)
        origins = origins_of_fold(panel, schedule, windows, copy.panel_.ids)
        seen = panel.values.lengths - schedule.rows_after(windows[0])
        forecasts = forecast_at(copy.fitted_, panel, origins, seen)
    return Fold(origins, forecasts, copy if keep else None, warned)


def origins_of_fold(panel: Panel, schedule: Schedule, windows: range, ids: pd.Index) -> Origins:
    """Return the origins of these windows in the series with these ids."""
    origins = schedule.origins(panel.values.lengths)
    window = np.arange(len(origins)) % schedule.windows
    known = np.isin(origins.series, panel.ids.get_indexer(ids))
    return origins[known & np.isin(window, windows)]


def in_order(folds: list[Mapping[str, Array]]) -> tuple[Origins, Forecasts]:
    """Return the origins and forecasts of all folds, sorted by series and time.

    Args:
        folds: for each fold, the `series` and `rows` of its origins, and the forecasts by name.
    """
    joined = {name: np.concatenate([fold[name] for fold in folds]) for name in folds[0]}
    order = np.lexsort((joined["rows"], joined["series"]))
    ordered = {name: values[order] for name, values in joined.items()}
    return Origins(ordered.pop("series"), ordered.pop("rows")), ordered


def scored(
    forecaster: Forecaster,
    panel: Panel,
    origins: Origins,
    forecasts: Forecasts,
    schedule: Schedule,
) -> tuple[pd.DataFrame, Actuals, dict[str, MethodForecast]]:
    """Return a frame of forecasts, the actual values, and the forecasts of each method.

    The methods are the forecaster and the naive forecasts from the same origins.
    """
    gap = schedule.gap
    horizon = schedule.horizon
    settings = forecaster.settings()
    season = settings.season_length or panel.calendar.season_length

    def after_gap(name: str) -> Floats:
        return forecasts[name][:, gap:]

    def naive(season_length: int) -> MethodForecast:
        history = without_missing(panel, season_length)
        return MethodForecast(origins.season(history, horizon, season_length)[:, gap:])

    intervals = {
        float(level): (after_gap(f"yhat-lo-{level:g}"), after_gap(f"yhat-hi-{level:g}"))
        for level in settings.levels
    }
    methods = {
        "seqkeras": MethodForecast(after_gap("yhat"), intervals),
        "seasonal naive": naive(season),
        "naive": naive(1),
    }
    frame = origin_frame(panel, origins, forecasts, gap)
    return frame, actuals_after(panel, origins, schedule, season), methods


def actuals_after(panel: Panel, origins: Origins, schedule: Schedule, season: int) -> Actuals:
    """Return the actual values after origins, with scales from the rows before the first origin."""
    numbers, series = np.unique(origins.series, return_inverse=True)
    rows = panel.values.lengths - schedule.rows
    scales = scales_before(panel.values, rows, season)
    same = rounding(*panel.values.select(0, rows).extremes())
    values = origins.after(panel.values, schedule.horizon)[:, schedule.gap :].astype(np.float64)
    return Actuals(series, values, panel.ids[numbers], scales[numbers], same[numbers])


def without_missing(panel: Panel, season_length: int) -> GroupedArray:
    """Return the targets, with those one season earlier where they are missing."""
    if not panel.has_missing:
        return panel.values
    filled = [
        fill_missing_targets(series[np.newaxis], season_length, causal=True)[0]
        for series in panel.values
    ]
    return GroupedArray.from_series(filled)


def check_missing(panel: Panel, schedule: Schedule, fold: range) -> None:
    """Check that no network that was fitted without missing targets has to read missing ones."""
    lengths = panel.values.lengths
    first = lengths - schedule.rows_after(fold[0])
    last = lengths - schedule.rows_after(fold[-1])
    if not panel.has_missing or panel.select(0, first).has_missing:
        return
    between = panel.values.select(first, last)
    later = [number for number, series in enumerate(between) if np.isnan(series).any()]
    if len(later):
        raise DataError(
            "Targets between the cutoff of a fit and the last origin that uses it must be known if "
            "all targets before the cutoff are, as the network has no input for missing targets "
            f"then. Got: a missing target in {panel.label(later[0])}. Fill it in, use "
            "refit=True, or use fewer windows."
        )

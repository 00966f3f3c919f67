"""Backtests: forecasts from rolling origins, scored against the actual values."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone

from seqkeras._arrays import Floats, rounding
from seqkeras._checks import bad_argument
from seqkeras._html import html_frame
from seqkeras.errors import DataError
from seqkeras.forecasting import _plots
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting.evaluation._schedule import Schedule
from seqkeras.forecasting.evaluation._scores import Actuals, MethodForecast, tables
from seqkeras.forecasting.fitted._origins import Origins, check_names, origin_frame, scales_before
from seqkeras.forecasting.fitted._tracking import forecast_at
from seqkeras.forecasting.frames._columns import Columns, as_columns
from seqkeras.forecasting.frames._forms import as_pandas
from seqkeras.forecasting.frames._panel import Panel, by_series
from seqkeras.forecasting.frames._reading import read_panel, split_last
from seqkeras.forecasting.networks._inputs import fill_missing_targets
from seqkeras.forecasting.networks._predict import Forecasts
from seqkeras.windows import GroupedArray


@dataclass(frozen=True)
class Backtest:
    """The result of a backtest.

    Attributes:
        frame: a long frame, one row for each forecast timestep of each origin: id, `cutoff` (the
            timestamp of the last row that the forecast has read), timestamp, the actual target,
            `yhat` and the intervals.
        scores: one row for each method (`"seqkeras"`, `"seasonal naive"`, `"naive"`), one column
            for each score. Scores are means over the series; WQL is over all values at once.
        by_series: the same scores for each series, indexed by method and id.
    """

    frame: pd.DataFrame
    scores: pd.DataFrame
    by_series: pd.DataFrame

    def _repr_html_(self) -> str | None:
        return html_frame(f"Backtest: scores of {len(self.frame)} forecast rows", self.scores)

    def plot(self, *, series: Any = None, title: str = "") -> Any:
        """Plot the actual values, and the forecasts from each origin with their intervals.

        Args:
            series: id of the series to plot, or a list of ids; None: the first four.
            title: title of the figure, default none.

        Returns:
            A `matplotlib.figure.Figure`; `figure.savefig("backtest.png")` saves it.

        Raises:
            ArgumentError: no series has that id.
            MissingDependencyError: matplotlib is not installed.
        """
        frame = as_pandas(self.frame)
        *key, _, time, target = frame.columns[: frame.columns.get_loc("yhat")]
        parts = by_series(frame, key[0] if key else None, series)
        return _plots.draw_backtest(parts, time, target, title=title)


@dataclass(frozen=True)
class Fold:
    """The forecasts of one fit, and the warnings during it."""

    origins: Origins
    forecasts: Forecasts
    forecaster: Forecaster | None
    warned: list[warnings.WarningMessage]


def backtest(
    forecaster: Forecaster,
    df: "pd.DataFrame | pd.Series",
    *,
    columns: Columns | None = None,
    windows: int = 1,
    step: int | None = None,
    gap: int = 0,
    refit: bool | int = False,
    n_jobs: int | None = None,
) -> Backtest:
    """Forecast the last rows of each series from rolling origins, and score the forecasts.

    Copies of the forecaster are fitted; it does not change. Each fit starts from fresh weights, and
    its network, scalers and intervals see only the rows up to its cutoff. All origins that share a
    fit are forecast in one pass.

    Args:
        forecaster: the forecaster.
        df: as for `Forecaster.fit`.
        columns: as for `Forecaster.fit`. Future covariates over the horizon are read from `df`.
        windows: origins of each series. The last forecast ends with the series.
        step: rows from one origin to the next. None: the horizon without the gap, so each row is
            scored once.
        gap: rows after each cutoff that are forecast but not scored; below the horizon.
        refit: False fits once, on the rows before the first origin. True fits at every origin, a
            number n at every n-th; origins between them read newer rows with the earlier weights.
        n_jobs: number of fits that run at the same time, in processes of joblib's active backend.
            None: that of an active `joblib.parallel_config`, otherwise 1.

    Returns:
        A `Backtest`: `frame`, `scores`, `by_series`, `plot()`.

    Raises:
        ArgumentError: an argument cannot be used; nothing is trained then.
        DataError: as `Forecaster.fit`, or no series has a row before the first cutoff.

    Warns:
        SkippedSeriesWarning: series have no row before the first cutoff, and are not scored;
            `Columns(short_series="raise")` refuses them.

    Example:
        >>> from seqkeras.forecasting import Training, load_air_passengers
        >>> forecaster = Forecaster(12, training=Training(epochs=1), seed=0)
        >>> result = backtest(forecaster, load_air_passengers(), windows=3)
        >>> result.frame.columns[:4].tolist(), len(result.frame)
        (['cutoff', 'ds', 'y', 'yhat'], 36)
        >>> result.scores.index.tolist()
        ['seqkeras', 'seasonal naive', 'naive']
    """
    check_is_forecaster(forecaster)
    settings = forecaster.settings()
    schedule = Schedule.parse(settings.horizon, windows=windows, step=step, gap=gap, refit=refit)
    _check_jobs(n_jobs)
    df, panel, columns = read_history(df, schedule.rows, columns)
    check_names(panel)
    for fold in schedule.folds():
        _check_missing(panel, schedule, fold)
    jobs = [
        joblib.delayed(run_fold)(
            forecaster,
            split_last(df, schedule.rows_after(fold[0]), panel.columns)[0],
            panel,
            schedule,
            fold,
            columns,
        )
        for fold in schedule.folds()
    ]
    folds = list(joblib.Parallel(n_jobs=n_jobs)(jobs))
    repeat_warnings(folds)
    origins, forecasts = _joined(folds)
    result = score_forecasts(forecaster, panel, origins, forecasts, schedule)
    return replace(result, frame=panel.shape.native(result.frame, "cutoff", panel.columns.time))


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
    panel = read_panel(df, columns).long_enough(
        rows + 1,
        why=f"1 + {rows} to hold out",
        short_series="raise" if columns.short_series == "raise" else "skip",
        fix="Use fewer windows, or a smaller step or horizon",
        kind="too short to score",
    )
    frame = panel.long_frame(df) if columns.fill == "raise" else panel.history_frame()
    freq = columns.freq if panel.calendar.is_period else panel.calendar.step
    calendar = panel.covariates.calendar or None
    return frame, panel, replace(columns, freq=freq, calendar=calendar)


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
        origins = _origins_of_fold(panel, schedule, windows, copy.panel_.ids)
        seen = panel.values.lengths - schedule.rows_after(windows[0])
        forecasts = forecast_at(copy.fitted_, panel, origins, seen)
    return Fold(origins, forecasts, copy if keep else None, warned)


def _origins_of_fold(panel: Panel, schedule: Schedule, windows: range, ids: pd.Index) -> Origins:
    """Return the origins of these windows in the series with these ids."""
    origins = schedule.origins(panel.values.lengths)
    window = np.arange(len(origins)) % schedule.windows
    known = np.isin(origins.series, panel.ids.get_indexer(ids))
    return origins[known & np.isin(window, windows)]


def score_forecasts(
    forecaster: Forecaster,
    panel: Panel,
    origins: Origins,
    forecasts: Forecasts,
    schedule: Schedule,
) -> Backtest:
    """Score forecasts, and the naive forecasts from the same origins next to them."""
    gap = schedule.gap
    horizon = schedule.horizon
    settings = forecaster.settings()
    season = settings.season_length or panel.calendar.season_length
    actuals = actuals_after(panel, origins, schedule, season)

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
    return Backtest(frame, *tables(actuals, methods))


def actuals_after(panel: Panel, origins: Origins, schedule: Schedule, season: int) -> Actuals:
    """Return the actual values after origins, with scales from the rows before the first origin."""
    numbers, series = np.unique(origins.series, return_inverse=True)
    rows = panel.values.lengths - schedule.rows
    scales = scales_before(panel.values, rows, season)
    same = rounding(*panel.values.select(0, rows).extremes())
    values = origins.after(panel.values, schedule.horizon)[:, schedule.gap :].astype(np.float64)
    return Actuals(series, values, panel.ids[numbers], scales[numbers], same[numbers])


def repeat_warnings(folds: list[Fold]) -> None:
    """Repeat the warnings of the folds, each text once: in worker processes nobody sees them."""
    by_text = {str(warned.message): warned for fold in folds for warned in fold.warned}
    for warned in by_text.values():
        warnings.warn_explicit(warned.message, warned.category, warned.filename, warned.lineno)


def without_missing(panel: Panel, season_length: int) -> GroupedArray:
    """Return the targets, with those one season earlier where they are missing."""
    if not panel.has_missing:
        return panel.values
    filled = [
        fill_missing_targets(series[np.newaxis], season_length, causal=True)[0]
        for series in panel.values
    ]
    return GroupedArray.from_series(filled)


def _check_missing(panel: Panel, schedule: Schedule, fold: range) -> None:
    """Check that no network that was fitted without missing targets has to read missing ones."""
    lengths = panel.values.lengths
    first = lengths - schedule.rows_after(fold[0])
    last = lengths - schedule.rows_after(fold[-1])
    if not panel.has_missing or np.isnan(panel.values.select(0, first).values).any():
        return
    between = panel.values.select(first, last)
    later = np.flatnonzero([np.isnan(series).any() for series in between])
    if len(later):
        raise DataError(
            "Targets between the cutoff of a fit and the last origin that uses it must be known if "
            "all targets before the cutoff are, as the network has no input for missing targets "
            f"then. Got: a missing target in {panel.label(int(later[0]))}. Fill it in, use "
            "refit=True, or use fewer windows."
        )


def _check_jobs(n_jobs: int | None) -> None:
    """Check the number of jobs, and that joblib's backend can run fits."""
    if n_jobs is not None and (type(n_jobs) is not int or n_jobs == 0):
        raise bad_argument("n_jobs", n_jobs, "None, or an integer other than 0, as in joblib")
    backend, workers = joblib.parallel.get_active_backend()
    name = type(backend).__name__
    unfit = {
        "ThreadingBackend": "Threads share the seed of Keras",
        "MultiprocessingBackend": "A forked TensorFlow hangs",
    }
    if name in unfit and (n_jobs if n_jobs is not None else workers) != 1:
        fix = f"{unfit[name]}: use joblib's default backend, loky, or dask or ray."
        raise bad_argument("n_jobs", n_jobs, f"1 under joblib's {name}", fix)


def _joined(folds: list[Fold]) -> tuple[Origins, Forecasts]:
    """Join all folds, sorted by series and time."""
    series = np.concatenate([fold.origins.series for fold in folds])
    rows = np.concatenate([fold.origins.rows for fold in folds])
    order = np.lexsort((rows, series))
    forecasts = {
        name: np.concatenate([fold.forecasts[name] for fold in folds])[order]
        for name in folds[0].forecasts
    }
    return Origins(series[order], rows[order]), forecasts

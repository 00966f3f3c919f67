"""Backtests: forecasts from rolling origins, scored against the actual values."""

import os
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from seqkeras._arrays import Floats, rounding
from seqkeras._checks import bad_argument
from seqkeras._html import html_frame
from seqkeras._warnings import repeat_warnings
from seqkeras.engines import Engine
from seqkeras.engines._choice import as_engine
from seqkeras.engines._parts import Result, Work
from seqkeras.errors import DataError
from seqkeras.forecasting import _plots
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting.evaluation._dependencies import inputs_of
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
    engine: str | Engine | None = None,
    folder: str | os.PathLike[str] | None = None,
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
        engine: where the fits run: `"joblib"`, `"ray"`, `"dask"`, `"spark"`, or an object of
            `seqkeras.engines`. None: joblib, as `n_jobs` says.
        folder: folder in which the forecasts of each fit are stored as soon as they are ready. If
            the backtest is interrupted or killed, the same call does only what is missing. None:
            nothing is stored.

    Returns:
        A `Backtest`: `frame`, `scores`, `by_series`, `plot()`.

    Raises:
        ArgumentError: an argument cannot be used, or the folder belongs to another backtest;
            nothing is trained then.
        DataError: as `Forecaster.fit`, or no series has a row before the first cutoff.
        WorkerError: a worker process ended. What was ready is in the folder.

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
    runner = as_engine(engine, n_jobs)
    df, panel, columns = read_history(df, schedule.rows, columns)
    check_names(panel)
    folds = schedule.folds()
    for fold in folds:
        _check_missing(panel, schedule, fold)
    work = Work(
        label="backtest",
        unit="fold",
        function=_FitAndForecast(
            forecaster, only_read(df, panel), panel, schedule, columns, runner.is_here
        ),
        parts={f"fold {number}": fold for number, fold in enumerate(folds, 1)},
        inputs={"schedule": str(schedule), **inputs_of(forecaster, panel, columns)},
    )
    # A fit in this process shows its own progress.
    is_hidden = runner.is_here or not settings.training.progress
    origins, forecasts = _joined(work.run(runner, folder, is_hidden=is_hidden))
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


def only_read(df: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Return the columns of a long frame that the panel was read from."""
    names = (panel.columns.id, panel.columns.time, panel.columns.target, *panel.covariates.columns)
    return df[[name for name in names if name is not None]]


@dataclass(frozen=True)
class _FitAndForecast:
    """Fits and forecasts a fold of a backtest, in this process or another.

    Attributes:
        shows_progress: whether fits show their progress.
        forecaster, df, panel, schedule, columns: as in `backtest`, after they were read.
    """

    forecaster: Forecaster
    df: pd.DataFrame
    panel: Panel
    schedule: Schedule
    columns: Columns
    shows_progress: bool

    def __call__(self, windows: range) -> Result:
        """Return the origins of all windows of a fold, and the forecasts from there."""
        rows = self.schedule.rows_after(windows[0])
        train = split_last(self.df, rows, self.panel.columns)[0]
        forecaster = self.forecaster
        if not self.shows_progress:
            forecaster = clone(forecaster).set_params(training__progress=False)
        fold = run_fold(forecaster, train, self.panel, self.schedule, windows, self.columns)
        repeat_warnings(fold.warned)
        origins = {"series": fold.origins.series, "rows": fold.origins.rows}
        return Result(origins | fold.forecasts)


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


def _joined(folds: list[Result]) -> tuple[Origins, Forecasts]:
    """Join all folds, sorted by series and time."""
    joined = {
        name: np.concatenate([fold.arrays[name] for fold in folds]) for name in folds[0].arrays
    }
    order = np.lexsort((joined["rows"], joined["series"]))
    ordered = {name: values[order] for name, values in joined.items()}
    return Origins(ordered.pop("series"), ordered.pop("rows")), ordered

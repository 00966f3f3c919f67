"""Backtests: forecasts from rolling origins, scored against the actual values."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.base import clone

from seqkeras._html import html_frame
from seqkeras._warnings import repeat_warnings
from seqkeras.engines import Engine
from seqkeras.engines._choice import as_engine
from seqkeras.engines._parts import Result, Work
from seqkeras.forecasting import _plots
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting.evaluation._dependencies import inputs_of
from seqkeras.forecasting.evaluation._file_folds import forecast_files
from seqkeras.forecasting.evaluation._folds import (
    check_missing,
    in_order,
    only_read,
    read_history,
    run_fold,
    scored,
)
from seqkeras.forecasting.evaluation._schedule import Schedule
from seqkeras.forecasting.evaluation._scores import ScoreTables, tables
from seqkeras.forecasting.fitted._origins import check_names
from seqkeras.forecasting.fitted._streams import check_ids, check_output, joined, write_frames
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._forms import as_pandas
from seqkeras.forecasting.frames._panel import Panel, by_series
from seqkeras.forecasting.frames._parquet import (
    check_no_scratch,
    check_omitted,
    check_scratch,
    is_parquet,
)
from seqkeras.forecasting.frames._reading import split_last


@dataclass(frozen=True)
class Backtest:
    """The result of a backtest.

    Attributes:
        rows: the forecasts, a long frame, one row for each forecast timestep of each origin: id,
            `cutoff` (the timestamp of the last row that the forecast has read), timestamp, the
            actual target, `yhat` and the intervals. With `output`, the path of its file.
        scores: one row for each method (`"seqkeras"`, `"seasonal naive"`, `"naive"`), one column
            for each score. Scores are means over the series; WQL is over all values at once.
        by_series: the same scores for each series, indexed by method and id.
    """

    rows: pd.DataFrame | Path
    scores: pd.DataFrame
    by_series: pd.DataFrame

    @property
    def frame(self) -> pd.DataFrame:
        """Return the forecasts; those in a file are read each time, as a frame of pandas."""
        return pd.read_parquet(self.rows) if isinstance(self.rows, Path) else self.rows

    def _repr_html_(self) -> str | None:
        where = f"in {self.rows}" if isinstance(self.rows, Path) else f"{len(self.rows)} rows"
        return html_frame(f"Backtest: scores of forecasts, {where}", self.scores)

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


def backtest(
    forecaster: Forecaster,
    df: "pd.DataFrame | pd.Series | str | os.PathLike[str]",
    *,
    columns: Columns | None = None,
    windows: int = 1,
    step: int | None = None,
    gap: int = 0,
    refit: bool | int = False,
    n_jobs: int | None = None,
    engine: str | Engine | None = None,
    folder: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    scratch: str | os.PathLike[str] | None = None,
) -> Backtest:
    """Forecast the last rows of each series from rolling origins, and score the forecasts.

    Copies of the forecaster are fitted; it does not change. Each fit starts from fresh weights, and
    its network, scalers and intervals see only the rows up to its cutoff. All origins that share a
    fit are forecast in one pass.

    Args:
        forecaster: the forecaster.
        df: as for `Forecaster.fit`. Parquet files are read in parts; with `output`, neither they
            nor their forecasts need be in memory.
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
            nothing is stored. `n_jobs`, `engine` and `folder` are for frames, not parquet files.
        output: parquet file to write the forecasts to. None: they are returned.
        scratch: folder for temporary files of a backtest of parquet files, as for `Forecaster.fit`.

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
    path = check_output(output, df) if output is not None else None
    if is_parquet(df):
        for name, value in (("n_jobs", n_jobs), ("engine", engine), ("folder", folder)):
            check_omitted(name, value)
        return _of_files(forecaster, df, columns, schedule, check_scratch(scratch), path)
    check_no_scratch(scratch)
    runner = as_engine(engine, n_jobs)
    df, panel, columns = read_history(df, schedule.rows, columns)
    check_names(panel)
    if path is not None:
        check_ids(panel)
    folds = schedule.folds()
    for fold in folds:
        check_missing(panel, schedule, fold)
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
    results = work.run(runner, folder, is_hidden=is_hidden)
    origins, forecasts = in_order([result.arrays for result in results])
    frame, actuals, methods = scored(forecaster, panel, origins, forecasts, schedule)
    rows = panel.shape.native(frame, "cutoff", panel.columns.time)
    return Backtest(
        write_frames([frame], path) if path is not None else rows, *tables(actuals, methods)
    )


def _of_files(
    forecaster: Forecaster,
    data: Any,
    columns: Columns | None,
    schedule: Schedule,
    scratch: str,
    path: Path | None,
) -> Backtest:
    scores = ScoreTables()
    frames = forecast_files(forecaster, data, columns, schedule, scratch, scores)
    rows = write_frames(frames, path) if path is not None else joined(frames)
    return Backtest(rows, *scores.tables())


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

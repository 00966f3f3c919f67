"""Backtests: forecasts from rolling origins, scored by what came."""

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone

from seqkeras._checks import bad_argument, check_integer
from seqkeras.errors import DataError
from seqkeras.forecasting import _plots
from seqkeras.forecasting.evaluation._scores import Guess, Truth, tables
from seqkeras.forecasting.fitted._origins import Origins, seasonal_scales
from seqkeras.forecasting.fitted._tracking import forecast_at
from seqkeras.forecasting.fitted._updates import read_known
from seqkeras.forecasting.frames._forms import as_pandas
from seqkeras.forecasting.frames._panel import Panel, by_series
from seqkeras.forecasting.frames._reading import read_panel, split_last
from seqkeras.forecasting.networks._inputs import fill_missing_targets
from seqkeras.forecasting.networks._predict import Forecasts
from seqkeras.windows import GroupedArray

if TYPE_CHECKING:
    from seqkeras.forecasting._forecaster import Forecaster


@dataclass(frozen=True)
class Backtest:
    """What a backtest found.

    Attributes:
        frame: a long frame, one row for each forecast timestep of each origin: id, `cutoff` (the
            stamp of the last row that the forecast has read), stamp, the target as it came,
            `yhat` and the intervals.
        scores: one row for each method (`"seqkeras"`, `"seasonal naive"`, `"naive"`), one column
            for each score. Means over the series; WQL over all values at once.
        by_series: the same for each series, by method and id.
    """

    frame: pd.DataFrame
    scores: pd.DataFrame
    by_series: pd.DataFrame

    def plot(self, *, series: Any = None, title: str = "") -> Any:
        """Draws what came, and the forecasts from each origin with their intervals.

        Args:
            series: id of the series to draw, or a list of ids; None: the first four.
            title: above the picture.

        Returns:
            A `matplotlib.figure.Figure`; `figure.savefig("backtest.png")` keeps it.

        Raises:
            ArgumentError: no series of that id.
            MissingDependencyError: matplotlib is not installed.
        """
        frame = as_pandas(self.frame)
        *key, _, time, target = frame.columns[: frame.columns.get_loc("yhat")]
        parts = by_series(frame, key[0] if key else None, series)
        return _plots.draw_backtest(parts, time, target, title=title)


@dataclass(frozen=True)
class Schedule:
    """The rolling origins of a backtest, and which of them share a fit.

    Attributes:
        horizon: timesteps that the forecaster forecasts.
        windows: origins of each series.
        step: rows from one origin to the next.
        gap: rows after each cutoff that are not scored.
        refit: origins that share a fit.
    """

    horizon: int
    windows: int
    step: int
    gap: int
    refit: int

    @classmethod
    def parse(
        cls, horizon: int, *, windows: int, step: int | None, gap: int, refit: bool | int
    ) -> "Schedule":
        """Raises where an argument cannot work."""
        windows, gap = check_integer("windows", windows), check_integer("gap", gap, minimum=0)
        if gap >= horizon:
            fix = "The forecast after a cutoff begins in the gap: use a longer horizon."
            raise bad_argument("gap", gap, f"below the horizon, {horizon}", fix)
        step = horizon - gap if step is None else check_integer("step", step)
        if isinstance(refit, bool | np.bool_):
            return cls(horizon, windows, step, gap, 1 if refit else windows)
        fix = "True fits at every origin, False once, a number n at every n-th."
        return cls(horizon, windows, step, gap, check_integer("refit", refit, fix=fix))

    @property
    def rows(self) -> int:
        """Rows of each series from the first cutoff on."""
        return self.back(0)

    def back(self, window: int) -> int:
        """Rows of each series after the cutoff of a window."""
        return self.horizon + self.step * (self.windows - 1 - window)

    def folds(self) -> list[range]:
        """The windows of each fit."""
        starts = range(0, self.windows, self.refit)
        return [range(first, min(first + self.refit, self.windows)) for first in starts]


@dataclass(frozen=True)
class Fold:
    """Forecasts of one fit, and what was warned of in it."""

    origins: Origins
    forecasts: Forecasts
    fitted: Any
    warned: list[warnings.WarningMessage]


def backtest(
    forecaster: "Forecaster",
    df: pd.DataFrame,
    *,
    windows: int,
    step: int | None,
    gap: int,
    refit: bool | int,
    n_jobs: int | None,
    columns: dict[str, Any],
) -> Backtest:
    """See `Forecaster.backtest`."""
    forecaster._check_parameters()
    schedule = Schedule.parse(forecaster.horizon, windows=windows, step=step, gap=gap, refit=refit)
    _check_jobs(n_jobs)
    df, panel, columns = read_history(forecaster, df, schedule.rows, columns)
    check_names(panel)
    for fold in schedule.folds():
        _check_missing(panel, schedule, fold)
    jobs = [
        joblib.delayed(run_fold)(
            forecaster,
            split_last(df, schedule.back(fold[0]), panel.columns)[0],
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
    found = result(forecaster, panel, origins, forecasts, schedule)
    return replace(found, frame=panel.shape.native(found.frame, "cutoff", panel.columns.time))


def read_history(
    forecaster: "Forecaster", df: Any, rows: int, columns: dict[str, Any]
) -> tuple[pd.DataFrame, Panel, dict[str, Any]]:
    """A long frame, its series with more than `rows` rows, and the columns for `fit`.

    The frequency is that of all rows, and what was missing between stamps is there.
    """
    if columns.get("fill") == "interpolate":
        fix = "Lines would lead to values after a cutoff: use 'mask', or fill df before."
        raise bad_argument("fill", "interpolate", "'raise' or 'mask' in a backtest", fix)
    panel = read_panel(df, **{"missing": "mask"} | columns).long_enough(
        rows + 1,
        why=f"1 + {rows} to hold out",
        short_series=forecaster.short_series,
        fix="Use fewer windows, or a smaller step or horizon",
    )
    filled = columns.get("fill", "raise") != "raise"
    frame = panel.history_frame() if filled else panel.long_frame(df)
    # A part of the rows may be too short to show the frequency.
    known = {} if panel.calendar.is_period else {"freq": panel.calendar.step}
    # And to hold a cycle of the calendar twice.
    return frame, panel, columns | known | {"calendar": panel.covariates.calendar or None}


def run_fold(
    forecaster: "Forecaster",
    train: pd.DataFrame,
    panel: Panel,
    schedule: Schedule,
    windows: range,
    columns: dict[str, Any],
    keep: bool = False,
) -> Fold:
    """Fits a fresh copy on the rows `train`, and forecasts all windows in one pass."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fitted = clone(forecaster).fit(train, **columns)
    origins = Origins.rolling(
        panel.values.lengths, windows=schedule.windows, step=schedule.step, horizon=schedule.horizon
    )
    window = np.arange(len(origins)) % schedule.windows
    known = np.isin(origins.series, panel.ids.get_indexer(fitted.panel_.ids))
    origins = origins[known & np.isin(window, windows)]
    seen = panel.values.lengths - schedule.back(windows[0])
    forecasts = forecast_at(fitted, panel, origins, seen)
    return Fold(origins, forecasts, fitted if keep else None, warned)


def insample(forecaster: "Forecaster", df: pd.DataFrame, step: int | None) -> pd.DataFrame:
    """See `Forecaster.insample`."""
    horizon, lookback = forecaster.horizon_, forecaster.lookback_
    step = horizon if step is None else check_integer("step", step)
    panel, numbers = read_known(forecaster, df)
    check_names(panel)
    _check_seen(panel, forecaster.panel_.take(numbers))
    panel = panel.long_enough(
        lookback + horizon,
        why=f"lookback {lookback} + horizon {horizon}",
        short_series=forecaster.short_series,
    )
    lengths = panel.values.lengths
    windows = (lengths - lookback - horizon) // step + 1
    origins = Origins.rolling(lengths, windows=windows, step=step, horizon=horizon)
    frame = origin_frame(panel, origins, forecast_at(forecaster, panel, origins))
    return panel.shape.native(frame, "cutoff", panel.columns.time)


def origin_frame(
    panel: Panel, origins: Origins, forecasts: Forecasts, gap: int = 0
) -> pd.DataFrame:
    """A long frame of the forecasts, what came beside; without the first `gap` steps of each."""
    horizon = forecasts["yhat"].shape[1]
    back = panel.values.lengths[origins.series] - origins.rows
    cutoff = panel.calendar.shift(panel.last[origins.series], -back)
    steps = horizon - gap
    key = {} if panel.columns.id is None else {panel.columns.id: panel.ids[origins.series]}
    repeated = {
        name: values.repeat(steps)
        for name, values in (key | {"cutoff": cutoff.astype(panel.calendar.dtype)}).items()
    }
    data = {panel.columns.target: origins.after(panel.values, horizon), **forecasts}
    return pd.DataFrame(
        repeated
        | {panel.columns.time: panel.calendar.span(cutoff, gap + 1, horizon)}
        | {name: values[:, gap:].ravel() for name, values in data.items()}
    )


def result(
    forecaster: "Forecaster",
    panel: Panel,
    origins: Origins,
    forecasts: Forecasts,
    schedule: Schedule,
) -> Backtest:
    """Frame and scores, with the simple forecasts from the same origins beside."""
    gap, horizon = schedule.gap, schedule.horizon
    season = forecaster.season_length or panel.calendar.season_length
    kept, series = np.unique(origins.series, return_inverse=True)
    scales = seasonal_scales(panel.values, panel.values.lengths - schedule.rows, season)
    actual = origins.after(panel.values, horizon)[:, gap:].astype(np.float64)
    truth = Truth(series, actual, panel.ids[kept], scales[kept])

    def ahead(name: str) -> npt.NDArray[np.float64]:
        return forecasts[name][:, gap:]

    def without_gaps(season_length: int) -> GroupedArray:
        values = panel.values
        if not panel.has_missing:
            return values
        return GroupedArray.from_series(
            fill_missing_targets(one[np.newaxis], season_length)[0] for one in values
        )

    levels = {
        float(level): (ahead(f"yhat-lo-{level:g}"), ahead(f"yhat-hi-{level:g}"))
        for level in forecaster.levels
    }
    guesses = {
        "seqkeras": Guess(ahead("yhat"), levels),
        "seasonal naive": Guess(origins.season(without_gaps(season), horizon, season)[:, gap:]),
        "naive": Guess(origins.season(without_gaps(1), horizon, 1)[:, gap:]),
    }
    frame = origin_frame(panel, origins, forecasts, gap)
    return Backtest(frame, *tables(truth, guesses))


def _check_missing(panel: Panel, schedule: Schedule, fold: range) -> None:
    """Raises where a fit on whole series would have to forecast from missing targets."""
    first, last = (panel.values.lengths - schedule.back(window) for window in (fold[0], fold[-1]))
    if not panel.has_missing or np.isnan(panel.values.select(0, first).values).any():
        return
    later = np.flatnonzero([np.isnan(one).any() for one in panel.values.select(first, last)])
    if len(later):
        raise DataError(
            f"{panel.name(int(later[0]))} has a missing target behind the cutoff of a fit, and "
            "before an origin that is forecast with it; the fit sees none, so that its network "
            "could not tell it from others. Fill it in, use refit=True or missing='raise', or "
            "fewer windows."
        )


def _check_jobs(n_jobs: int | None) -> None:
    """Raises for a number that is none, and for backends of joblib that cannot run fits."""
    if n_jobs is not None and (type(n_jobs) is not int or n_jobs == 0):
        raise bad_argument("n_jobs", n_jobs, "None, or an integer other than 0, as in joblib")
    backend, workers = joblib.parallel.get_active_backend()
    name = type(backend).__name__
    unfit = {
        "ThreadingBackend": "Threads share the seed of Keras",
        "MultiprocessingBackend": "A TensorFlow that was forked hangs",
    }
    if name in unfit and (workers if n_jobs is None else n_jobs) != 1:
        fix = f"{unfit[name]}: leave joblib its default, loky, or use dask or ray."
        raise bad_argument("n_jobs", n_jobs, f"1 under joblib's {name}", fix)


def repeat_warnings(folds: list[Fold]) -> None:
    """Warnings of the folds, each text once: those of another process would be lost."""
    told = {str(one.message): one for fold in folds for one in fold.warned}
    for one in told.values():
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _joined(folds: list[Fold]) -> tuple[Origins, Forecasts]:
    """All origins, in the order of the series and of time."""
    series = np.concatenate([fold.origins.series for fold in folds])
    rows = np.concatenate([fold.origins.rows for fold in folds])
    order = np.lexsort((rows, series))
    names = folds[0].forecasts
    return Origins(series[order], rows[order]), {
        name: np.concatenate([fold.forecasts[name] for fold in folds])[order] for name in names
    }


def _check_seen(panel: Panel, seen: Panel) -> None:
    later = np.flatnonzero(np.asarray(panel.last > seen.last))
    if len(later):
        worst = later[0]
        raise DataError(
            f"{panel.name(worst)} has rows up to {panel.last[worst]}, and was seen up to "
            f"{seen.last[worst]}. Leave later rows away, or feed them with update(rows)."
        )


def check_names(panel: Panel) -> None:
    names = panel.columns
    if "cutoff" in (names.id, names.time, names.target) or str(names.target).startswith("yhat"):
        raise DataError(
            f"The frame of a backtest has columns cutoff and yhat... of its own. Got: {names}. "
            "Rename the column."
        )

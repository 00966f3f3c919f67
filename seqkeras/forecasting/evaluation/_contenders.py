"""Contenders of a comparison: networks, simple forecasts, and forecasters of other libraries."""

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone

from seqkeras._warnings import repeat_warnings
from seqkeras.errors import DataError
from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting._settings import Settings
from seqkeras.forecasting.evaluation._folds import run_fold, without_missing
from seqkeras.forecasting.evaluation._peers import PEERS, Request, run_peer
from seqkeras.forecasting.evaluation._schedule import Schedule
from seqkeras.forecasting.evaluation._scores import MethodForecast
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._origins import Origins
from seqkeras.forecasting.fitted._tracking import forecast_at
from seqkeras.forecasting.fitting._fit import Fitting
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._reading import split_last
from seqkeras.forecasting.networks._predict import Forecasts
from seqkeras.scoring import naive

#: Share of the time of a network that is for training; the rest is for building it and forecasting.
TRAINING_SHARE = 0.8


@dataclass(frozen=True)
class Task:
    """What all contenders forecast.

    Attributes:
        df: the rows as the user passed them.
        own_columns: the columns as the user passed them.
        future: the covariates over the horizon after the last row, or None.
        frame: the rows as a long frame without gaps.
        columns: the columns of `frame`.
        panel: the series that are scored.
        whole: the series that are forecast, including those that are too short to be scored.
        schedule: the origins.
        settings: the parameters that contenders share.
    """

    df: Any
    own_columns: Columns | None
    future: Any
    frame: pd.DataFrame
    columns: Columns
    panel: Panel
    whole: Panel
    schedule: Schedule
    settings: Settings

    @property
    def season_length(self) -> int:
        """Return the season that the user set, or that the frequency suggests."""
        return self.settings.season_length or self.panel.calendar.season_length

    @property
    def origins(self) -> Origins:
        """Return the origins of all series."""
        return self.schedule.origins(self.panel.values.lengths)

    def request(self, panel: Panel, rows_after: int = 0) -> Request:
        """Return the targets of each series up to a cutoff, and what to forecast from there."""
        values = without_missing(panel, self.season_length)
        histories = values.select(0, values.lengths - rows_after)
        return Request(
            [np.asarray(history, np.float64) for history in histories],
            self.schedule.horizon,
            self.season_length,
            self.settings.levels,
            self.settings.seed,
        )

    def all_rows(self) -> tuple[Any, Columns | None]:
        """Return the rows of the last fit, and their columns: without the series that are skipped.

        These are the rows as the user passed them, unless short series are skipped.
        """
        key = self.panel.columns.id
        if key is None or self.columns.short_series != "skip":
            return self.df, self.own_columns
        return self.frame[self.frame[key].isin(self.whole.ids)], self.columns

    def requests(self) -> list[Request]:
        """Return a request for each origin."""
        schedule = self.schedule
        return [
            self.request(self.panel, schedule.rows_after(window))
            for window in range(schedule.windows)
        ]

    def method(self, forecasts: Forecasts) -> MethodForecast:
        """Return forecasts from all origins, `(origins, horizon)` by name, as a method to score."""
        intervals = {
            level: (forecasts[f"yhat-lo-{level:g}"], forecasts[f"yhat-hi-{level:g}"])
            for level in self.settings.levels
            if f"yhat-lo-{level:g}" in forecasts
        }
        return MethodForecast(forecasts["yhat"], intervals)


class Contender(Protocol):
    """A way to forecast."""

    def evaluate(self, task: Task, seconds: float) -> MethodForecast:
        """Forecast from all origins within some seconds.

        Raises:
            Exception: it cannot; the comparison goes on without it.
        """

    def forecast(self, task: Task, seconds: float) -> tuple[Forecasts, Forecaster | None]:
        """Forecast the horizon after all rows; also return the fitted forecaster, if it is ours."""


@dataclass(frozen=True)
class NetworkContender:
    """A forecaster of ours, fitted once, on the rows before the first origin."""

    forecaster: Forecaster

    def evaluate(self, task: Task, seconds: float) -> MethodForecast:
        """Forecast from all origins within some seconds."""
        schedule = task.schedule
        train = split_last(task.frame, schedule.rows_after(0), task.panel.columns)[0]
        windows = range(schedule.windows)
        forecaster = self._limited(seconds)
        fold = run_fold(forecaster, train, task.panel, schedule, windows, task.columns)
        repeat_warnings(fold.warned)
        series = len(task.panel.ids)
        if len(fold.origins) < series * schedule.windows:
            fitted = len(np.unique(fold.origins.series))
            raise DataError(f"only {fitted} of {series} series are long enough")
        return task.method(fold.forecasts)

    def forecast(self, task: Task, seconds: float) -> tuple[Forecasts, Forecaster | None]:
        """Forecast the horizon after all rows."""
        df, columns = task.all_rows()
        forecaster = self._limited(seconds).fit(df, columns=columns)
        fitted = forecaster.fitted_
        if not fitted.panel.ids.equals(task.whole.ids):
            raise DataError(f"only {len(fitted.panel.ids)} series could be fitted to all rows")
        return fitted.forecast(fitted.request(None, task.future)), forecaster

    def _limited(self, seconds: float) -> Forecaster:
        own_limit = self.forecaster.settings().training.seconds or np.inf
        limit = float(min(TRAINING_SHARE * seconds, own_limit))
        copy: Forecaster = clone(self.forecaster)
        return copy.set_params(training__seconds=limit, training__progress=False)


@dataclass(frozen=True)
class LinearContender:
    """The linear expert without a network, fitted once, on the rows before the first origin."""

    def evaluate(self, task: Task, seconds: float) -> MethodForecast:
        """Forecast from all origins, in much less than a second a series."""
        seen = task.panel.values.lengths - task.schedule.rows_after(0)
        fitted = self._fit(task, task.panel.select(0, seen))
        return task.method(forecast_at(fitted, task.panel, task.origins, seen))

    def forecast(self, task: Task, seconds: float) -> tuple[Forecasts, Forecaster | None]:
        """Forecast the horizon after all rows."""
        fitted = self._fit(task, task.whole)
        return fitted.forecast(fitted.request(None, task.future)), None

    @staticmethod
    def _fit(task: Task, panel: Panel) -> Fitted:
        return Fitting.of(task.settings, panel, short_series="pad").run_linear()


@dataclass(frozen=True)
class FromTargets:
    """A forecast from the targets only, fitted again at each origin."""

    run: Callable[[list[Request], float], list[Forecasts]]

    def evaluate(self, task: Task, seconds: float) -> MethodForecast:
        """Forecast from all origins within some seconds."""
        by_window = self.run(task.requests(), seconds)
        horizon = task.schedule.horizon
        forecasts = {
            name: np.stack([window[name] for window in by_window], axis=1).reshape(-1, horizon)
            for name in by_window[0]
        }
        return task.method(forecasts)

    def forecast(self, task: Task, seconds: float) -> tuple[Forecasts, Forecaster | None]:
        """Forecast the horizon after all rows."""
        return self.run([task.request(task.whole)], seconds)[0], None


def _naive(requests: list[Request], seconds: float, *, seasonal: bool) -> list[Forecasts]:
    """Repeat the last season, or the last value."""

    def forecast(request: Request) -> Forecasts:
        options = {"season_length": request.season_length} if seasonal else {}
        histories = request.histories
        parts = [naive(history, horizon=request.horizon, **options) for history in histories]
        return {"yhat": np.stack(parts)}

    return [forecast(request) for request in requests]


def _peer(requests: list[Request], seconds: float, *, name: str) -> list[Forecasts]:
    """Run a forecaster of another library, at most for some seconds."""
    return run_in_time(partial(run_peer, name, requests), seconds)


def run_in_time(function: Callable[[], Any], seconds: float) -> Any:
    """Return the result of a function, which runs in a process that is stopped after some seconds.

    Raises:
        DataError: the time is over.
    """
    # With one job, joblib would run the function in this process, and could not stop it.
    run = joblib.Parallel(n_jobs=2, backend="loky", timeout=seconds)
    try:
        return run([joblib.delayed(function)()])[0]
    except (TimeoutError, multiprocessing.TimeoutError) as error:
        raise DataError(f"not ready after {seconds:.0f} seconds") from error


#: Contenders that need no forecaster, by name, the quick ones first.
CONTENDERS: dict[str, Contender] = {
    "naive": FromTargets(partial(_naive, seasonal=False)),
    "seasonal naive": FromTargets(partial(_naive, seasonal=True)),
    "linear": LinearContender(),
    **{name: FromTargets(partial(_peer, name=name)) for name in PEERS},
}
#: Architectures of networks that take part.
NETWORKS = ("multi_output", "segment_rnn")

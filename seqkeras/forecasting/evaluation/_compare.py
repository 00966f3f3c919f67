"""Compare forecasters within a given time, and forecast with the best one."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Booleans
from seqkeras._checks import bad_argument, check_flag, check_integer, check_one_of, check_positive
from seqkeras._html import html_frame
from seqkeras.engines import Engine
from seqkeras.engines._choice import as_engine
from seqkeras.engines._parts import Result, Work
from seqkeras.errors import DataError, SeqkerasError
from seqkeras.forecasting import _plots
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting.evaluation._contenders import (
    CONTENDERS,
    NETWORKS,
    Contender,
    NetworkContender,
    Task,
)
from seqkeras.forecasting.evaluation._dependencies import described_columns, described_parameters
from seqkeras.forecasting.evaluation._folds import actuals_after, only_read, read_history
from seqkeras.forecasting.evaluation._peers import PEERS
from seqkeras.forecasting.evaluation._schedule import Schedule
from seqkeras.forecasting.evaluation._scores import MethodForecast, tables
from seqkeras.forecasting.evaluation._tune import SCORES
from seqkeras.forecasting.fitted._origins import check_names
from seqkeras.forecasting.frames._checksum import panel_checksum
from seqkeras.forecasting.frames._columns import Columns, as_columns
from seqkeras.forecasting.frames._future import read_future
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.forecasting.networks._predict import Forecasts

#: Contenders that take no time worth planning.
QUICK = ("naive", "seasonal naive", "linear")
#: Least seconds of a contender, even if the time is over.
LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        scores: one row for each contender, the best first: the score by which they were ranked, as
            `"MASE, choice"`; MASE, WQL and the coverage of intervals on the last horizon, which had
            no part in the ranking; the seconds it took; and `why` it could not take part.
        winner: name of the first contender, which forecasts.
        forecast: its forecast of the horizon after the last row, in the form of
            `Forecaster.predict`.
        forecaster: the winner, fitted to all rows, if it is a network; otherwise None.
    """

    scores: pd.DataFrame
    winner: str
    forecast: Any
    forecaster: Forecaster | None
    _parts: dict[str, list[pd.DataFrame]] = field(repr=False)
    _columns: tuple[str, str] = field(repr=False)
    _levels: tuple[float, ...] = field(repr=False)

    def _repr_html_(self) -> str | None:
        return html_frame(f"Comparison: {self.winner} is the best", self.scores)

    def plot(self, *, title: str = "") -> Any:
        """Plot the scores as bars, and the winner's forecast of the first series below them.

        Args:
            title: title of the figure, default none.

        Returns:
            A `matplotlib.figure.Figure`; `figure.savefig("compare.png")` saves it.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        known = self.scores[self.scores["why"] == ""]
        label, frames = next(iter(self._parts.items()))
        return _plots.draw_comparison(
            known, label, frames, self._columns, self._levels, title=title
        )


def compare(
    df: "pd.DataFrame | pd.Series",
    horizon: int,
    *,
    minutes: float = 5.0,
    columns: Columns | None = None,
    future: "pd.DataFrame | None" = None,
    contenders: Sequence[str] | None = None,
    forecasters: Mapping[str, Forecaster] | None = None,
    windows: int = 2,
    score: str = "MASE",
    levels: tuple[float, ...] = (80, 95),
    season_length: int | None = None,
    seed: int = 0,
    progress: bool = True,
    engine: str | Engine | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Comparison:
    """Compare ways to forecast within some minutes, and forecast with the best one.

    The contenders are ranked by forecasts from `windows` rolling origins. The horizon after these,
    the last one of each series, does not take part in the ranking: scores on it are those to
    expect. Then the best contender is fitted to all rows. Networks and the linear expert are fitted
    once, on the rows before the first origin; the others, which read only the targets, again at
    each origin.

    The minutes are divided evenly among the contenders that remain and the last fit. Networks stop
    training when their time is over. Forecasters of other libraries run in a process that is
    stopped then; one that is not ready does not take part.

    Args:
        df: as for `Forecaster.fit`.
        horizon: timesteps to forecast.
        minutes: time for everything, about one minute or more. Default 5.
        columns: as for `Forecaster.fit`.
        future: as for `Forecaster.predict`; required with future covariates.
        contenders: names from `"multi_output"` and `"segment_rnn"` (networks), `"linear"` (the
            linear expert), `"seasonal naive"`, `"naive"`, and, if their packages are installed,
            `"AutoETS"` and `"AutoTheta"` (statsforecast) and `"LightGBM"` (mlforecast, lightgbm).
            Default: all that are installed.
        forecasters: more forecasters by name, with the same horizon. Default: none.
        windows: origins by which the contenders are ranked, default 2.
        score: `"MAE"`, `"RMSE"`, `"sMAPE"`, `"MASE"`, `"WQL"` or `"CRPS"`, as in `Backtest`.
        levels: levels of the intervals in percent, default 80 and 95.
        season_length: timesteps of one season. Default: that of the frequency.
        seed: seed of the networks. Because of the time limit, it does not repeat a result exactly.
        progress: whether to show progress. Default True.
        engine: where the contenders forecast from the origins, several at a time: `"joblib"`,
            `"ray"`, `"dask"`, `"spark"`, or an object of `seqkeras.engines`. Each then has the same
            share of the minutes. None: here, one after the other, and time that one does not need
            is divided among the others. The last fit runs here in any case.
        folder: folder in which the forecasts of each contender are stored as soon as they are
            ready. If the comparison is interrupted or killed, the same call runs only the others.
            None: nothing is stored.

    Returns:
        A `Comparison`: `scores`, `winner`, `forecast`, `forecaster`, `plot()`.

    Raises:
        ArgumentError: an argument cannot be used.
        MissingDependencyError: a contender needs a package that is not installed.
        DataError: as `Forecaster.fit`, or all series are too short, or no contender can be scored.
        WorkerError: a worker process ended. What was ready is in the folder.

    Warns:
        SkippedSeriesWarning: series are too short to be scored; they are forecast, unless
            `columns` skips short series.

    Example:
        >>> from seqkeras.forecasting import load_air_passengers
        >>> quick = ["linear", "seasonal naive"]
        >>> result = compare(load_air_passengers(), 12, contenders=quick, progress=False)
        >>> result.winner, result.scores.columns.tolist()
        ('linear', ['MASE, choice', 'MASE', 'WQL', 'in 80 %', 'in 95 %', 'seconds', 'why'])
    """
    end = time.monotonic() + 60 * check_positive("minutes", minutes)
    check_one_of("score", score, SCORES)
    check_flag("progress", progress)
    runner = as_engine(engine)
    windows = check_integer("windows", windows)
    own: dict[str, Any] = {"season_length": season_length, "intervals": levels, "seed": seed}
    settings = Forecaster(horizon, **own).settings()
    entrants = _entrants(settings.horizon, contenders, forecasters or {}, own)
    schedule = Schedule.parse(settings.horizon, windows=windows + 1)
    frame, panel, read_columns = read_history(df, schedule.rows, columns)
    check_names(panel)
    is_padded = read_columns.short_series == "pad"
    whole = read_panel(df, as_columns(columns)) if is_padded else panel
    if panel.covariates.future and future is None:
        fix = "Pass a frame with them for each series and timestep: the last fit forecasts with it."
        raise bad_argument("future", None, f"the columns {panel.covariates.future} ahead", fix)
    read_future(whole, future, settings.horizon)  # so that errors are raised before the work
    task = Task(
        df=df,
        own_columns=columns,
        future=future,
        frame=frame,
        columns=read_columns,
        panel=panel,
        whole=whole,
        schedule=schedule,
        settings=settings,
    )
    work = _work(task, entrants, end, minutes, is_here=runner.is_here)
    results = work.run(runner, folder, is_hidden=not progress)
    entries = {
        name: _Entry.restore(task, result) for name, result in zip(entrants, results, strict=True)
    }
    table = _ranked(task, entries, score)
    for winner in table.index[table["why"] == ""]:
        limit = max(LEAST_SECONDS, end - time.monotonic())
        try:
            forecasts, forecaster = entrants[winner].forecast(task, limit)
        except Exception as error:
            table.loc[winner, "why"] = f"fit to all rows: {_told(error)}"
        else:
            table = table.sort_values("why", key=lambda why: why != "", kind="stable")
            return _comparison(task, table, str(winner), forecasts, forecaster)
    raise DataError(f"No contender could forecast. {_reasons(table)}")


@dataclass(frozen=True)
class _Entry:
    """What became of a contender.

    Attributes:
        method: its forecasts from all origins, or None.
        seconds: the seconds that they took.
        why: why there are no forecasts.
    """

    method: MethodForecast | None
    seconds: float
    why: str = ""

    def result(self) -> Result:
        """Return the entry in a form that can be stored."""
        forecasts = self.method.named() if self.method is not None else {}
        return Result(forecasts, {"seconds": self.seconds, "why": self.why})

    @classmethod
    def restore(cls, task: Task, result: Result) -> "_Entry":
        """Return the entry that `result` has returned."""
        forecasts = dict(result.arrays)
        method = task.method(forecasts) if forecasts else None
        return cls(method, float(result.facts["seconds"]), str(result.facts["why"]))


@dataclass(frozen=True)
class _Evaluation:
    """Evaluates a contender, in this process or another.

    Attributes:
        task: what the contenders forecast.
        seconds: seconds for all of them.
        end: when these are over, by the clock of this process; None in another one.
    """

    task: Task
    seconds: float
    end: float | None

    def __call__(self, part: tuple[Contender, int]) -> Result:
        """Evaluate a contender that gets one of so many shares of the time that is left."""
        contender, shares = part
        left = self.seconds if self.end is None else self.end - time.monotonic()
        return _evaluate(contender, self.task, max(LEAST_SECONDS, left / shares)).result()


def _entrants(
    horizon: int,
    names: Sequence[str] | None,
    forecasters: Mapping[str, Forecaster],
    own: dict[str, Any],
) -> dict[str, Contender]:
    """Return the contenders by name, the quick ones first.

    Raises:
        ArgumentError: a name is unknown, or a forecaster has another horizon or a name of ours.
        MissingDependencyError: a contender needs a package that is not installed.
    """
    known = (*CONTENDERS, *NETWORKS)
    if names is None:
        names = [name for name in known if name not in PEERS or PEERS[name].is_installed]
    for name in names:
        check_one_of("contenders", name, known)
        if name in PEERS:
            PEERS[name].check()
    entrants: dict[str, Contender] = {
        name: contender for name, contender in CONTENDERS.items() if name in names
    }
    for name in NETWORKS:
        if name in names:
            entrants[name] = NetworkContender(Forecaster(horizon, network=name, **own))
    for name, forecaster in forecasters.items():
        check_is_forecaster(forecaster)
        if name in known:
            raise bad_argument("forecasters", name, f"names other than {', '.join(known)}")
        if forecaster.settings().horizon != horizon:
            expected = f"{horizon}, the horizon of the comparison"
            raise bad_argument(f"the horizon of {name!r}", forecaster.horizon, expected)
        entrants[name] = NetworkContender(forecaster)
    if not entrants:
        raise bad_argument("contenders", list(names), "one contender or more")
    return entrants


def _work(
    task: Task, entrants: dict[str, Contender], end: float, minutes: float, *, is_here: bool
) -> Work:
    """Return the evaluation of all contenders; each gets an even share of the time."""
    is_slow = [name not in QUICK for name in entrants]
    # One share is for the last fit. One after the other, contenders share what others have left.
    shares = [1 + sum(is_slow[number if is_here else 0 :]) for number in range(len(entrants))]
    frame = only_read(task.frame, task.panel)
    evaluated = replace(task, df=None, own_columns=None, future=None, frame=frame, whole=task.panel)
    forecasters = {
        name: described_parameters(entrant.forecaster)
        for name, entrant in entrants.items()
        if isinstance(entrant, NetworkContender)
    }
    return Work(
        label="compare",
        unit="contender",
        function=_Evaluation(evaluated, end - time.monotonic(), end if is_here else None),
        parts=dict(zip(entrants, zip(entrants.values(), shares, strict=True), strict=True)),
        inputs={
            "data": panel_checksum(task.panel),
            "columns": described_columns(task.panel, task.columns),
            "schedule": str(task.schedule),
            "contenders": str(list(entrants)),
            "parameters": f"{task.settings.levels} {task.season_length} {task.settings.seed} "
            f"{forecasters}",
            "minutes": str(minutes),
            "peers": "; ".join(PEERS[name].versions for name in entrants if name in PEERS),
        },
    )


def _evaluate(contender: Contender, task: Task, limit: float) -> _Entry:
    """Run a contender. An error of it, of whatever kind, does not end the comparison."""
    start = time.monotonic()
    try:
        method = contender.evaluate(task, limit)
    except Exception as error:
        return _Entry(None, time.monotonic() - start, _told(error))
    return _Entry(method, time.monotonic() - start)


def _told(error: Exception) -> str:
    """Return the message of an error, with its type if it is not ours."""
    return str(error) if isinstance(error, SeqkerasError) else f"{type(error).__name__}: {error}"


def _ranked(task: Task, entries: dict[str, _Entry], score: str) -> pd.DataFrame:
    """Return the table of scores, the best contender first.

    Raises:
        DataError: no contender has a score.
    """
    methods = {name: entry.method for name, entry in entries.items() if entry.method is not None}
    table = pd.DataFrame(index=pd.Index(entries, name="contender"))
    choice = f"{score}, choice"
    last = np.arange(task.schedule.windows) == task.schedule.windows - 1
    if methods:
        table[choice] = _scores(task, methods, ~last)[score]
        final = _scores(task, methods, last)
        coverages = [name for name in final if name.startswith("in ")]
        names = list(dict.fromkeys([score, "MASE", "WQL", *coverages]))
        table = table.join(final[names])
    table["seconds"] = [entry.seconds for entry in entries.values()]
    table["why"] = [entry.why for entry in entries.values()]
    if not methods:
        raise DataError(f"No contender could forecast. {_reasons(table)}")
    if table[choice].isna().all():
        fix = "Use another score, such as score='MAE'."
        raise DataError(f"No contender has a {score}: it is not defined for these series. {fix}")
    return table.sort_values(choice, kind="stable")


def _scores(task: Task, methods: dict[str, MethodForecast], windows: Booleans) -> pd.DataFrame:
    """Return the overall scores of forecasts from some of the origins of each series."""
    chosen = np.tile(windows, len(task.panel.ids))
    origins = task.origins[chosen]
    actuals = actuals_after(task.panel, origins, task.schedule, task.season_length)
    return tables(actuals, {name: method.take(chosen) for name, method in methods.items()})[0]


def _reasons(table: pd.DataFrame) -> str:
    return " ".join(f"{name}: {why}." for name, why in table["why"].items())


def _comparison(
    task: Task,
    table: pd.DataFrame,
    winner: str,
    forecasts: Forecasts,
    forecaster: Forecaster | None,
) -> Comparison:
    panel = task.whole.take([0])
    levels = tuple(level for level in task.settings.levels if f"yhat-lo-{level:g}" in forecasts)
    rows = 4 * task.schedule.horizon + 2 * task.season_length
    first = panel.forecast_frame({name: values[:1] for name, values in forecasts.items()})
    parts = panel.split([panel.tail(rows).history_frame(), first])
    names = (panel.columns.time, panel.columns.target)
    forecast = task.whole.shaped_forecast(forecasts)
    return Comparison(table, winner, forecast, forecaster, parts, names, levels)

"""Search for good parameters of a forecaster, scored by backtests before a held-out part."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from seqkeras._checks import bad_argument, check_integer, check_one_of, check_positive
from seqkeras._html import html_frame
from seqkeras._lazy import import_optional
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting.evaluation._backtest import backtest
from seqkeras.forecasting.evaluation._dependencies import described_columns, described_parameters
from seqkeras.forecasting.evaluation._folds import read_history
from seqkeras.forecasting.evaluation._space import (
    Ranges,
    Space,
    as_space,
    default_space,
    described,
)
from seqkeras.forecasting.fitted._origins import check_names
from seqkeras.forecasting.frames._checksum import panel_checksum
from seqkeras.forecasting.frames._columns import Columns
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._reading import split_last
from seqkeras.training._progress import Progress

SCORES = ("MAE", "RMSE", "sMAPE", "MASE", "WQL", "CRPS")


@dataclass(frozen=True)
class Tuning:
    """The result of a search.

    Attributes:
        forecaster: a forecaster with the best parameters, not fitted.
        trials: one row for each trial, the best first: its number, its parameters, the score,
            `state`, `windows` that were scored, `seconds`, and `why` it could not be fitted. The
            state is `"complete"`; `"pruned"` for a trial that was given up after some of the
            windows or could not be fitted; or that of Optuna for an interrupted trial. Choices that
            are neither numbers nor text are shown with their position in the list.
        study: the `optuna.Study`, for its own plots and storage.
    """

    forecaster: Forecaster
    trials: pd.DataFrame
    study: Any

    def _repr_html_(self) -> str | None:
        return html_frame("Tuning: trials, the best first", self.trials)


def tune(
    forecaster: Forecaster,
    df: "pd.DataFrame | pd.Series",
    *,
    columns: Columns | None = None,
    space: Ranges | Space | None = None,
    trials: int = 30,
    seconds: float | None = None,
    windows: int = 2,
    holdout: int | None = None,
    score: str = "MASE",
    storage: Any = None,
    name: str = "seqkeras",
    seed: int = 0,
) -> Tuning:
    """Search for good parameters of a forecaster, with Optuna (Akiba et al. 2019).

    Each trial is scored by a backtest with a fresh fit at each origin, one window after the other.
    After each window, a trial that is worse than the median of earlier trials at that point is
    given up. No trial sees the last `holdout` rows of each series. With the default `holdout`,
    `evaluate_holdout(result.forecaster, df)` scores the result on exactly these rows.

    Args:
        forecaster: a forecaster with the parameters that are not searched. It does not change. With
            a seed, trials differ only by their parameters.
        df: as for `Forecaster.fit`.
        columns: as for `Forecaster.fit`.
        space: a dict from parameters of the forecaster, such as `"lookback"` or
            `"network__units"`, to their values: a list of choices, or a tuple with the two ends of
            a range, searched on a logarithmic scale. Or a function from an `optuna.Trial` to a dict
            of parameters. None: learning rate and lookback, and for a named architecture also
            architecture, units, cell and normalization; the first trial then has the parameters of
            `forecaster`. `"recursive"` is omitted with past covariates, which it cannot read, and
            with a likelihood, where it draws many paths for each forecast; with a `teacher_forcing`
            other than 1 it is the only architecture. A trial with incompatible parameters is
            pruned, and `why` gives the reason.
        trials: total number of trials, including those in `storage`.
        seconds: seconds after which no further trial begins; None for no limit.
        windows: number of origins at which each trial is scored.
        holdout: rows at the end of each series that no trial sees. None: the horizon.
        score: `"MAE"`, `"RMSE"`, `"sMAPE"`, `"MASE"`, `"WQL"` or `"CRPS"`, as in `Backtest`.
        storage: storage of Optuna, such as `"sqlite:///search.db"`. Another call with the same
            arguments continues the search; `trials`, `seconds` and `seed` may differ. None: nothing
            is stored.
        name: name of the study in the storage.
        seed: seed of the search.

    Returns:
        A `Tuning`: `forecaster`, `trials`, `study`.

    Raises:
        MissingDependencyError: Optuna is not installed.
        ArgumentError: an argument or a parameter of `forecaster` is invalid; or the storage has a
            study of this name with other rows, columns, scores, parameters or search space.
        DataError: as `backtest`, or no trial could be fitted.

    Example:
        >>> from seqkeras.forecasting import Training, load_air_passengers
        >>> training = Training(epochs=1, validation=0, progress=False)
        >>> forecaster = Forecaster(6, lookback=12, intervals=(), training=training, seed=0)
        >>> space = {"training__learning_rate": (1e-3, 1e-2), "network__units": [4, 8]}
        >>> result = tune(forecaster, load_air_passengers(), space=space, trials=2, windows=1)
        >>> result.trials.columns.tolist()[1:4]
        ['training__learning_rate', 'network__units', 'MASE']
        >>> result.forecaster.network.units in (4, 8)
        True
    """
    check_is_forecaster(forecaster)
    optuna = import_optional("optuna", extra="tune")
    settings = forecaster.settings()
    trials = check_integer("trials", trials)
    windows = check_integer("windows", windows)
    holdout = (
        check_integer("holdout", holdout, minimum=0) if holdout is not None else settings.horizon
    )
    check_one_of("score", score, SCORES)
    seconds = check_positive("seconds", seconds) if seconds is not None else np.inf
    seed = check_integer("seed", seed, minimum=0)
    rows = holdout + windows * settings.horizon
    frame, panel, columns = read_history(df, rows, columns)
    check_names(panel)
    own: dict[str, Any] = {}
    if space is None:
        known = panel.select(0, panel.values.lengths - rows)
        space, own = default_space(settings, known, columns.short_series)
    parameters = as_space(space, forecaster.get_params())
    task = _Task(forecaster, frame, panel, parameters, windows, holdout, score, columns, own)
    study = _study(optuna, storage, name, seed, task.fingerprint(space))
    if own and own not in _tried(study):
        study.enqueue_trial(own)
    _search(optuna, study, task, trials, seconds)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not complete:
        reasons = [trial.user_attrs["why"] for trial in study.trials if "why" in trial.user_attrs]
        why = reasons[0] if reasons else ""
        raise DataError(f"None of {len(study.trials)} trials could be fitted. The first: {why}")
    best = min(complete, key=lambda trial: trial.value)
    winner = clone(forecaster).set_params(**parameters(optuna.trial.FixedTrial(best.params)))
    return Tuning(winner, _table(study, score), study)


@dataclass(frozen=True)
class _Task:
    """The data and the arguments that all trials share.

    Attributes:
        own: the forecaster's own point in the default space; empty with another space.
    """

    forecaster: Forecaster
    df: pd.DataFrame
    panel: Panel
    parameters: Space
    windows: int
    holdout: int
    score: str
    columns: Columns
    own: dict[str, Any]

    def run(self, trial: Any, prune: Callable[[], None]) -> float:
        """Return the mean score over the windows.

        Raises:
            DataError: a window cannot be scored with these parameters.
        """
        candidate = clone(self.forecaster).set_params(**self.parameters(trial))
        candidate.set_params(training__progress=False)
        scores: list[float] = []
        for window in range(self.windows):
            scores.append(self._score(candidate, window))
            trial.report(float(np.mean(scores)), window)
            if window + 1 < self.windows:
                prune()
        return float(np.mean(scores))

    def _score(self, candidate: Forecaster, window: int) -> float:
        horizon = self.forecaster.settings().horizon
        later = self.holdout + horizon * (self.windows - 1 - window)
        rows = split_last(self.df, later, self.panel.columns)[0] if later else self.df
        result = backtest(candidate, rows, columns=self.columns)
        scored = len(result.by_series.loc["seqkeras"])
        series = len(self.panel.ids)
        if scored < series:
            raise DataError(
                f"only {scored} of {series} series could be scored, and scores over other series "
                "cannot be compared"
            )
        value = float(result.scores.loc["seqkeras", self.score])
        if not np.isfinite(value):
            raise DataError(f"{self.score} is {value}")
        return value

    def fingerprint(self, space: Ranges | Space) -> dict[str, str]:
        """Describe what trials of one study must share: data, scores, parameters and space."""
        searched = set() if callable(space) else set(space)
        return {
            "rows": panel_checksum(self.panel),
            "columns": described_columns(self.panel, self.columns),
            "scores": f"{self.score} of {self.windows} windows before {self.holdout} rows",
            "parameters": described_parameters(self.forecaster, omitted=searched),
            "space": described(space),
        }


def _tried(study: Any) -> list[dict[str, Any]]:
    """Return the parameters of complete, pruned and waiting trials; killed ones are tried again."""
    states = ("COMPLETE", "PRUNED", "WAITING")
    trials = [trial for trial in study.trials if trial.state.name in states]
    return [trial.system_attrs.get("fixed_params", trial.params) for trial in trials]


def _study(optuna: Any, storage: Any, name: str, seed: int, fingerprint: dict[str, str]) -> Any:
    """Return a new study, or the one of this name in the storage."""
    with _quiet(optuna):
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            load_if_exists=True,
            direction="minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        )
    # Each continuation gets another seed: with the same one it would repeat the first draws.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    before = study.user_attrs.setdefault("seqkeras", fingerprint)
    differing = [part for part, value in fingerprint.items() if before.get(part) != value]
    if differing:
        fix = f"The search of this name had other {', '.join(differing)}. Use another name."
        raise bad_argument("name", name, "new, or that of a search with equal arguments", fix)
    study.set_user_attr("seqkeras", fingerprint)
    return study


def _search(optuna: Any, study: Any, task: _Task, count: int, seconds: float) -> None:
    states = optuna.trial.TrialState
    done = sum(trial.state in (states.COMPLETE, states.PRUNED) for trial in study.trials)
    end = time.monotonic() + seconds
    is_hidden = not task.forecaster.settings().training.progress
    with Progress(count, "tune", "trial", done=min(done, count), is_hidden=is_hidden) as progress:
        while done < count and time.monotonic() < end:
            _run(optuna, study, task, study.ask())
            done += 1
            progress.update(done)
            progress.report(f"trial {done}/{count}", _best(study))


def _best(study: Any) -> dict[str, str]:
    """Return the best score so far, named "best", or no entry before a trial is complete."""
    scores = [trial.value for trial in study.trials if trial.state.name == "COMPLETE"]
    return {"best": f"{min(scores):.4f}"} if scores else {}


def _run(optuna: Any, study: Any, task: _Task, trial: Any) -> None:
    def prune() -> None:
        if trial.should_prune():
            raise optuna.TrialPruned

    states = optuna.trial.TrialState
    try:
        study.tell(trial, task.run(trial, prune))
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
    except (ArgumentError, DataError) as error:
        # Raise an error for the forecaster's own parameters: the search is not the reason for it.
        unusable = isinstance(error, ArgumentError) and trial.params == task.own
        trial.set_user_attr("why", str(error))
        study.tell(trial, state=states.FAIL if unusable else states.PRUNED)
        if unusable:
            raise
    except BaseException:
        study.tell(trial, state=states.FAIL)
        raise


def _table(study: Any, score: str) -> pd.DataFrame:
    rows = [
        {
            "trial": trial.number,
            **trial.params,
            score: trial.value if trial.state.name == "COMPLETE" else np.nan,
            "state": trial.state.name.lower(),
            "windows": len(trial.intermediate_values),
            "seconds": trial.duration.total_seconds() if trial.duration else np.nan,
            "why": trial.user_attrs.get("why", ""),
        }
        for trial in study.trials
    ]
    return pd.DataFrame(rows).sort_values(score, ignore_index=True, kind="stable")


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Silence the line that Optuna writes for each study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)

"""A search for good parameters, scored by backtests on rows before those that it must not see."""

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from tqdm import tqdm

from seqkeras._checks import bad_argument, check_integer, check_one_of, check_positive
from seqkeras._lazy import optional
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting.evaluation._backtest import check_names, read_history
from seqkeras.forecasting.evaluation._space import (
    Ranges,
    Space,
    as_space,
    default_space,
    described,
    readable,
)
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._reading import split_last

SCORES = ("MAE", "RMSE", "sMAPE", "MASE", "WQL", "CRPS")


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Attributes:
        forecaster: not fitted, with the best parameters.
        trials: one row for each trial, the best first: its number, its parameters, the score,
            `state` (`"complete"`, or `"pruned"`: given up after some of the windows, or because it
            could not be fitted), `windows` that were scored, `seconds`, and `why` it could not be
            fitted. Choices that are no numbers and words stand with their place in the list.
        study: the `optuna.Study`, for its own plots and storage.
    """

    forecaster: Forecaster
    trials: pd.DataFrame
    study: Any


def tune(
    forecaster: Forecaster,
    df: "pd.DataFrame | pd.Series",
    *,
    space: Ranges | Space | None = None,
    trials: int = 30,
    seconds: float | None = None,
    windows: int = 2,
    holdout: int | None = None,
    score: str = "MASE",
    storage: Any = None,
    name: str = "seqkeras",
    seed: int = 0,
    **columns: Any,
) -> Tuning:
    """Searches for good parameters of a forecaster, with Optuna (Akiba et al. 2019).

    Each trial is scored by a backtest with a fresh fit at each origin, one window after the other.
    After each, a trial that is worse than the median of the others was there is given up. The last
    rows of each series are not seen by any trial: with the default, `evaluate_holdout(
    found.forecaster, df)` scores the result on just these.

    Args:
        forecaster: gives the parameters that are not searched. It is not changed. With a seed,
            trials differ by their parameters alone.
        df: as for `Forecaster.fit`.
        space: a dict from parameters of the forecaster to what they may be: a list of choices, or
            a tuple with the two ends of a range, searched on a logarithmic scale. Or a function
            from an `optuna.Trial` to a dict of parameters. None: learning rate and lookback, and
            where `model` is a name, also model, units, cell and normalization; the first trial is
            then the forecaster as it is. `"recursive"` is left out with past covariates, which it
            cannot read, and with a head, where it draws many futures for each forecast; with a
            `teacher_forcing` other than 1 it is the only one. Parameters that do not go together
            end their trial, which says why.
        trials: how many in all, those in `storage` included.
        seconds: no trial begins later than this; None for no limit.
        windows: origins that each trial is scored at.
        holdout: rows at the end of each series that no trial sees. None: the horizon.
        score: `"MAE"`, `"RMSE"`, `"sMAPE"`, `"MASE"`, `"WQL"` or `"CRPS"`, as in `Backtest`.
        storage: of Optuna, such as `"sqlite:///search.db"`: the same call goes on where the last
            one stopped; `trials`, `seconds` and `seed` may be others. None: nothing is kept.
        name: of the study in the storage.
        seed: of the search.
        **columns: id_col, time_col, target_col, freq and the rest, as for `Forecaster.fit`.

    Returns:
        A `Tuning`: `forecaster`, `trials`, `study`.

    Raises:
        MissingDependencyError: Optuna is not installed.
        ArgumentError: an argument, or a parameter of the forecaster as it is, cannot be used; or
            the storage has a study of this name on other rows, or of other parameters.
        DataError: as `Forecaster.backtest`, or no trial could be fitted.

    Example:
        >>> from seqkeras.forecasting import load_air_passengers
        >>> forecaster = Forecaster(6, lookback=12, epochs=1, levels=(), seed=0, progress=False)
        >>> space = {"learning_rate": (1e-3, 1e-2), "units": [4, 8]}
        >>> found = tune(forecaster, load_air_passengers(), space=space, trials=2, windows=1)
        >>> found.trials.columns.tolist()
        ['trial', 'learning_rate', 'units', 'MASE', 'state', 'windows', 'seconds', 'why']
        >>> found.forecaster.get_params()["units"] in (4, 8)
        True
    """
    optuna = optional("optuna", extra="tune")
    forecaster._check_parameters()
    trials, windows = check_integer("trials", trials), check_integer("windows", windows)
    holdout = (
        forecaster.horizon if holdout is None else check_integer("holdout", holdout, minimum=0)
    )
    check_one_of("score", score, SCORES)
    seconds = np.inf if seconds is None else check_positive("seconds", seconds)
    check_integer("seed", seed, minimum=0)
    rows = holdout + windows * forecaster.horizon
    frame, panel, columns = read_history(forecaster, df, rows, columns)
    check_names(panel)
    known = panel.select(0, panel.values.lengths - rows)
    itself: dict[str, Any] = {}
    if space is None:
        space, itself = default_space(forecaster, known)
    parameters = as_space(space, forecaster)
    trial = _Trial(forecaster, frame, panel, parameters, windows, holdout, score, columns, itself)
    study = _study(optuna, storage, name, seed, trial.fingerprint(space))
    if itself and itself not in _tried(study):
        study.enqueue_trial(itself)
    _search(optuna, study, trial, trials, seconds)
    complete = [one for one in study.trials if one.state.name == "COMPLETE"]
    if not complete:
        why = next((one.user_attrs["why"] for one in study.trials if "why" in one.user_attrs), "")
        raise DataError(f"None of {len(study.trials)} trials could be fitted. The first: {why}")
    best = min(complete, key=lambda one: one.value)
    found = clone(forecaster).set_params(**parameters(optuna.trial.FixedTrial(best.params)))
    return Tuning(found, _table(study, score), study)


@dataclass(frozen=True)
class _Trial:
    """What all trials have in common."""

    forecaster: Forecaster
    df: pd.DataFrame
    panel: Panel
    parameters: Space
    windows: int
    holdout: int
    score: str
    columns: dict[str, Any]
    itself: dict[str, Any]

    def run(self, trial: Any, prune: Callable[[], None]) -> float:
        """The mean score over the windows.

        Raises:
            DataError: a window cannot be scored with these parameters.
        """
        candidate = clone(self.forecaster).set_params(**self.parameters(trial), progress=False)
        scores: list[float] = []
        for window in range(self.windows):
            scores.append(self._score(candidate, window))
            trial.report(float(np.mean(scores)), window)
            if window + 1 < self.windows:
                prune()
        return float(np.mean(scores))

    def _score(self, candidate: Forecaster, window: int) -> float:
        behind = self.holdout + self.forecaster.horizon * (self.windows - 1 - window)
        rows = split_last(self.df, behind, self.panel.columns)[0] if behind else self.df
        found = candidate.backtest(rows, **self.columns)
        scored, series = len(found.by_series.loc["seqkeras"]), len(self.panel.ids)
        if scored < series:
            raise DataError(f"scores of {scored} of {series} series cannot be compared to others")
        value = float(found.scores.loc["seqkeras", self.score])
        if not np.isfinite(value):
            raise DataError(f"{self.score} is {value}")
        return value

    def fingerprint(self, space: Ranges | Space) -> dict[str, str]:
        """What makes scores comparable, and says which may come next."""
        searched = () if callable(space) else tuple(space)
        fixed = self.forecaster.get_params(deep=False)
        names = sorted(set(fixed) - {*searched, "progress"})
        return {
            "rows": _checksum(self.panel),
            "columns": f"{self.panel.columns} {self.panel.covariates} {self.panel.calendar}"
            f" missing={self.columns.get('missing', 'mask')}",
            "scores": f"{self.score} of {self.windows} windows before {self.holdout} rows",
            "parameters": readable({name: fixed[name] for name in names}),
            "space": described(space),
        }


def _checksum(panel: Panel) -> str:
    """Of ids, stamps, targets and covariates."""
    known = panel.known
    numbers = (panel.values.indptr, panel.values.values, known.rows.values, known.static)
    parts = [np.ascontiguousarray(one).tobytes() for one in (*numbers, known.categories)]
    parts += [repr(index.astype(str).tolist()).encode() for index in (panel.ids, panel.last)]
    return f"{zlib.crc32(b''.join(parts)):08x}"


def _tried(study: Any) -> list[dict[str, Any]]:
    """Parameters of trials that have ended or will be begun, and not of those that were killed."""
    known = ("COMPLETE", "PRUNED", "WAITING")
    some = [one for one in study.trials if one.state.name in known]
    return [one.system_attrs.get("fixed_params", one.params) for one in some]


def _study(optuna: Any, storage: Any, name: str, seed: int, fingerprint: dict[str, str]) -> Any:
    """A new study, or the one of this name in the storage."""
    with _quiet(optuna):
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            load_if_exists=True,
            direction="minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        )
    # Another seed for what goes on, which would be drawn as its first trials were.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    known = study.user_attrs.setdefault("seqkeras", fingerprint)
    other = [part for part, found in fingerprint.items() if known[part] != found]
    if other:
        fix = f"That search had other {', '.join(other)}. Use another name."
        expected = "a new one, or that of a search that was begun with the same"
        raise bad_argument("name", name, expected, fix)
    study.set_user_attr("seqkeras", fingerprint)
    return study


def _search(optuna: Any, study: Any, task: _Trial, count: int, seconds: float) -> None:
    states = optuna.trial.TrialState
    done = sum(one.state in (states.COMPLETE, states.PRUNED) for one in study.trials)
    end = time.monotonic() + seconds
    quiet = None if task.forecaster.progress else True
    with tqdm(
        total=count, initial=min(done, count), desc="tune", leave=False, disable=quiet
    ) as bar:
        while done < count and time.monotonic() < end:
            trial = study.ask()
            _run(optuna, study, task, trial)
            done += 1
            bar.update()


def _run(optuna: Any, study: Any, task: _Trial, trial: Any) -> None:
    def prune() -> None:
        if trial.should_prune():
            raise optuna.TrialPruned

    states = optuna.trial.TrialState
    try:
        study.tell(trial, task.run(trial, prune))
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
    except (ArgumentError, DataError) as error:
        # Where the forecaster itself cannot be used, it is not for parameters that were tried.
        unusable = isinstance(error, ArgumentError) and trial.params == task.itself
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
            "trial": one.number,
            **one.params,
            score: one.value if one.state.name == "COMPLETE" else np.nan,
            "state": one.state.name.lower(),
            "windows": len(one.intermediate_values),
            "seconds": one.duration.total_seconds() if one.duration else np.nan,
            "why": one.user_attrs.get("why", ""),
        }
        for one in study.trials
    ]
    return pd.DataFrame(rows).sort_values(score, ignore_index=True, kind="stable")


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without the line that Optuna writes for each study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)

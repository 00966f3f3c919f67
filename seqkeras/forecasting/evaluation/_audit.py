"""A leak audit: change rows after a cutoff, and check that nothing before it depends on them."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._arrays import Floats, Integers
from seqkeras._checks import bad_argument
from seqkeras.errors import FarValueWarning
from seqkeras.forecasting._forecaster import Forecaster, check_is_forecaster
from seqkeras.forecasting.evaluation._folds import Fold, read_history, run_fold
from seqkeras.forecasting.evaluation._schedule import Schedule
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._tracking import forecast_at
from seqkeras.forecasting.frames._columns import Columns, as_columns
from seqkeras.forecasting.frames._forms import to_long
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._reading import rows_after, split_last
from seqkeras.forecasting.networks._predict import Forecasts

#: Largest change, in scaled units, that counts as rounding, which differs from run to run.
TOLERANCE = 1e-4


def audit_leaks(
    forecaster: Forecaster,
    df: pd.DataFrame,
    *,
    columns: Columns | None = None,
    prepare: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Change rows after a cutoff, fit again, and report what changed before the cutoff.

    Two copies are fitted as in a backtest of two windows, two rows apart: one on the frame, one on
    the frame with other targets and past covariates in every row after the first cutoff, and other
    future covariates in every row after its horizon. Numbers are replaced by far larger and far
    smaller ones, and categories by other categories of their column. A few epochs are enough.

    Args:
        forecaster: a forecaster with a seed. It does not change.
        df: a long frame, as for `Forecaster.fit`.
        columns: as for `Forecaster.fit`.
        prepare: your own preprocessing of a frame for a forecaster, such as scaling, filling or
            lags. It is run on each frame as a whole, so that its leaks are found too. It may add
            covariates that `df` lacks. Only the target and the covariates in `columns` are changed
            in its input, so leaks from other columns are not found.

    Returns:
        A frame, one row for each part of the fit and of the forecasts: `change`, the largest change
        in standard deviations of its series, and `leaks`, whether that is more than rounding.

    Raises:
        ArgumentError, DataError: as `backtest`; or `forecaster` has no seed.

    Example:
        >>> from seqkeras.forecasting import Training, load_air_passengers
        >>> training = Training(epochs=1, validation=0)
        >>> forecaster = Forecaster(6, intervals=(), training=training, seed=0)
        >>> def scaled(df):
        ...     return df.assign(y=df.y / df.y.max())
        >>> report = audit_leaks(forecaster, load_air_passengers(), prepare=scaled)
        >>> report.index[report.leaks].tolist()
        ['scaler', 'rows read', 'forecasts', 'forecasts after newer rows']
    """
    check_is_forecaster(forecaster)
    if forecaster.seed is None:
        raise bad_argument("seed", None, "a number, to make two fits comparable")
    settings = forecaster.settings()
    schedule = Schedule.parse(settings.horizon, windows=2, step=2)
    first = schedule.rows_after(0)
    second = schedule.rows_after(1)

    def read(changed: int) -> tuple[pd.DataFrame, Panel, Columns]:
        """Read the frame with its last `changed` rows changed, as `backtest` would."""
        frame = _changed(df, changed, settings.horizon, panel) if changed else df
        return read_history(prepare(frame) if prepare is not None else frame, first, columns)

    def fit(changed: int) -> Fold:
        frame, changed_panel, changed_columns = read(changed)
        train = split_last(frame, first, changed_panel.columns)[0]
        return run_fold(
            forecaster, train, changed_panel, schedule, range(2), changed_columns, keep=True
        )

    columns = as_columns(columns)
    df, panel, present = read_history(df, first, _present(df, columns) if prepare else columns)
    columns = replace(columns, freq=present.freq, calendar=present.calendar)
    before = fit(0)
    after = fit(first)
    fitted = _fitted(before)
    # The second origin may read rows after the first cutoff: change only rows after the second.
    newer = read(second)[1]
    with warnings.catch_warnings():
        # Covariates that `prepare` makes from changed targets may be far outside what `fit` saw.
        warnings.simplefilter("ignore", FarValueWarning)
        later = forecast_at(fitted, newer, before.origins, newer.values.lengths - first)
    unit = fitted.scaler.scale_.repeat(2)
    pairs = _learned(fitted, _fitted(after)) | {
        "forecasts": (_scaled(before.forecasts, unit)[::2], _scaled(after.forecasts, unit)[::2]),
        "forecasts after newer rows": (_scaled(before.forecasts, unit), _scaled(later, unit)),
    }
    report = pd.DataFrame({"change": {name: _change(*pair) for name, pair in pairs.items()}})
    return report.assign(leaks=~(report["change"] <= TOLERANCE))


def _present(df: Any, columns: Columns) -> Columns:
    """Return the columns without the covariates that the frame lacks."""
    existing = set(to_long(df, columns.names)[0].columns)
    return replace(
        columns,
        past=[name for name in columns.past if name in existing],
        future=[name for name in columns.future if name in existing],
        static=[name for name in columns.static if name in existing],
    )


def _fitted(fold: Fold) -> Fitted:
    assert fold.forecaster is not None
    return fold.forecaster.fitted_


def _changed(df: pd.DataFrame, rows: int, horizon: int, panel: Panel) -> pd.DataFrame:
    """Change all values in the last `rows` rows of each series that are not known before them."""
    remaining = rows_after(df, panel.columns)
    changed = dict.fromkeys((panel.columns.target, *panel.covariates.past), rows)
    changed |= dict.fromkeys(panel.covariates.future, rows - horizon)
    return df.assign(**{name: _other(df[name], remaining, last) for name, last in changed.items()})


def _other(column: pd.Series, remaining: Integers, rows: int) -> pd.Series:
    """Return a column with other values where fewer than `rows` rows remain in the series."""
    late = remaining < rows
    if pd.api.types.is_numeric_dtype(column.dtype) and column.dtype.kind != "b":
        values = column.to_numpy(np.float64, na_value=np.nan)
        far = 10 * np.abs(values) + 7 * (1 + np.nanstd(values))
        # Far above and far below in turn, so that the mean of each series changes too.
        other = np.where(remaining % 2, far, -2 * far)
        return pd.Series(np.where(late, other, values), index=column.index)
    codes, categories = pd.factorize(column)
    changed = column.copy()
    changed.iloc[np.flatnonzero(late)] = categories.take((codes[late] + 1) % len(categories))
    return changed


def _learned(before: Fitted, after: Fitted) -> dict[str, tuple[Any, Any]]:
    """Return pairs of what two fits have learned, by name; values of series in scaled units."""
    unit = before.scaler.scale_
    rows = before.panel.values.lengths

    def parts(fitted: Fitted) -> dict[str, Any]:
        log = fitted.logs[0]
        return {
            "epochs": log.best_epoch,
            "losses": [*log.loss, *log.val_loss],
            "weights": np.concatenate([weight.ravel() for weight in fitted.model.get_weights()]),
            "scaler": [fitted.scaler.center_ / unit, fitted.scaler.scale_ / unit],
            "intervals": _widths(fitted),
            "rows read": np.nan_to_num(fitted.panel.values.values / unit.repeat(rows)),
            "covariates read": _covariates(fitted),
        }

    first = parts(before)
    second = parts(after)
    return {name: (first[name], second[name]) for name in first}


def _widths(fitted: Fitted) -> Floats:
    """Return the radii of the intervals, and the factors of each series."""
    if fitted.intervals is None:
        return np.empty(0)
    return np.concatenate([fitted.intervals.radius.ravel(), fitted.intervals.factor.ravel()])


def _covariates(fitted: Fitted) -> Floats:
    """Return the covariates that the forecast reads, as the fit has scaled them."""
    known = fitted.inputs.scaler.transform(fitted.panel.known)
    parts = (known.rows.values, known.static, known.categories)
    return np.concatenate([part.ravel() for part in parts], dtype=np.float64)


def _scaled(forecasts: Forecasts, unit: Floats) -> Floats:
    """Return forecasts `(origins, horizon, names)`, in the scaled units of each series."""
    return np.stack(list(forecasts.values()), axis=-1) / unit[:, np.newaxis, np.newaxis]


def _change(before: npt.ArrayLike, after: npt.ArrayLike) -> float:
    """Return the largest difference; infinity for other shapes, as the fits then differ."""
    first = np.asarray(before, np.float64)
    second = np.asarray(after, np.float64)
    if first.shape != second.shape:
        return float("inf")
    return float(np.max(np.abs(first - second), initial=0.0))

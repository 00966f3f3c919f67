"""A leak audit: rows after a cutoff are changed, and nothing before it may change with them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._checks import bad_argument
from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting.evaluation._backtest import Fold, Schedule, read_history, run_fold
from seqkeras.forecasting.fitted._tracking import forecast_at
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._reading import split_last
from seqkeras.forecasting.networks._predict import Forecasts

#: In the unit of scaled series: below it is rounding, which differs from run to run.
TOLERANCE = 1e-4


def audit_leaks(
    forecaster: Forecaster,
    df: pd.DataFrame,
    *,
    prepare: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    **columns: Any,
) -> pd.DataFrame:
    """Changes what comes after a cutoff, fits again, and tells what changed before the cutoff.

    Two copies are fitted as in a backtest of two windows, two rows apart: one on the frame, one on
    the frame in which targets and past covariates are others in every row after the first cutoff,
    and future covariates in every row after its horizon. Numbers become far larger and far smaller
    ones, words become others among those of their column. A few epochs are enough.

    Args:
        forecaster: with a seed. It is not changed.
        df: a long frame, as for `Forecaster.fit`.
        prepare: what you do to a frame before it is given to a forecaster, scaling or filling in:
            it is run on the whole of each frame, so that what it leaks is found too.
        **columns: id_col, time_col, target_col, freq and the rest, as for `Forecaster.fit`.

    Returns:
        A frame, one row for each part of the fit and of the forecasts: `change`, the largest change
        in units of the deviation of its series, and `leaks`, whether that is more than rounding.

    Raises:
        ArgumentError, DataError: as `Forecaster.backtest`; `forecaster` has no seed.

    Example:
        >>> from seqkeras.forecasting import load_air_passengers
        >>> forecaster, df = Forecaster(6, epochs=1, seed=0), load_air_passengers()
        >>> bool(audit_leaks(forecaster, df).leaks.any())
        False
        >>> def scaled(df):
        ...     return df.assign(y=df.y / df.y.max())
        >>> report = audit_leaks(forecaster, df, prepare=scaled)
        >>> report.index[report.leaks].tolist()
        ['scaler', 'rows read', 'forecasts', 'forecasts after newer rows']
    """
    if forecaster.seed is None:
        raise bad_argument("seed", None, "a number, so that two fits can be compared")
    forecaster._check_parameters()
    schedule = Schedule.parse(forecaster.horizon, windows=2, step=2, gap=0, refit=False)
    first, second = schedule.back(0), schedule.back(1)

    def read(changed: int) -> tuple[pd.DataFrame, Panel, dict[str, Any]]:
        """The frame with its last rows changed, as it is given to `fit`."""
        frame = _changed(df, changed, forecaster.horizon, panel) if changed else df
        return read_history(
            forecaster, frame if prepare is None else prepare(frame), first, columns
        )

    def fitted(changed: int) -> Fold:
        frame, found, known = read(changed)
        train = split_last(frame, first, found.columns)[0]
        return run_fold(forecaster, train, found, schedule, range(2), known, keep=True)

    df, panel, columns = read_history(forecaster, df, first, columns)
    before, after = fitted(0), fitted(first)
    # The second origin reads rows after the first cutoff: only what comes later is changed.
    newer = read(second)[1]
    later = forecast_at(before.fitted, newer, before.origins, newer.values.lengths - first)
    unit = before.fitted.scaler_.scale_.repeat(2)
    pairs = _learned(before.fitted, after.fitted) | {
        "forecasts": (_scaled(before.forecasts, unit)[::2], _scaled(after.forecasts, unit)[::2]),
        "forecasts after newer rows": (_scaled(before.forecasts, unit), _scaled(later, unit)),
    }
    report = pd.DataFrame({"change": {name: _change(*pair) for name, pair in pairs.items()}})
    return report.assign(leaks=~(report["change"] <= TOLERANCE))


def _changed(df: pd.DataFrame, rows: int, horizon: int, panel: Panel) -> pd.DataFrame:
    """The frame with other values in the last rows of each series: in all that was not known."""
    left = _rows_left(df, panel.columns)
    late = dict.fromkeys((panel.columns.target, *panel.covariates.past), rows)
    late |= dict.fromkeys(panel.covariates.future, rows - horizon)
    return df.assign(**{name: _other(df[name], left, last) for name, last in late.items()})


def _rows_left(df: pd.DataFrame, columns: ColumnNames) -> npt.NDArray[np.int64]:
    """How many rows of its series come behind each row."""
    if columns.id is None:
        return np.arange(len(df))[::-1]
    groups = df.groupby(columns.id, sort=False, observed=True)
    return np.asarray(groups.cumcount(ascending=False))


def _other(column: pd.Series, left: npt.NDArray[np.int64], rows: int) -> pd.Series:
    """A column with other values where less than `rows` rows are left."""
    late = left < rows
    if pd.api.types.is_numeric_dtype(column.dtype) and column.dtype.kind != "b":
        values = column.to_numpy(np.float64, na_value=np.nan)
        far = 10 * np.abs(values) + 7 * (1 + np.nanstd(values))
        # Of each series some above and some below, and another mean too.
        other = np.where(left % 2, far, -2 * far)
        return pd.Series(np.where(late, other, values), index=column.index)
    codes, words = pd.factorize(column)
    next_one = words.take((codes[late] + 1) % len(words))
    changed = column.copy()
    changed.iloc[np.flatnonzero(late)] = next_one
    return changed


def _learned(before: Forecaster, after: Forecaster) -> dict[str, tuple[Any, Any]]:
    """What two fits have learned, in the unit of each series."""
    unit, rows = before.scaler_.scale_, before.panel_.values.lengths

    def parts(one: Forecaster) -> dict[str, Any]:
        return {
            "epochs": one.log_.best_epoch,
            "losses": [*one.log_.loss, *one.log_.val_loss],
            "weights": np.concatenate([w.ravel() for w in one.model_.get_weights()]),
            "scaler": [one.scaler_.center_ / unit, one.scaler_.scale_ / unit],
            "intervals": _widths(one),
            "rows read": np.nan_to_num(one.panel_.values.values / unit.repeat(rows)),
            "covariates read": _covariates(one),
        }

    first, second = parts(before), parts(after)
    return {name: (first[name], second[name]) for name in first}


def _widths(one: Forecaster) -> npt.NDArray[np.float64]:
    """The radii of the intervals, and how many times as wide those of each series are."""
    found = one.intervals_
    parts = () if found is None else (found.radius.ravel(), found.factor.ravel())
    return np.concatenate([np.empty(0), *parts])


def _covariates(one: Forecaster) -> npt.NDArray[np.float64]:
    """The last rows of the covariates and what is known of the series, by its own scaler."""
    known = one.inputs_.scaler.transform(one.panel_.known)
    parts = known.rows.values, known.static, known.categories
    return np.concatenate([part.ravel() for part in parts], dtype=np.float64)


def _scaled(forecasts: Forecasts, unit: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`(origins, horizon, names)`, in the unit of the series of each origin."""
    return np.stack(list(forecasts.values()), axis=-1) / unit[:, np.newaxis, np.newaxis]


def _change(before: npt.ArrayLike, after: npt.ArrayLike) -> float:
    """The largest difference; infinite where a shape differs, for then another fit was made."""
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if first.shape != second.shape:
        return float("inf")
    return float(np.max(np.abs(first - second), initial=0.0))

"""pandas frames in: checked, and made into a `Panel`. What reads a panel has arrays."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._checks import check_one_of
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.frames._columns import (
    DEFAULT_ID,
    FILLS,
    ColumnNames,
    Columns,
    check_column,
)
from seqkeras.forecasting.frames._covariates import Covariates
from seqkeras.forecasting.frames._forms import Shape, to_long
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._rows import Rows, stamps_of


def read_panel(df: Any, columns: Columns | None = None) -> Panel:
    """Check a frame and read it into arrays.

    Args:
        df: a frame in any of the forms that `Forecaster.fit` takes.
        columns: its columns; None is `Columns()`.

    Raises:
        ArgumentError: a column is missing, or `freq` is not a frequency.
        DataError: the frame is empty; ids or timestamps are missing; timestamps are unordered,
            repeated or irregular; a target is missing, infinite or not a number; a covariate is
            missing.
    """
    columns = columns or Columns()
    frame, shape = to_long(df, _keywords(columns))
    names = ColumnNames.within(frame, columns)
    covariates = Covariates(columns.past, columns.future, columns.static)
    _check_covariates(frame, covariates, shape)
    rows = Rows.of(frame, names, columns.freq)
    rows = rows.filled(frame, names, columns.missing, columns.fill, covariates)
    rows.check_some(names)
    calendar = _calendar_features.choose(
        columns.calendar, rows.calendar, int(np.median(rows.lengths))
    )
    return rows.panel(frame, names, replace(covariates.learn(frame), calendar=calendar), shape)


def read_alike(df: Any, fitted: Panel, *, missing: str, fill: str, whole: bool = True) -> Panel:
    """Read more rows of the same or of other series in the way that `fitted` was read.

    Args:
        df: the rows.
        fitted: what was read before.
        missing: as for `Columns`.
        fill: as for `Columns`.
        whole: whether each series must have at least one target.

    Raises:
        ArgumentError: a column is missing.
        DataError: as for `read_panel`; or timestamps of another kind.
    """
    check_one_of("fill", fill, FILLS)
    names = fitted.columns
    columns = Columns(id=names.id or DEFAULT_ID, time=names.time, target=names.target)
    frame, shape = to_long(df, _keywords(columns))
    names = ColumnNames.within(frame, columns)
    _check_covariates(frame, fitted.covariates, shape)
    _check_kind(frame[names.time], names, fitted.calendar)
    freq = None if fitted.calendar.is_period else fitted.calendar.step
    rows = Rows.of(frame, names, freq).filled(frame, names, missing, fill, fitted.covariates)
    if whole:
        rows.check_some(names)
    return rows.panel(frame, names, fitted.covariates, shape)


def _keywords(columns: Columns) -> dict[str, str]:
    return {"id_col": columns.id, "time_col": columns.time, "target_col": columns.target}


def split_last(
    df: pd.DataFrame, rows: int, columns: ColumnNames
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frame without the last `rows` rows of each series, and these rows."""
    if columns.id is None:
        return df.iloc[:-rows], df.iloc[-rows:]
    from_end = df.groupby(columns.id, sort=False, observed=True).cumcount(ascending=False)
    return df[from_end >= rows], df[from_end < rows]


def _check_kind(column: pd.Series, columns: ColumnNames, calendar: Calendar) -> None:
    dtype = stamps_of(column, columns)[1]
    kinds = [pd.api.types.pandas_dtype(one).type for one in (dtype, calendar.dtype)]
    if kinds[0] is not kinds[1] and {dtype[:3], calendar.dtype[:3]} & {"dat", "per"}:
        raise DataError(
            f"Column {columns.time!r} must hold stamps as in fit. Got: dtype {dtype}; fit had "
            f"{calendar.dtype}."
        )


def _check_covariates(df: pd.DataFrame, covariates: Covariates, shape: Shape) -> None:
    names = covariates.columns
    if names and shape.kind in ("wide", "series"):
        raise ArgumentError(
            f"Covariates must be columns of a long frame. Got: {list(names)} with a {shape.kind} "
            "frame. Make it long and join them: df.rename_axis('ds').reset_index().melt('ds', "
            "var_name='unique_id', value_name='y')."
        )
    for field in ("past", "future", "static"):
        for name in getattr(covariates, field):
            check_column(df, field, name)

"""Reading of a frame of any form into a checked `Panel`."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Integers
from seqkeras._checks import bad_data, check_one_of, nearest
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.frames._advice import cast_times
from seqkeras.forecasting.frames._columns import (
    FILLS,
    ColumnNames,
    Columns,
    as_columns,
    check_column,
)
from seqkeras.forecasting.frames._covariates import Covariates
from seqkeras.forecasting.frames._dates import counted_format
from seqkeras.forecasting.frames._forms import Shape, to_long
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._rows import Rows, timestamps_of


def read_panel(df: Any, columns: Columns | None = None) -> Panel:
    """Check a frame and read it into arrays.

    Args:
        df: a frame in any of the forms that `Forecaster.fit` takes.
        columns: the columns to read, default `Columns()`.

    Raises:
        ArgumentError: a column is missing, or `freq` is not a frequency.
        DataError: the frame is empty; ids or timestamps are missing; timestamps are unordered,
            repeated or irregular; a target is missing, infinite or not a number; a covariate is
            missing.
    """
    columns = as_columns(columns)
    frame, shape = to_long(df, columns.names)
    names = columns.names.within(frame, needs_id=columns.id is not None)
    covariates = Covariates(tuple(columns.past), tuple(columns.future), tuple(columns.static))
    check_covariates(frame, covariates, shape)
    rows = Rows.of(frame, names, covariates.columns, columns.freq, columns.missing, shape)
    if columns.freq is None:
        _check_counts(rows, shape)
    rows = rows.filled(columns.fill)
    rows.check_targets()
    usual = int(np.median(rows.lengths))
    calendar = _calendar_features.choose(columns.calendar, rows.calendar, usual)
    return rows.panel(replace(covariates.learn(frame), calendar=calendar), shape)


def read_alike(df: Any, fitted: Panel, *, missing: str, fill: str, whole: bool = True) -> Panel:
    """Read newer rows of the series of `fitted`, or other series, with the same columns.

    Args:
        df: the rows.
        fitted: the series of the fit.
        missing: as for `Rows.of`.
        fill: as for `Columns`.
        whole: whether each series must have at least one target.

    Raises:
        ArgumentError: a column is missing.
        DataError: as for `read_panel`; or the timestamps are of another kind than in the fit.
    """
    check_one_of("fill", fill, FILLS)
    frame, shape = to_long(df, fitted.columns.with_id)
    names = fitted.columns.with_id.within(frame)
    check_covariates(frame, fitted.covariates, shape, fitted=True)
    _check_kind(frame[names.time], names, fitted.calendar, shape)
    freq = None if fitted.calendar.is_period else fitted.calendar.step
    rows = Rows.of(frame, names, fitted.covariates.columns, freq, missing, shape).filled(fill)
    if whole:
        rows.check_targets()
    return rows.panel(fitted.covariates, shape)


def split_last(
    df: pd.DataFrame, rows: int, names: ColumnNames
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a long frame into all but the last `rows` rows of each series, and these rows."""
    is_last = rows_after(df, names) < rows
    return df[~is_last], df[is_last]


def rows_after(df: pd.DataFrame, names: ColumnNames) -> Integers:
    """Return how many rows of its series follow each row of a long frame."""
    if names.id is None:
        return np.arange(len(df))[::-1]
    # The index may have the name of the column, so a groupby by name would be ambiguous.
    codes = pd.Series(pd.factorize(df[names.id])[0])
    return codes.groupby(codes, sort=False).cumcount(ascending=False).to_numpy()


def _check_kind(column: pd.Series, names: ColumnNames, calendar: Calendar, shape: Shape) -> None:
    dtype = timestamps_of(column, names, shape)[1]
    kind = pd.api.types.pandas_dtype(dtype).type
    fitted_kind = pd.api.types.pandas_dtype(calendar.dtype).type
    # Integers of any size are the same kind.
    dated = any(name.startswith(("datetime", "period")) for name in (dtype, calendar.dtype))
    if kind is not fitted_kind and dated:
        code = cast_times(column, calendar.dtype)
        fix = f"Convert it: {shape.how_to_convert(names.time, code, names)}." if code else ""
        raise bad_data(
            f"Column {names.time!r}",
            f"dtype {dtype}; fit had {calendar.dtype}",
            "hold timestamps as in fit",
            fix,
        )


def _check_counts(rows: Rows, shape: Shape) -> None:
    """Check that integer timestamps are not dates written as numbers, which have gaps."""
    if rows.calendar.is_dated:
        return
    form = counted_format(pd.Series(rows.times))
    if form is not None:
        raise written_as_numbers(form, rows.times[0], rows.names, shape)


def written_as_numbers(form: str, first: int, names: ColumnNames, shape: Shape) -> DataError:
    """Return the error for integer timestamps that look like dates in a format."""
    code = f"pd.to_datetime({{}}.astype(str), format={form!r})"
    return bad_data(
        f"Column {names.time!r}",
        f"{first}, ..., which look like dates",
        "hold timestamps, periods, or integers that are counts",
        f"Convert them: {shape.how_to_convert(names.time, code, names)}. If they are counts, pass "
        "their difference as Columns(freq=...).",
    )


def check_covariates(
    df: pd.DataFrame, covariates: Covariates, shape: Shape, *, fitted: bool = False
) -> None:
    """Check that a frame has the columns of covariates.

    Raises:
        ArgumentError: a column is missing or there twice, or the frame is not long.
    """
    names = covariates.columns
    if names and shape.kind in ("wide", "series"):
        raise ArgumentError(
            f"Covariates must be columns of a long frame. Got: {list(names)} with a {shape.kind} "
            "frame. Make it long and join them: df.rename_axis('ds').reset_index().melt('ds', "
            "var_name='unique_id', value_name='y')."
        )
    missing = [name for name in names if name not in df.columns]
    if missing and fitted:
        existing = ", ".join(repr(column) for column in df.columns[:20])
        fix = f"{nearest(missing[0], df.columns)} Add the column to df.".strip()
        raise ArgumentError(
            f"df must have the covariates of fit, {list(names)}. Got: no {missing[0]!r} among "
            f"{existing}. {fix}"
        )
    for field in ("past", "future", "static"):
        for name in getattr(covariates, field):
            check_column(df, field, name)

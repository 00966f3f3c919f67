"""pandas frames in: checked, and made into a `Panel`. What reads a panel has arrays."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._checks import bad_argument, check_one_of, nearest
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.frames._covariates import Covariates, check_names
from seqkeras.forecasting.frames._forms import Shape, to_long
from seqkeras.forecasting.frames._panel import DEFAULT_ID, Columns, Panel
from seqkeras.forecasting.frames._rows import Rows, stamps_of

#: What may be done about stamps that are missing.
FILLS = ("raise", "mask", "interpolate")


def read_panel(
    df: Any,
    *,
    id_col: str = DEFAULT_ID,
    time_col: str = "ds",
    target_col: str = "y",
    freq: str | int | None = None,
    past_covariates: Any = (),
    future_covariates: Any = (),
    static_covariates: Any = (),
    calendar: Any = None,
    missing: str = "raise",
    fill: str = "raise",
) -> Panel:
    """Checks a frame and takes it apart; the arguments are those of `Forecaster.fit`.

    A frame without the column `unique_id`, where no other name is given, is one series.

    Raises:
        ArgumentError: a column is missing, or `freq` is not a frequency.
        DataError: the frame is empty; ids or stamps are missing; stamps are out of order, twice
            or not regular; a target is missing, infinite or not a number; a covariate is missing.
    """
    check_one_of("missing", missing, ("raise", "mask"))
    check_one_of("fill", fill, FILLS)
    frame, shape = to_long(df, {"id_col": id_col, "time_col": time_col, "target_col": target_col})
    columns = _columns(frame, id_col, time_col, target_col)
    covariates = Covariates(
        check_names("past_covariates", past_covariates),
        check_names("future_covariates", future_covariates),
        check_names("static_covariates", static_covariates),
    )
    _check_covariates(frame, columns, covariates, shape)
    rows = Rows.of(frame, columns, freq).filled(frame, columns, missing, fill, covariates)
    rows.check_some(columns)
    names = _calendar_features.choose(calendar, rows.calendar, int(np.median(rows.lengths)))
    return rows.panel(frame, columns, replace(covariates.learn(frame), calendar=names), shape)


def read_alike(df: Any, fitted: Panel, *, missing: str, fill: str, whole: bool = True) -> Panel:
    """Reads other rows of the same or of other series, as those of `fitted` were read.

    Args:
        df: the rows.
        fitted: what was read before.
        missing: as for `read_panel`.
        fill: as for `read_panel`.
        whole: whether each series must have a target at least.

    Raises:
        ArgumentError: a column is missing.
        DataError: as for `read_panel`; or stamps of another kind.
    """
    check_one_of("fill", fill, FILLS)
    columns = fitted.columns
    names = columns.id or DEFAULT_ID, columns.time, columns.target
    frame, shape = to_long(df, dict(zip(("id_col", "time_col", "target_col"), names, strict=True)))
    columns = _columns(frame, *names)
    _check_covariates(frame, columns, fitted.covariates, shape)
    _check_kind(frame[columns.time], columns, fitted.calendar)
    freq = None if fitted.calendar.is_period else fitted.calendar.step
    rows = Rows.of(frame, columns, freq).filled(frame, columns, missing, fill, fitted.covariates)
    if whole:
        rows.check_some(columns)
    return rows.panel(frame, columns, fitted.covariates, shape)


def split_last(df: pd.DataFrame, rows: int, columns: Columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frame without the last `rows` rows of each series, and these rows."""
    if columns.id is None:
        return df.iloc[:-rows], df.iloc[-rows:]
    from_end = df.groupby(columns.id, sort=False, observed=True).cumcount(ascending=False)
    return df[from_end >= rows], df[from_end < rows]


def _columns(df: Any, id_col: str, time_col: str, target_col: str) -> Columns:
    single = id_col == DEFAULT_ID and id_col not in df.columns
    if not single:
        check_column(df, "id_col", id_col)
    check_column(df, "time_col", time_col)
    check_column(df, "target_col", target_col)
    if df.empty:
        raise DataError("df is empty: it has columns, but no rows. Give at least one series.")
    names = [time_col, target_col] if single else [id_col, time_col, target_col]
    if len(set(names)) < len(names):
        raise bad_argument("id_col, time_col, target_col", names, "different columns")
    for name in names:
        if name != target_col and (str(name).startswith("yhat") or name == "actual"):
            fix = "The forecast has columns of such names. Rename it."
            raise bad_argument("id_col, time_col", name, "a name other than actual or yhat...", fix)
    return Columns(None if single else id_col, time_col, target_col)


def check_column(df: pd.DataFrame, argument: str, name: str) -> None:
    """Raises where a frame does not have a column just once."""
    found = int((df.columns == name).sum())
    if found > 1:
        raise ArgumentError(f"{argument}={name!r} names {found} columns of df. Rename all but one.")
    if not found:
        shown = ", ".join(repr(column) for column in df.columns[:20])
        fix = nearest(name, df.columns) or f"Give the name of the column as {argument}=..."
        if name in df.index.names:
            fix = "It is in the index: use df.reset_index()."
        elif argument == "time_col" and isinstance(df.index, (pd.DatetimeIndex, pd.PeriodIndex)):
            fix = f"If the index holds the stamps: df = df.reset_index(names={name!r})."
        raise ArgumentError(
            f"{argument} must be a column of df. Got: {argument}={name!r}; the columns are "
            f"{shown}. {fix}"
        )


def _check_kind(column: pd.Series, columns: Columns, calendar: Calendar) -> None:
    dtype = stamps_of(column, columns)[1]
    kinds = [pd.api.types.pandas_dtype(one).type for one in (dtype, calendar.dtype)]
    if kinds[0] is not kinds[1] and {dtype[:3], calendar.dtype[:3]} & {"dat", "per"}:
        raise DataError(
            f"Column {columns.time!r} must hold stamps as in fit. Got: dtype {dtype}; fit had "
            f"{calendar.dtype}."
        )


def _check_covariates(
    df: pd.DataFrame, columns: Columns, covariates: Covariates, shape: Shape
) -> None:
    names = covariates.columns
    if not names:
        return
    if shape.kind in ("wide", "series"):
        raise ArgumentError(
            f"Covariates are columns of a long frame. Got: {list(names)} beside a {shape.kind} "
            "frame. Make it long and join them: df.rename_axis('ds').reset_index().melt('ds', "
            "var_name='unique_id', value_name='y')."
        )
    for argument in ("past", "future", "static"):
        for name in getattr(covariates, argument):
            check_column(df, f"{argument}_covariates", name)
    taken = [columns.id, columns.time, columns.target, *names]
    twice = sorted({name for name in names if taken.count(name) > 1})
    if twice:
        expected = "different columns, none of them the id, the time or the target"
        raise bad_argument("past_, future_, static_covariates", twice, expected)

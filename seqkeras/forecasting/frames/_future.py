"""What is known over the horizon: read from a frame, and checked against the stamps that come."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._checks import bad_argument
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting.calendars._calendar import to_integers
from seqkeras.forecasting.frames._forms import to_long
from seqkeras.forecasting.frames._panel import Panel


def read_future(panel: Panel, future: Any, horizon: int) -> npt.NDArray[np.float64]:
    """Covariates of the horizon, `(series, horizon, features)`, not scaled.

    Args:
        panel: what came before.
        future: a frame with a row for each series and stamp of the horizon, in any order; other
            rows are not looked at. None where there are no future covariates in columns.
        horizon: timesteps.

    Raises:
        ArgumentError: the frame, or a column of it, is missing or not asked for.
        DataError: a row is missing or there twice, or a value is missing.
    """
    covariates, series = panel.covariates, len(panel.ids)
    if not covariates.future_width:
        _refuse(future)
        return np.empty((series, horizon, 0))
    times = panel.calendar.span(panel.last, 1, horizon)
    rows = pd.DataFrame(index=range(len(times)))
    if covariates.future:
        rows = _aligned(panel, future, times, horizon)
    else:
        _refuse(future)

    def where(row: int) -> str:
        return f"{panel.name(row // horizon)} at {times[row]} in future"

    return covariates.ahead(rows, times, where, panel.calendar).reshape(series, horizon, -1)


def _refuse(future: Any) -> None:
    if future is not None:
        fix = "Name its columns in fit: Columns(future=[...])."
        raise bad_argument(
            "future", type(future).__name__, "omitted without future covariates", fix
        )


def _aligned(panel: Panel, future: Any, times: pd.Index, horizon: int) -> pd.DataFrame:
    """The rows of `future` in the order of series and stamps."""
    frame = _frame(panel, future, horizon)
    numbers = np.repeat(np.arange(len(panel.ids)), horizon)
    wanted = pd.MultiIndex.from_arrays([numbers, to_integers(times)])
    keys = _keys(panel, frame)
    inside = np.flatnonzero(keys.isin(wanted))
    keys = keys[inside]
    twice = keys.duplicated()
    if twice.any():
        row = int(inside[np.argmax(twice)])
        raise DataError(
            f"future has {frame[panel.columns.time].iloc[row]} twice for "
            f"{panel.name(keys[np.argmax(twice)][0])}. Drop or merge one of the rows."
        )
    found = keys.get_indexer(wanted)
    missing = np.flatnonzero(found < 0)
    if len(missing):
        row = int(missing[0])
        raise DataError(
            f"future has no row for {panel.name(row // horizon)} at {times[row]} "
            f"({len(missing)} of {len(times)} rows are missing). {_how(panel, horizon)}"
        )
    return frame.iloc[inside[found]]


def _frame(panel: Panel, future: Any, horizon: int) -> pd.DataFrame:
    columns, names = panel.columns, panel.covariates.future
    if future is None:
        raise ArgumentError(
            f"future must be given: this forecaster reads the future covariates {list(names)}. "
            f"{_how(panel, horizon)}"
        )
    given = {"id_col": columns.id or "", "time_col": columns.time, "target_col": columns.target}
    frame = future
    multiple = isinstance(future, pd.DataFrame) and future.index.nlevels == 2
    if multiple or (hasattr(future, "to_pandas") and not isinstance(future, pd.DataFrame)):
        frame = to_long(future, given)[0]
    if not isinstance(frame, pd.DataFrame):
        raise bad_argument("future", type(future).__name__, "a DataFrame", _how(panel, horizon))
    keys = (columns.time,) if columns.id is None else (columns.id, columns.time)
    lacking = [name for name in (*keys, *names) if name not in frame.columns]
    if lacking:
        shown = ", ".join(repr(name) for name in frame.columns[:20])
        raise ArgumentError(
            f"future must have the columns {[*keys, *names]}. Got: no {lacking[0]!r} among "
            f"{shown}. {_how(panel, horizon)}"
        )
    return frame


def _keys(panel: Panel, frame: pd.DataFrame) -> pd.MultiIndex:
    """For each row the number of its series, -1 for another, and its stamp as an integer."""
    columns = panel.columns
    series = np.zeros(len(frame), dtype=np.int64)
    if columns.id is not None:
        codes, ids = pd.factorize(frame[columns.id])
        numbers = np.append(panel.ids.get_indexer(pd.Index(ids)), -1)  # for ids that are missing
        series = numbers[codes]
    times = pd.Index(frame[columns.time])
    try:
        stamps = times if times.dtype.kind in "iu" else times.astype(panel.last.dtype)
    except (TypeError, ValueError):
        stamps = None
    kind = (pd.DatetimeIndex, pd.PeriodIndex) if panel.calendar.is_dated else pd.Index
    dated = isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex))
    if stamps is None or not isinstance(stamps, kind) or dated != panel.calendar.is_dated:
        raise DataError(
            f"Column {columns.time!r} of future must hold stamps of dtype {panel.last.dtype}, as "
            f"in fit. Got: dtype {times.dtype}. Convert it: future[{columns.time!r}] = "
            f"future[{columns.time!r}].astype({str(panel.last.dtype)!r})."
        )
    return pd.MultiIndex.from_arrays([series, to_integers(stamps)])


def _how(panel: Panel, horizon: int) -> str:
    names = ", ".join(repr(name) for name in panel.covariates.future)
    return (
        f"Build it with `future = forecaster.future_frame(horizon={horizon})`, fill in {names}, "
        "and call predict(future=future)."
    )

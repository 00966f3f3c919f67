"""Covariates of the horizon: read from a frame, and aligned with the timestamps to forecast."""

from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Floats, Integers
from seqkeras._checks import bad_argument, bad_data
from seqkeras.errors import ArgumentError
from seqkeras.forecasting.calendars._calendar import to_integers
from seqkeras.forecasting.frames._advice import cast_times
from seqkeras.forecasting.frames._forms import to_long
from seqkeras.forecasting.frames._panel import Panel


def read_future(panel: Panel, future: Any, horizon: int) -> Floats:
    """Read the features that are known over the horizon.

    Args:
        panel: the series up to the horizon.
        future: a frame with a row for each series and timestamp of the horizon, in any order; other
            rows are ignored. None if there are no columns of future covariates.
        horizon: timesteps to forecast.

    Returns:
        `(series, horizon, features)`, not scaled.

    Raises:
        ArgumentError: `future` or one of its columns is missing, or `future` was passed to a
            forecaster without future covariates.
        DataError: a row is missing or repeated, or a value is missing.
    """
    covariates = panel.covariates
    if future is not None and not covariates.future:
        fix = "Name its columns in fit: Columns(future=[...])."
        raise bad_argument("future", type(future).__name__, "None without future covariates", fix)
    if not covariates.future_width:
        return np.empty((len(panel.ids), horizon, 0))
    times = panel.calendar.span(panel.last, 1, horizon)
    rows = pd.DataFrame(index=range(len(times)))
    if covariates.future:
        rows = _aligned(panel, future, times, horizon)

    def where(row: int) -> str:
        return f"{panel.label(row // horizon)} at {times[row]} in future"

    features = covariates.ahead(rows, times, where, panel.calendar)
    return features.reshape(len(panel.ids), horizon, covariates.future_width)


def _aligned(panel: Panel, future: Any, times: pd.Index, horizon: int) -> pd.DataFrame:
    """Return the rows of `future` in the order of series and timestamps."""
    frame = long_future(panel, future, horizon)
    numbers = np.repeat(np.arange(len(panel.ids)), horizon)
    expected = pd.MultiIndex.from_arrays([numbers, to_integers(times)])
    keys = _keys(panel, frame)
    inside = np.flatnonzero(keys.isin(expected))
    keys = keys[inside]
    repeated = keys.duplicated()
    if repeated.any():
        first = int(np.argmax(repeated))
        timestamp = frame[panel.columns.time].iloc[inside[first]]
        raise bad_data(
            "future",
            f"{timestamp} twice for {panel.label(keys[first][0])}",
            "have each timestamp of a series once",
            "Drop or merge one of the rows.",
        )
    rows = keys.get_indexer(expected)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        first = int(missing[0])
        raise bad_data(
            "future",
            f"none for {panel.label(first // horizon)} at {times[first]} "
            f"({len(missing)} of {len(times)} rows are missing)",
            "have a row for each series and timestamp of the horizon",
            _instructions(panel, horizon),
        )
    return frame.iloc[inside[rows]]


def long_future(panel: Panel, future: Any, horizon: int) -> pd.DataFrame:
    """Return future covariates as a long frame, which has all their columns.

    Raises:
        ArgumentError: it is no frame, or a column is missing.
    """
    columns = panel.columns
    covariates = panel.covariates.future
    instructions = _instructions(panel, horizon)
    if future is None:
        raise ArgumentError(
            f"future must be given: this forecaster reads the future covariates "
            f"{list(covariates)}. {instructions}"
        )
    frame = future
    indexed = isinstance(future, pd.DataFrame) and future.index.nlevels == 2
    foreign = hasattr(future, "to_pandas") and not isinstance(future, pd.DataFrame)
    if indexed or foreign:
        frame = to_long(future, columns.with_id)[0]
    if not isinstance(frame, pd.DataFrame):
        raise bad_argument("future", type(future).__name__, "a DataFrame", instructions)
    needed = [*columns.keys, *covariates]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        existing = ", ".join(repr(name) for name in frame.columns[:20])
        raise ArgumentError(
            f"future must have the columns {needed}. Got: no {missing[0]!r} among {existing}. "
            f"{instructions}"
        )
    return frame


def _keys(panel: Panel, frame: pd.DataFrame) -> pd.MultiIndex:
    """Return the position of the series of each row, -1 if unknown, and its timestamp."""
    columns = panel.columns
    series = np.zeros(len(frame), dtype=np.int64)
    if columns.id is not None:
        codes, ids = pd.factorize(frame[columns.id])
        numbers = np.append(panel.ids.get_indexer(pd.Index(ids)), -1)  # -1 for missing ids
        series = numbers[codes]
    return pd.MultiIndex.from_arrays([series, _integer_times(panel, frame[columns.time])])


def _integer_times(panel: Panel, column: pd.Series) -> Integers:
    times = pd.Index(column)
    is_dated = isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex))
    if is_dated == panel.calendar.is_dated:
        is_integer = times.dtype.kind in "iu"
        try:
            return to_integers(times if is_integer else times.astype(panel.last.dtype))
        except (TypeError, ValueError):
            pass  # for example, timestamps without the time zone of the series
    name = panel.columns.time
    dtype = panel.calendar.dtype
    label = f"future[{name!r}]"
    code = cast_times(pd.Series(column), dtype)
    fix = (
        f"Convert it: {label} = {code.format(label)}."
        if code
        else "Use the timestamps of future_frame()."
    )
    raise bad_data(
        f"Column {name!r} of future",
        f"dtype {times.dtype}",
        f"hold timestamps of dtype {dtype}, as in fit",
        fix,
    )


def _instructions(panel: Panel, horizon: int) -> str:
    names = ", ".join(repr(name) for name in panel.covariates.future)
    return (
        f"Build it with `future = forecaster.future_frame(horizon={horizon})`, fill in {names}, "
        "and call predict(future=future)."
    )

"""Code that mends a column, for messages. It is run before it is offered."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from seqkeras.forecasting.frames._dates import Reading, first_unreadable, read_dates


def mend_times(column: pd.Series) -> str:
    """Return code that converts a column into timestamps, with {} for the column, or ""."""
    return _first_that_works(column, _codes_for_times(column), _are_times)


def ways_to_times(column: pd.Series) -> list[str]:
    """Return code that converts a column into timestamps, with {} for the column.

    Returns:
        No code, one, or two for texts that can be read in two ways.
    """
    code = mend_times(column)
    if code:
        return [code]
    readings = read_dates(column) if _is_text(column) else []
    return [f"pd.to_datetime({{}}, format={reading.format!r})" for reading in readings]


def how_to_convert_index(index: pd.Index) -> str:
    """Return statements that convert the index of `df` into timestamps, joined by "or", or ""."""
    codes = ways_to_times(index.to_series().reset_index(drop=True))
    return ", or ".join(f"df.index = {code.format('df.index')}" for code in codes)


def cast_times(column: pd.Series, dtype: str) -> str:
    """Return code that converts a column into timestamps of a dtype, with {} for it, or ""."""
    code = "{}" if _are_times(column) else mend_times(column)
    if not code:
        return ""
    codes = [code + more for more in _casts(dtype)]
    return _first_that_works(column, codes, lambda times: _kind(times.dtype) == _kind(dtype))


def mend_numbers(column: pd.Series, *, coerce: bool = False) -> str:
    """Return code that converts a column into numbers, with {} for the column, or "".

    Args:
        column: the column.
        coerce: whether texts that are no numbers, if they are few, may become missing.
    """
    if column.dtype.kind in "Mc":
        return ""
    codes = [
        "{}.dt.total_seconds()",
        "{}.astype(float)",
        "{}.str.replace(',', '.').astype(float)",
    ]
    if coerce:
        codes.append("pd.to_numeric({}, errors='coerce')")
    half = 0.5 * column.notna().mean()
    return _first_that_works(
        column, codes, lambda numbers: numbers.dtype.kind == "f" and numbers.notna().mean() >= half
    )


def first_without_number(column: pd.Series) -> int:
    """Return the row of the first text that is no number, or 0."""
    if not _is_text(column):
        return 0
    wrong = pd.to_numeric(column, errors="coerce").isna() & column.notna()
    return int(wrong.to_numpy().argmax())


def first_without_time(column: pd.Series) -> tuple[int, str]:
    """Return the row of the first text that is no timestamp, or two; and what they are."""
    if not _is_text(column):
        return 0, ""
    readings = read_dates(column)
    if len(readings) < 2:
        return (0 if readings else first_unreadable(column)), ""
    times = [reading.times for reading in readings]
    row = int((times[0] != times[1]).to_numpy().argmax())
    dates = [f"{time.iloc[row].day} {time.iloc[row]:%B %Y}" for time in times]
    return row, f", which is {dates[0]} or {dates[1]}"


def _codes_for_times(column: pd.Series) -> Iterator[str]:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "period":
        yield "pd.PeriodIndex({})"
    if kind in ("timedelta", "timedelta64"):
        step = pd.Timedelta(np.diff(np.unique(column.dropna())).min())
        yield f"{{}} // pd.Timedelta({str(step)!r})"
    if kind in ("date", "datetime", "datetime64"):
        yield "pd.to_datetime({})"
        yield "pd.to_datetime({}, utc=True)"
    if kind == "string":
        readings = read_dates(column)
        if len(readings) == 1:
            yield from _codes_for_text(column, readings[0])
    if kind in ("floating", "integer", "decimal", "mixed-integer-float", "string"):
        whole = pd.to_numeric(column, errors="coerce") % 1 == 0
        if whole.all():
            yield "{}.astype('int64')"


def _codes_for_text(text: pd.Series, reading: Reading) -> Iterator[str]:
    """Return code that reads texts, the shortest first that gives the times of this reading."""
    if reading.format == "quarter":
        yield "pd.PeriodIndex({}, freq='Q')"
        return
    more = ", utc=True" if reading.local is not None else ""
    short = f"pd.to_datetime({{}}{more})"
    times = _run(short, text) if reading.format == "ISO8601" else None
    if times is not None and times.equals(reading.times):
        yield short
    yield f"pd.to_datetime({{}}, format={reading.format!r}{more})"


def _casts(dtype: str) -> Iterator[str]:
    yield ""
    zone = re.fullmatch(r"datetime64\[\w+, (.+)\]", dtype)
    if zone:
        yield f".dt.tz_localize({zone[1]!r})"
    elif dtype.startswith("datetime64"):
        yield ".dt.tz_localize(None)"
        yield ".dt.to_timestamp()"
    period = re.fullmatch(r"period\[(.+)\]", dtype)
    if period:
        yield f".dt.to_period({period[1]!r})"


def _kind(dtype: Any) -> str:
    """Return what dtypes of timestamps have in common that differ in their size only."""
    return re.sub(r"^(datetime64\[)\w+|^u?int\d+", r"\1", str(dtype).lower())


def _first_that_works(
    column: pd.Series, codes: Iterable[str], accept: Callable[[pd.Series], bool]
) -> str:
    for code in codes:
        result = _run(code, column)
        if result is not None and accept(result):
            return code
    return ""


def _run(code: str, column: pd.Series) -> pd.Series | None:
    """Return what code makes of a column, or None if it fails or pandas warns that it guesses."""
    with warnings.catch_warnings(record=True) as guesses:
        warnings.simplefilter("always")
        try:
            # The code is from this file; of the frame, it has only names of dtypes, by `repr`.
            result = pd.Series(eval(code.format("column"), {"pd": pd, "column": column}))
        except Exception:
            return None
    return None if guesses else result


def _are_times(times: pd.Series) -> bool:
    return isinstance(times.dtype, pd.PeriodDtype) or times.dtype.kind in "Miu"


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.infer_dtype(column, skipna=True) == "string"

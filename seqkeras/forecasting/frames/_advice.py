"""Code that error messages suggest for converting a column, tried out before it is suggested."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from seqkeras.forecasting.frames._dates import (
    Reading,
    first_ambiguous,
    first_unreadable,
    read_dates,
)


class _Code(NamedTuple):
    """Code that converts a column, as text and as a function.

    Attributes:
        text: the code, with {} for the column.
        run: a function that does the same.
    """

    text: str
    run: Callable[[pd.Series], Any]

    def then(self, following: "_Code") -> "_Code":
        """Return code that converts a column by this code and the result by `following`."""
        return _Code(self.text + following.text, lambda column: following.run(self(column)))

    def __call__(self, column: pd.Series) -> pd.Series:
        """Convert a column."""
        return pd.Series(self.run(column))


_UNCHANGED = _Code("{}", lambda column: column)


def ways_to_times(column: pd.Series) -> list[str]:
    """Return code that converts a column into timestamps, with {} for the column.

    Returns:
        An empty list, one piece of code, or two if the day or the month of texts could come first.
    """
    code = _mend_times(column)
    if code:
        return [code.text]
    readings = read_dates(column) if _is_text(column) else []
    return [f"pd.to_datetime({{}}, format={reading.format!r})" for reading in readings]


def how_to_convert_index(index: pd.Index) -> str:
    """Return statements that convert the index of `df` into timestamps, joined by "or", or ""."""
    codes = ways_to_times(index.to_series().reset_index(drop=True))
    return ", or ".join(f"df.index = {code.format('df.index')}" for code in codes)


def cast_times(column: pd.Series, dtype: str) -> str:
    """Return code that converts a column, written as {}, into timestamps of a dtype, or ""."""
    code = _UNCHANGED if _are_times(column) else _mend_times(column)
    if code is None:
        return ""
    codes = [code, *(code.then(cast) for cast in _casts(dtype))]
    works = _first_that_works(column, codes, lambda times: _kind(times.dtype) == _kind(dtype))
    return works.text if works else ""


def mend_numbers(column: pd.Series, *, coerce: bool = False) -> str:
    """Return code that converts a column into numbers, with {} for the column, or "".

    Args:
        column: the column.
        coerce: whether texts that are not numbers may become missing, if at least half of the
            values are numbers.
    """
    if column.dtype.kind in "Mc":
        return ""
    codes = [
        _Code("{}.dt.total_seconds()", lambda values: values.dt.total_seconds()),
        _Code("{}.astype(float)", lambda values: values.astype(float)),
        _Code(
            "{}.str.replace(',', '.').astype(float)",
            lambda values: values.str.replace(",", ".").astype(float),
        ),
    ]
    if coerce:
        text = "pd.to_numeric({}, errors='coerce')"
        codes.append(_Code(text, lambda values: pd.to_numeric(values, errors="coerce")))
    half = 0.5 * column.notna().mean()
    code = _first_that_works(
        column, codes, lambda numbers: numbers.dtype.kind == "f" and numbers.notna().mean() >= half
    )
    return code.text if code else ""


def first_without_number(column: pd.Series) -> int:
    """Return the row of the first text that is not a number; 0 if there is none."""
    if not _is_text(column):
        return 0
    wrong = pd.to_numeric(column, errors="coerce").isna() & column.notna()
    return int(wrong.to_numpy().argmax())


def first_without_time(column: pd.Series) -> tuple[int, str]:
    """Find the first text that is not a timestamp, or that has two readings.

    Returns:
        Its row, 0 if there is none; and for messages the two readings as a clause, or "".
    """
    if not _is_text(column):
        return 0, ""
    readings = read_dates(column)
    if len(readings) < 2:
        return (0 if readings else first_unreadable(column)), ""
    row, dates = first_ambiguous(readings)
    return row, f", which is {dates}"


def _mend_times(column: pd.Series) -> _Code | None:
    return _first_that_works(column, _codes_for_times(column), _are_times)


def _codes_for_times(column: pd.Series) -> Iterator[_Code]:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "period":
        yield _Code("pd.PeriodIndex({})", pd.PeriodIndex)
    if kind in ("timedelta", "timedelta64"):
        step = pd.Timedelta(np.diff(np.unique(column.dropna())).min())
        yield _Code(f"{{}} // pd.Timedelta({str(step)!r})", lambda times: times // step)
    if kind in ("date", "datetime", "datetime64"):
        yield _to_datetime()
        yield _to_datetime(utc=True)
    if kind == "string":
        readings = read_dates(column)
        if len(readings) == 1:
            yield from _codes_for_text(column, readings[0])
    if kind in ("floating", "integer", "decimal", "mixed-integer-float", "string"):
        whole = pd.to_numeric(column, errors="coerce") % 1 == 0
        if whole.all():
            yield _Code("{}.astype('int64')", lambda counts: counts.astype("int64"))


def _codes_for_text(text: pd.Series, reading: Reading) -> Iterator[_Code]:
    """Yield code that gives the timestamps of this reading, the shortest first."""
    if reading.format == "quarter":
        yield _Code("pd.PeriodIndex({}, freq='Q')", lambda texts: pd.PeriodIndex(texts, freq="Q"))
        return
    if reading.has_local_days:  # in UTC, their hour differs in summer and winter
        for code in map(_without_offset, (10, 16, 19)):
            local = _run(code, text)
            if local is not None and (local == reading.local).all():
                yield code
                return
    options: dict[str, Any] = {"utc": True} if reading.local is not None else {}
    short = _to_datetime(**options)
    times = _run(short, text) if reading.format == "ISO8601" else None
    if times is not None and times.equals(reading.times):
        yield short
    yield _to_datetime(format=reading.format, **options)


def _without_offset(length: int) -> _Code:
    """Return code that reads the first characters of each text, before the offset from UTC."""
    return _Code(
        f"pd.to_datetime({{}}.str[:{length}])", lambda texts: pd.to_datetime(texts.str[:length])
    )


def _to_datetime(**options: Any) -> _Code:
    listed = "".join(f", {name}={value!r}" for name, value in options.items())
    return _Code(f"pd.to_datetime({{}}{listed})", lambda times: pd.to_datetime(times, **options))


def _casts(dtype: str) -> Iterator[_Code]:
    """Yield method calls that may convert timestamps into a dtype."""
    zone = re.fullmatch(r"datetime64\[\w+, (.+)\]", dtype)
    if zone:
        yield _Code(f".dt.tz_localize({zone[1]!r})", lambda times: times.dt.tz_localize(zone[1]))
    elif dtype.startswith("datetime64"):
        yield _Code(".dt.tz_localize(None)", lambda times: times.dt.tz_localize(None))
        yield _Code(".dt.to_timestamp()", lambda times: times.dt.to_timestamp())
    period = re.fullmatch(r"period\[(.+)\]", dtype)
    if period:
        yield _Code(f".dt.to_period({period[1]!r})", lambda times: times.dt.to_period(period[1]))


def _kind(dtype: Any) -> str:
    """Return the name of a dtype of timestamps without its unit or its number of bits."""
    return re.sub(r"^(datetime64\[)\w+|^u?int\d+", r"\1", str(dtype).lower())


def _first_that_works(
    column: pd.Series, codes: Iterable[_Code], accept: Callable[[pd.Series], bool]
) -> _Code | None:
    for code in codes:
        result = _run(code, column)
        if result is not None and accept(result):
            return code
    return None


def _run(code: _Code, column: pd.Series) -> pd.Series | None:
    """Return the converted column, or None if the code fails or pandas warns that it guesses."""
    with warnings.catch_warnings(record=True) as guesses:
        warnings.simplefilter("always")
        try:
            result = code(column)
        except Exception:  # pandas raises many classes for values that do not fit
            return None
    return None if guesses else result


def _are_times(times: pd.Series) -> bool:
    return isinstance(times.dtype, pd.PeriodDtype) or times.dtype.kind in "Miu"


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.infer_dtype(column, skipna=True) == "string"

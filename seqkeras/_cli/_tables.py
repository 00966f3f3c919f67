"""Reading of csv and parquet files, with errors that name the row."""

import argparse
import re
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._checks import bad_argument, bad_data
from seqkeras._cli._header import (
    Keys,
    check_columns,
    read_header,
    with_mark,
    word_of,
    wrong_encoding,
)
from seqkeras._cli._table_options import separator
from seqkeras._cli._terminal import notice
from seqkeras._files import DAMAGE, whole_file
from seqkeras._lazy import import_optional
from seqkeras.errors import DataError, SeqkerasError
from seqkeras.forecasting.frames._columns import DEFAULT_ID
from seqkeras.forecasting.frames._covariates import plain
from seqkeras.forecasting.frames._dates import (
    Reading,
    counted_format,
    first_ambiguous,
    first_unreadable,
    read_as,
    read_dates,
    read_short_dates,
)


@dataclass(frozen=True)
class Style:
    """The format of a table.

    Attributes:
        sep: the separator of the columns of a csv file; None: the one that makes its header have
            the required columns.
        decimal: the decimal sign of a csv file; None: detected in each column.
        thousands: the sign between groups of three digits in a csv file; None: there is none.
        encoding: the encoding of a csv file.
        date_format: the format of timestamps; None: detected.
        day_first: whether the day comes first where it could be the month.
        tz: the time zone. Timestamps without one are in it, others are converted to it. None: no
            conversion.
        counts: whether whole numbers such as 20241231 are counts instead of dates.
    """

    sep: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str = "utf-8"
    date_format: str | None = None
    day_first: bool = False
    tz: str | None = None
    counts: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace, *, counts: bool) -> "Style":
        """Return the format that the options of a command describe."""
        return cls(
            sep=separator(options.sep),
            decimal=options.decimal,
            thousands=options.thousands,
            encoding=options.encoding,
            date_format=options.date_format,
            day_first=options.day_first,
            tz=options.tz,
            counts=counts,
        )

    def check(self) -> None:
        """Check all options.

        Raises:
            ArgumentError: an option is invalid.
        """
        if self.decimal not in (None, ".", ","):
            raise bad_argument("--decimal", self.decimal, "a point or a comma")
        if self.thousands is not None:
            self._check_thousands(self.thousands)
        if self.date_format is not None:
            self._check_date_format(self.date_format)
        if self.tz is not None:
            self._check_tz(self.tz)

    def _check_thousands(self, sign: str) -> None:
        if sign not in (",", ".", "'", " ", "\u00a0", "\u202f"):
            raise bad_argument("--thousands", sign, "a comma, a point, an apostrophe or a space")
        if sign == self.decimal:
            raise bad_argument("--thousands", sign, "another sign than --decimal")

    def _check_date_format(self, form: str) -> None:
        fix = "For example %d.%m.%Y or '%d.%m.%Y %H:%M'."
        try:
            read_as(pd.Series(["-"]), form)
        except (ValueError, re.error) as error:
            raise bad_argument("--date-format", form, "a format of dates", fix) from error
        if not {"%Y", "%y"} & set(re.findall("%.", form)):
            raise bad_argument("--date-format", form, "a format that has the year, %Y or %y", fix)

    def _check_tz(self, tz: str) -> None:
        try:
            pd.Timestamp("2000-01-01", tz=tz)
        except Exception as error:  # pytz and zoneinfo raise classes of their own
            fix = "For example Europe/Berlin or UTC."
            raise bad_argument("--tz", tz, "a time zone", fix) from error


def read_file(path: str | Path, keys: Keys, style: Style | None = None) -> pd.DataFrame:
    """Read the ids, timestamps, targets and further columns of numbers of a csv or parquet file.

    Ids in a csv file stay text, such as 007 or NA. Timestamps whose offset from UTC changes are
    converted to UTC, or to the time zone of `style`.

    Args:
        path: the file.
        keys: the columns to read.
        style: the format of the file; default: commas between columns, decimal points, and dates
            that have only one reading.

    Returns:
        The ids and timestamps (if the table has them), the targets and the other numbers, in this
        order. Timestamps are dates, periods or whole numbers, and none is missing. Numbers are
        finite or missing.

    Raises:
        ArgumentError: the file is neither csv nor parquet, or lacks a column; or `style` is
            invalid.
        DataError: the file is empty, damaged or of another format than its name says, or a value
            cannot be used.
        OSError: the file does not exist or cannot be opened.
        MissingDependencyError: reading parquet needs pyarrow, which is not installed.
    """
    path = Path(path)
    style = style or Style()
    is_csv = _check_kind(path, style) == ".csv"
    df = _read_csv(path, keys, style) if is_csv else _read_parquet(path, keys)
    columns = [*([] if keys.time is None else [keys.time]), *keys.numbers, *keys.covariates]
    identity = keys.id or (DEFAULT_ID if DEFAULT_ID in df.columns else None)
    if identity is not None:
        columns.insert(0, identity)
        _check_ids(df[identity])
    df = df[columns].reset_index(drop=True)
    if df.empty:
        raise bad_data(str(path), "a header only", "have rows", "Add the rows of the series.")
    for name in keys.numbers:
        df[name] = _numbers(df[name], style)
    for name in keys.covariates:
        df[name] = _numbers_or_categories(df[name], style)
    if keys.time is None:
        return df
    df[keys.time] = _timestamps(df[keys.time], style)
    if style.tz is not None and df[keys.time].dtype.kind == "M":
        series = None if identity is None else df[identity]
        df[keys.time] = _in_zone(df[keys.time], series, style.tz)
    return df


def read_names(path: str | Path, keys: Keys, style: Style) -> list[str]:
    """Return the names of the columns of a csv or parquet file.

    Args:
        path: the file.
        keys: columns that must exist.
        style: the format of the file.

    Raises:
        ArgumentError, DataError, OSError, MissingDependencyError: as `read_file`.
    """
    path = Path(path)
    if _check_kind(path, style) != ".csv":
        return list(_read_parquet(path, keys).columns)
    try:
        return read_header(path, keys, sep=style.sep, encoding=style.encoding)[1]
    except (SeqkerasError, OSError):
        raise
    except DAMAGE as error:
        raise _unreadable(path, _first_line(error)) from error


def _check_kind(path: Path, style: Style) -> str:
    """Check that a file can be opened, and its style; return the suffix of the file."""
    style.check()
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise bad_argument("FILE", str(path), "a .csv or .parquet file")
    if kind == ".parquet":
        import_optional("pyarrow", extra="parquet")
    if path.exists() and not path.is_file():
        raise bad_argument("FILE", str(path), "a regular file")
    path.open("rb").close()  # raises OSError, so that later errors are about the contents
    return kind


def write_file(df: pd.DataFrame, path: str | Path) -> None:
    """Write a frame as parquet if the file name ends in .parquet, otherwise as csv.

    An existing file is replaced only when the new one is complete.
    """
    with whole_file(path) as part:
        if Path(path).suffix.lower() == ".parquet":
            import_optional("pyarrow", extra="parquet")
            df.to_parquet(part, index=False)
        else:
            df.to_csv(part, index=False)


def sort_rows(df: pd.DataFrame, keys: Keys) -> pd.DataFrame:
    """Sort the rows of each series by time; the series stay in the order of their first rows."""
    order = [keys.time]
    if df.columns[0] != keys.time:
        codes = pd.factorize(df.iloc[:, 0])[0]
        df = df.assign(**{"": codes})
        order.insert(0, "")
    df = df.sort_values(order, kind="stable", ignore_index=True)
    return df.drop(columns="", errors="ignore")


def _read_csv(path: Path, keys: Keys, style: Style) -> pd.DataFrame:
    try:
        sep, names = read_header(path, keys, sep=style.sep, encoding=style.encoding)
        if style.sep is None and sep != ",":
            notice(f"columns are separated by {word_of(sep)}")
        form: dict[str, Any] = {
            "sep": sep, "encoding": with_mark(style.encoding), "index_col": False,
            "low_memory": False,
        }  # fmt: skip
        numbers = {"decimal": style.decimal or ".", "thousands": style.thousands}
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            times = {} if keys.time is None else {keys.time: str}
            df = pd.read_csv(path, dtype=times, **numbers, **form)
        identity = keys.id or DEFAULT_ID
        if identity in names:
            # Read the ids again as text: pandas cannot set `na_values` for a single column.
            text = {"dtype": str, "keep_default_na": False, "na_values": [""]}
            df[identity] = pd.read_csv(path, **form, **text)[identity]
    except pd.errors.ParserWarning as error:
        raise _unreadable(path, "rows with more fields than the header") from error
    except (SeqkerasError, OSError):
        raise
    except UnicodeError as error:
        raise wrong_encoding(path, style.encoding) from error
    except DAMAGE as error:
        raise _unreadable(path, _first_line(error)) from error
    return df


def _read_parquet(path: Path, keys: Keys) -> pd.DataFrame:
    try:
        df = pd.read_parquet(path)
    except (OSError, *DAMAGE) as error:
        raise _unreadable(path, _first_line(error)) from error
    if {keys.time, keys.id} & set(df.index.names) - {None}:
        df = df.reset_index()
    check_columns(path, keys, list(df.columns))
    return df


def _unreadable(path: Path, problem: str) -> DataError:
    fix = "Save it as csv in UTF-8 with a header and equally long rows, or as parquet."
    return bad_data(str(path), problem, f"be readable as {path.suffix.lower()[1:]}", fix)


def _check_ids(column: pd.Series) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        raise _bad_row(column, int(missing.argmax()), "have an id in every row", "Fill it in.")


def _bad_row(column: pd.Series, row: int, expected: str, fix: str) -> DataError:
    value = column.iloc[row]
    actual = "none" if pd.isna(value) else repr(plain(value))
    # Users count rows from 1.
    return bad_data(f"Column {column.name!r}", f"{actual} in row {row + 1}", expected, fix)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _numbers(column: pd.Series, style: Style) -> pd.Series:
    """Return the targets as numbers."""
    numeric = pd.api.types.is_numeric_dtype(column)
    text = column if numeric else column.astype("string").str.strip()
    decimal = "." if numeric else style.decimal or _decimal_sign(text)
    if not numeric and style.thousands is not None:
        text = text.str.replace(style.thousands, "")
    if decimal != ".":
        text = text.str.replace(decimal, ".")
    numbers = pd.to_numeric(text, errors="coerce")
    if not numeric:
        numbers = numbers.astype(float)
    wrong = ((numbers.isna() & text.notna()) | (numbers.abs() == np.inf)).fillna(False)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        fix = "Write plain numbers such as 1234.5, and leave the field empty where one is missing."
        value = str(column.iloc[row])
        if decimal == "." and re.fullmatch(r"-?\d+,\d+", value):
            fix = "If its comma is the decimal sign, use --decimal ',' or else remove it."
        elif re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", value):
            fix = "Use --thousands ','."
        raise _bad_row(column, row, "hold finite numbers", fix)
    return numbers


def _numbers_or_categories(column: pd.Series, style: Style) -> pd.Series:
    """Return a column of covariates, with numbers that are written with a comma as numbers."""
    if pd.api.types.is_numeric_dtype(column) or not pd.api.types.is_string_dtype(column):
        return column
    text = column.astype("string").str.strip().dropna()
    if len(text) and text.str.fullmatch(r"[-+]?[\d.,' \u00a0\u202f]*\d").all():
        return _numbers(column, style)
    return column


def _decimal_sign(text: pd.Series) -> str:
    """Return the decimal sign of a column of text; a point unless all its signs are commas."""
    with_comma = text[text.str.contains(",", regex=False).fillna(False)]
    if with_comma.empty or text.str.contains(".", regex=False).fillna(False).any():
        return "."
    if not with_comma.str.fullmatch(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?").all():
        return "."
    if with_comma.str.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}").all():
        value = with_comma.iloc[0]
        got = f"{value!r}, which is {value.replace(',', '.')} or {value.replace(',', '')},"
        got += f" in row {text.index.get_loc(with_comma.index[0]) + 1}"
        fix = "Use --decimal ',' for the first reading, or --thousands ',' for the second."
        raise bad_data(f"Column {text.name!r}", got, "show what its comma means", fix)
    notice(f"the comma is the decimal sign of column {text.name!r}")
    return ","


def _timestamps(column: pd.Series, style: Style) -> pd.Series:
    """Return the timestamps as dates, periods or whole numbers."""
    missing = column.isna().to_numpy()
    if missing.any():
        fix = "Fill it in, or remove the row."
        raise _bad_row(column, int(missing.argmax()), "have a timestamp in every row", fix)
    if pd.api.types.infer_dtype(column) == "date":
        column = pd.to_datetime(column)
    if column.dtype.kind == "M":
        return column
    if isinstance(column.dtype, pd.PeriodDtype):
        return column
    text = column.astype(str).str.strip()
    is_whole = text.str.fullmatch(r"[+-]?\d+(?:\.0*)?")
    if style.date_format is not None:
        # Dates such as 20150101 in a column of floats are written as 20150101.0.
        digits = text.str.partition(".")[0].str.removeprefix("+")
        return _in_format(text.mask(is_whole, digits), style.date_format)
    if is_whole.all():
        return _counts(text, style)
    if is_whole.iloc[0]:
        fix = "Correct it, or remove the row."
        raise _bad_row(column, int((~is_whole).to_numpy().argmax()), "hold whole numbers", fix)
    return _dates(text, style)


def _counts(text: pd.Series, style: Style) -> pd.Series:
    try:
        numbers = text.str.partition(".")[0].astype("int64")
    except (ValueError, OverflowError) as error:
        fix = "Count from a smaller number."
        raise bad_data(
            f"Column {text.name!r}", _first_line(error), "fit into int64", fix
        ) from error
    form = None if style.counts else counted_format(numbers)
    if form is not None:
        fix = f"Use --date-format {form} for the date, or --freq 1 for the count."
        expected = "say whether it holds dates or counts"
        got = f"{text.iloc[0]}, which may be a date or a count,"
        raise bad_data(f"Column {text.name!r}", f"{got} in row 1", expected, fix)
    return numbers


def _in_format(text: pd.Series, form: str) -> pd.Series:
    times = read_as(text, form)
    wrong = times.isna().to_numpy()
    if wrong.any():
        fix = "Correct it, or the format."
        expected = f"be in the format {form!r} of --date-format"
        raise _bad_row(text, int(wrong.argmax()), expected, fix)
    return times


def _dates(text: pd.Series, style: Style) -> pd.Series:
    """Return the dates of texts, which must have only one reading."""
    readings = read_dates(text)
    if style.day_first:
        month_first = [reading for reading in readings if reading.is_month_first]
        readings = [reading for reading in readings if not reading.is_month_first]
        if month_first and not readings:
            day = month_first[0].times.dt.day > 12
            expected = "begin with the day, as --day-first says"
            fix = "Omit --day-first."
            raise _bad_row(text, int(day.to_numpy().argmax()), expected, fix)
    if not readings:
        raise _no_dates(text)
    if len(readings) > 1:
        raise _ambiguous(text, readings)
    reading = readings[0]
    if reading.has_local_days and style.tz is None:
        # In UTC, the days would begin at two different hours.
        got = f"the same time of day at offsets that change, as in {text.iloc[0]!r}"
        fix = "Use --tz, such as --tz Europe/Berlin."
        raise bad_data(f"Column {text.name!r}", got, "be in a known time zone", fix)
    return reading.times


def _no_dates(text: pd.Series) -> DataError:
    short = read_short_dates(text)
    if short:
        forms = " or ".join(f"--date-format {shlex.quote(reading.format)}" for reading in short)
        fix = f"Name the format: {forms}."
        return _bad_row(text, 0, "have years of four digits", fix)
    fix = (
        "Correct it, name the format, such as --date-format %d.%m.%Y, or number the rows with "
        "whole numbers."
    )
    expected = "hold whole dates in one format, such as 2024-12-31 or 2024-12-31 23:00"
    return _bad_row(text, first_unreadable(text), expected, fix)


def _ambiguous(text: pd.Series, readings: list[Reading]) -> DataError:
    row, dates = first_ambiguous(readings)
    fix = (
        "Use --day-first for the first reading, or "
        f"--date-format {shlex.quote(readings[1].format)} for the second."
    )
    return bad_data(
        f"Column {text.name!r}",
        f"{text.iloc[row]!r} in row {row + 1}, which is {dates}",
        "show whether the day or the month comes first",
        fix,
    )


def _in_zone(times: pd.Series, ids: pd.Series | None, tz: str) -> pd.Series:
    if times.dt.tz is not None:
        return times.dt.tz_convert(tz)
    if ids is None:
        return _localized(times, tz)
    parts = [_localized(part, tz) for _, part in times.groupby(ids, sort=False)]
    return pd.concat(parts).reindex(times.index)


def _localized(times: pd.Series, tz: str) -> pd.Series:
    options: dict[str, Any] = {"nonexistent": "shift_forward"}
    try:
        return times.dt.tz_localize(tz, ambiguous="infer", **options)
    except ValueError:
        # pandas infers the offset only if the hour occurs twice. Take the first, as calendars do.
        first = np.ones(len(times), dtype=bool)
        return times.dt.tz_localize(tz, ambiguous=first, **options)

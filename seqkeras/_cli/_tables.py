"""Reading of csv and parquet files, with errors that name the row."""

import argparse
import csv
import re
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._checks import bad_argument, bad_data, nearest
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

#: Separators that are tried if the columns are not found, to suggest --sep.
SEPARATORS = (",", ";", "\t", "|")

#: Largest number of characters of a line that are read to check its separator.
HEADER_LENGTH = 2**16


@dataclass(frozen=True)
class Keys:
    """The columns of a table to read.

    Attributes:
        time: column of timestamps; None: the table has none.
        target: column of targets; None: only those of `features`.
        id: column of series ids; None: `unique_id` if the table has it.
        features: further columns of numbers, each with the option that names it.
    """

    time: str | None = "ds"
    target: str | None = "y"
    id: str | None = None
    features: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, str]:
        """Return the option that names each column that must exist."""
        keys = {self.time: "--time-col", self.target: "--target-col", self.id: "--id-col"}
        options = {name: option for name, option in keys.items() if name is not None}
        return options | dict(self.features)

    @property
    def numbers(self) -> list[str]:
        """Return the columns of numbers."""
        return [*([] if self.target is None else [self.target]), *self.features]


@dataclass(frozen=True)
class Style:
    """The format of a table.

    Attributes:
        sep: the separator of the columns of a csv file.
        decimal: the decimal sign of a csv file.
        date_format: the format of timestamps; None: detected.
        day_first: whether the day comes first where it could be the month.
        tz: the time zone. Timestamps without one are in it, others are converted to it. None: no
            conversion.
        counts: whether whole numbers such as 20241231 are counts instead of dates.
    """

    sep: str = ","
    decimal: str = "."
    date_format: str | None = None
    day_first: bool = False
    tz: str | None = None
    counts: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace, *, counts: bool) -> "Style":
        """Return the format that the options of a command describe."""
        return cls(
            sep="\t" if options.sep == "tab" else options.sep,
            decimal=options.decimal,
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
        if len(self.sep) != 1:
            raise bad_argument("--sep", self.sep, "one character, or the word tab")
        if self.decimal not in (".", ","):
            raise bad_argument("--decimal", self.decimal, "a point or a comma")
        if self.date_format is not None:
            self._check_date_format(self.date_format)
        if self.tz is not None:
            self._check_tz(self.tz)

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
    columns = [*([] if keys.time is None else [keys.time]), *keys.numbers]
    identity = keys.id or (DEFAULT_ID if DEFAULT_ID in df.columns else None)
    if identity is not None:
        columns.insert(0, identity)
        _check_ids(df[identity])
    df = df[columns].reset_index(drop=True)
    if df.empty:
        raise bad_data(str(path), "a header only", "have rows", "Add the rows of the series.")
    for name in keys.numbers:
        df[name] = _numbers(df[name], style)
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
        return _check_header(path, keys, style)
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
        names = _check_header(path, keys, style)
        form: dict[str, Any] = {"sep": style.sep, "index_col": False, "low_memory": False}
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            times = {} if keys.time is None else {keys.time: str}
            df = pd.read_csv(path, decimal=style.decimal, dtype=times, **form)
        identity = keys.id or DEFAULT_ID
        if identity in names:
            # Read the ids again as text: pandas cannot set `na_values` for a single column.
            text = {"dtype": str, "keep_default_na": False, "na_values": [""]}
            df[identity] = pd.read_csv(path, **form, **text)[identity]
    except pd.errors.ParserWarning as error:
        raise _unreadable(path, "rows with more fields than the header") from error
    except (SeqkerasError, OSError):
        raise
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
    _check_columns(path, keys, list(df.columns))
    return df


def _unreadable(path: Path, problem: str) -> DataError:
    fix = "Save it as csv in UTF-8 with a header and equally long rows, or as parquet."
    return bad_data(str(path), problem, f"be readable as {path.suffix.lower()[1:]}", fix)


def _check_header(path: Path, keys: Keys, style: Style) -> list[str]:
    """Check the header of a csv file, and return the names of the columns."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        line = file.readline(HEADER_LENGTH)
        sample = file.readline(HEADER_LENGTH)
    names = _split(line, style.sep)
    required = keys.options.keys()
    # Without required columns, a single one may be a whole line.
    if not required <= set(names) or (not required and len(names) == 1):
        for sep in SEPARATORS:
            others = _split(line, sep)
            if len(others) > 1 and (required <= set(others) or len(names) == 1):
                raise _wrong_separator(path, sep, _split(sample, sep), style)
    if names:
        _check_columns(path, keys, names)
    return names


def _wrong_separator(path: Path, sep: str, values: list[str], style: Style) -> DataError:
    fix = f"Use --sep {_word_of(sep)}"
    if sep != "," and any(re.fullmatch(r"-?[\d.]+,\d+", value) for value in values):
        fix += " --decimal ','"
    got = f"columns separated by {_word_of(sep)}"
    return bad_data(str(path), got, f"have columns separated by {_word_of(style.sep)}", f"{fix}.")


def _word_of(sep: str) -> str:
    return "tab" if sep == "\t" else repr(sep)


def _split(line: str, sep: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=sep), [])
    except (csv.Error, ValueError):
        return []


def _check_columns(path: Path, keys: Keys, names: list[Any]) -> None:
    for name, option in keys.options.items():
        if name not in names:
            existing = ", ".join(repr(column) for column in names[:20])
            fix = nearest(name, names) or f"Pass the name of the column as {option}."
            raise bad_argument(option, name, f"a column of {path}, which has {existing}", fix)
        if names.count(name) > 1:
            got = f"{names.count(name)} columns called {name!r}"
            raise bad_data(str(path), got, "have one column of each name", "Rename the others.")


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
    if not numeric and style.decimal != ".":
        text = text.str.replace(style.decimal, ".")
    numbers = pd.to_numeric(text, errors="coerce")
    if not numeric:
        numbers = numbers.astype(float)
    wrong = ((numbers.isna() & text.notna()) | (numbers.abs() == np.inf)).fillna(False)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        fix = "Write plain numbers such as 1234.5, and leave the field empty where one is missing."
        if style.decimal == "." and re.fullmatch(r"-?\d+,\d+", str(column.iloc[row])):
            fix = "If its comma is the decimal sign, use --decimal ',' or else remove it."
        raise _bad_row(column, row, "hold finite numbers", fix)
    return numbers


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

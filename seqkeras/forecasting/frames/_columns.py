"""The columns of a frame that are read, and how."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._checks import bad_argument, bad_data, nearest
from seqkeras.errors import ArgumentError
from seqkeras.forecasting.frames._advice import how_to_convert_index

DEFAULT_ID = "unique_id"

#: Options for missing targets.
MISSING = ("mask", "raise")

#: Options for gaps in the timestamps.
FILLS = ("raise", "mask", "interpolate")

#: Options for series that are too short.
SHORT_SERIES = ("pad", "raise", "skip")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a frame that a forecaster reads, and how it reads them.

    A frame with the columns `unique_id`, `ds` and `y` needs none of these arguments.

    Args:
        id: column of series ids. None (default): `"unique_id"`; a frame without this column is one
            series.
        time: column of timestamps, periods or integers, regular within each series; default
            `"ds"`.
        target: column to forecast, default `"y"`.
        freq: frequency of the timestamps: an alias of pandas, such as `"MS"`, or an offset of
            pandas, such as `pd.DateOffset(months=1)` or business days with holidays; for integer
            timestamps their difference. None (default): inferred from the timestamps.
        past: columns that are known up to the last row, as a name or a list of names.
        future: columns that are also known over the horizon; `predict` needs their values there.
        static: columns that do not change within a series.
        calendar: features computed from the timestamps: a name or a list of names from
            `"time_of_day"`, `"day_of_week"`, `"day_of_month"`, `"day_of_year"`, `"month"`, and
            the holidays of a country or a part of it, by its code in the package `holidays`:
            `"holidays:DE"`, `"holidays:DE-BY"`. `"auto"` chooses features that suit the frequency
            and the length of the series. None (default): no features.
        missing: what to do about targets that are NaN. `"mask"` (default): mark them for the
            network, and exclude them from scaling, loss and intervals. `"raise"`: an error.
        fill: what to do about gaps in the timestamps of a series. `"raise"` (default): an error.
            `"mask"`: insert rows with missing targets. `"interpolate"`: insert rows with linearly
            interpolated targets.
        short_series: what to do about series that are shorter than a lookback and a horizon.
            `"pad"` (default): forecast them by what was learned from the others, with a warning
            that says how many; where even a lookback is missing, it begins with their oldest known
            seasons. `"raise"`: an error. `"skip"`: omit them, with a warning, and also series
            without a target among their last rows.

    Raises:
        ArgumentError: an option is unknown, a column has two roles, or the name of the id or the
            time is reserved for forecasts.

    Example:
        >>> columns = Columns(id="shop", time="day", target="sales", future="price")
        >>> columns.future
        ('price',)
        >>> columns.freq is None
        True
    """

    id: str | None = None
    time: str = "ds"
    target: str = "y"
    freq: str | int | pd.offsets.BaseOffset | None = None
    past: str | Sequence[str] = ()
    future: str | Sequence[str] = ()
    static: str | Sequence[str] = ()
    calendar: str | Sequence[str] | None = None
    missing: str = "mask"
    fill: str = "raise"
    short_series: str = "pad"

    def __post_init__(self) -> None:
        for field in ("past", "future", "static"):
            object.__setattr__(self, field, _names_of(field, getattr(self, field)))
        if isinstance(self.calendar, list):
            object.__setattr__(self, "calendar", tuple(self.calendar))
        _check_option("missing", self.missing, MISSING)
        _check_option("fill", self.fill, FILLS)
        _check_option("short_series", self.short_series, SHORT_SERIES)
        self._check_roles()

    @property
    def names(self) -> "ColumnNames":
        """Return the names of the key columns."""
        return ColumnNames(self.id or DEFAULT_ID, self.time, self.target)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Return the names of all covariates."""
        return (*self.past, *self.future, *self.static)

    def _check_roles(self) -> None:
        keys = [self.names.id, self.time, self.target]
        if len(set(keys)) < len(keys):
            raise _bad("id, time, target", keys, "different columns")
        for field in ("id", "time"):
            name = getattr(self, field)
            if str(name).startswith("yhat") or name == "actual":
                fix = "Forecasts use these names for columns of their own. Rename yours."
                raise _bad(field, name, "a name other than actual or yhat...", fix)
        columns = [*keys, *self.covariates]
        repeated = sorted({name for name in self.covariates if columns.count(name) > 1})
        if repeated:
            expected = "different columns, other than the id, the time and the target"
            raise _bad("past, future, static", repeated, expected)


def as_columns(columns: Any) -> Columns:
    """Return the columns, or `Columns()` for None.

    Raises:
        ArgumentError: `columns` is neither a `Columns` nor None.
    """
    if columns is None:
        return Columns()
    if not isinstance(columns, Columns):
        raise bad_argument("columns", columns, "a Columns", "For example Columns(id='shop').")
    return columns


@dataclass(frozen=True)
class ColumnNames:
    """The names of the key columns of a panel.

    Attributes:
        id: column of series ids, or None for a frame of a single series.
        time: column of timestamps.
        target: column of targets.
    """

    id: str | None
    time: str
    target: str

    @property
    def keys(self) -> list[str]:
        """Return the columns that tell rows apart: the id, if there is one, and the time."""
        return [self.time] if self.id is None else [self.id, self.time]

    @property
    def with_id(self) -> "ColumnNames":
        """Return these names, with the default column of ids instead of None."""
        return replace(self, id=self.id or DEFAULT_ID)

    def within(self, df: pd.DataFrame, *, needs_id: bool = False) -> "ColumnNames":
        """Return these names, with None for the id if it is the default and `df` does not have it.

        Args:
            df: the frame.
            needs_id: whether `df` must have the id column even if it has the default name.

        Raises:
            ArgumentError: a column is missing, or several columns have its name.
            DataError: the frame has no rows.
        """
        has_id = self.id in df.columns or self.id in df.index.names
        single = self.id == DEFAULT_ID and not has_id and not needs_id
        for field in ("time", "target") if single else ("id", "time", "target"):
            check_column(df, field, getattr(self, field))
        if df.empty:
            raise bad_data("df", "columns only", "have rows", "Pass at least one series.")
        return replace(self, id=None) if single else self

    def label(self, identity: Any) -> str:
        """Return the name of a series for the middle of a message, such as `series 'a'`."""
        plain = identity.item() if isinstance(identity, np.generic) else identity
        return f"series {plain!r}" if self.id is not None else "the series"

    def name(self, identity: Any) -> str:
        """Return the name of a series for the start of a message, such as `Series 'a'`."""
        label = self.label(identity)
        return label[0].upper() + label[1:]


#: The key columns of `Columns()`.
DEFAULT_NAMES = ColumnNames(DEFAULT_ID, "ds", "y")


def check_column(df: pd.DataFrame, field: str, name: str) -> None:
    """Check that `df` has a column of this name exactly once.

    Args:
        df: a long frame.
        field: the argument of `Columns` that names the column.
        name: the name.

    Raises:
        ArgumentError: the column is missing, or several columns have its name.
    """
    count = int((df.columns == name).sum())
    if count == 1:
        return
    value = f"Got: Columns({field}={name!r})"
    if count > 1:
        raise ArgumentError(
            f"Columns({field}=...) must name a single column of df. {value}, the name of {count} "
            "columns. Rename all but one."
        )
    existing = ", ".join(repr(column) for column in df.columns[:20])
    fix = nearest(name, df.columns) or f"Pass the name of the column as Columns({field}=...)."
    if field == "time" and _may_be_wide(df):
        convert = how_to_convert_index(df.index)
        fix = f"If the index holds the timestamps: {convert}." if convert else fix
    elif name in df.index.names:
        fix = "It is in the index: use df.reset_index()."
    elif field == "time" and isinstance(df.index, (pd.DatetimeIndex, pd.PeriodIndex)):
        fix = f"If the index holds the timestamps: df = df.reset_index(names={name!r})."
    raise ArgumentError(
        f"Columns({field}=...) must be a column of df. {value}; the columns are {existing}. {fix}"
    )


def _may_be_wide(df: pd.DataFrame) -> bool:
    """Return whether a frame would be wide if its index held timestamps."""
    numeric = all(pd.api.types.is_numeric_dtype(dtype) for dtype in df.dtypes)
    return numeric and df.index.nlevels == 1 and df.index.dtype.kind not in "iuM"


def _bad(fields: str, value: object, expected: str, fix: str = "") -> ArgumentError:
    call = ", ".join(f"{field}=..." for field in fields.split(", "))
    message = f"Columns({call}) must be {expected}. Got: {value!r}."
    return ArgumentError(f"{message} {fix}" if fix else message)


def _check_option(field: str, value: Any, options: Iterable[str]) -> None:
    if not isinstance(value, str) or value not in options:
        expected = "one of " + ", ".join(repr(option) for option in options)
        raise _bad(field, value, expected, nearest(value, options))


def _names_of(field: str, names: Any) -> tuple[str, ...]:
    if isinstance(names, str):
        return (names,)
    is_list = isinstance(names, (list, tuple, pd.Index))
    if not is_list or not all(isinstance(name, str) for name in names):
        raise _bad(field, names, "a list of column names")
    return tuple(names)

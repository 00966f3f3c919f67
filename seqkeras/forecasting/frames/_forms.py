"""Forms of a frame: long, wide, a single Series, or keyed by its index."""

import os
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from seqkeras._checks import Description, bad_argument, bad_data, check_one_of
from seqkeras._lazy import import_optional
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting.frames._advice import how_to_convert_index, mend_numbers
from seqkeras.forecasting.frames._columns import DEFAULT_NAMES, ColumnNames

#: Libraries other than pandas whose frames are read and returned, through narwhals.
LIBRARIES = ("polars", "pyarrow")


class _Source(NamedTuple):
    """A frame of another library, described by the `names` of a `Shape`.

    Attributes:
        library: `"polars"` or `"pyarrow"`.
        has_dates: whether the timestamps were dates without a time of day.
        ids: `"enum"` if the ids had the dtype Enum of polars.
    """

    library: str
    has_dates: bool
    ids: str = ""


@dataclass(frozen=True)
class Shape:
    """The form of a frame that was read; forecasts are returned in the same form.

    Attributes:
        kind: `"long"`: ids, timestamps and targets are columns. `"wide"`: timestamps are the index
            and each column is a series. `"series"`: one Series indexed by its timestamps.
            `"panel"`: the index has the levels ids and timestamps. `"stacked"`: the index has the
            levels timestamps and ids. `"native"`: long, from another library than pandas.
        names: the names of the levels of the index; for `"wide"` followed by the name of the
            columns. For `"native"` the fields of `_Source`, without `ids` if it is empty.
    """

    kind: str = "long"
    names: tuple[Any, ...] = ()

    @property
    def keeps_rows(self) -> bool:
        """Return whether rows of the long frame have the same positions in the original frame."""
        return self.kind in ("long", "native")

    @property
    def _source(self) -> _Source:
        return _Source(*self.names)

    def how_to_sort(self, keys: list[str]) -> str:
        """Return code that sorts a frame of this form by the key columns of its long form."""
        if self.kind == "long":
            return f"df = df.sort_values({keys!r})"
        if self.kind != "native":
            return "df = df.sort_index()"
        if self._source.library == "polars":
            return f"df = df.sort({keys!r})"
        return f"df = df.sort_by({[(key, 'ascending') for key in keys]!r})"

    def how_to_convert(self, column: str, code: str, names: ColumnNames) -> str:
        """Return code that converts one column of a frame of this form.

        Args:
            column: the column, named as in the long form.
            code: code that converts a column, with {} for the column.
            names: the key columns of the long form.
        """
        label = f"df[{column!r}]"
        convert = f"{label} = {code.format(label)}"
        if self.kind == "series" and column == names.target:
            return f"df = {code.format('df')}"
        if self.kind in ("series", "wide"):
            return f"df.index = {code.format('df.index').replace('.dt.', '.')}"
        if self.kind in ("panel", "stacked") and column == names.time:
            levels = [names.id, names.time]
            if self.kind == "stacked":
                levels.reverse()
            return f"df = df.rename_axis({levels!r}).reset_index(); {convert}"
        return f"df = df.to_pandas(); {convert}" if self.kind == "native" else convert

    @classmethod
    def restore(cls, kind: Any, names: Any) -> "Shape":
        """Restore a form from the contents of a file.

        Raises:
            ArgumentError: the kind is unknown, or the names do not fit it.
        """
        levels = {"long": 0, "wide": 2, "series": 1, "panel": 2, "stacked": 2, "native": 2}
        is_enum = kind == "native" and list(names[2:]) == ["enum"]
        if len(names) - is_enum != levels[check_one_of("kind", kind, levels)]:
            raise bad_argument("names", names, f"{levels[kind]} names for {kind!r}")
        if kind == "native":
            check_one_of("library", names[0], LIBRARIES)
        return cls(kind, tuple(names))

    def convert_long(self, frame: pd.DataFrame, id_column: Any, time_column: str) -> Any:
        """Convert a long frame into this form.

        Args:
            frame: the same number of timestamps for each series, series after series.
            id_column: its column of ids, or None.
            time_column: its column of timestamps.
        """
        if self.keeps_rows:
            return self.native(frame, time_column)
        if self.kind == "wide":
            return self._widen(frame, id_column, time_column)
        keys = {
            "series": [time_column],
            "panel": [id_column, time_column],
            "stacked": [time_column, id_column],
        }
        levels = keys[self.kind]
        # set_index would turn every integer into int64.
        arrays = [pd.Index(frame[level]) for level in levels]
        index = arrays[0] if len(levels) == 1 else pd.MultiIndex.from_arrays(arrays)
        return frame.drop(columns=levels).set_axis(index).rename_axis(self.names)

    def native(self, frame: pd.DataFrame, *times: str) -> Any:
        """Convert a long pandas frame into one of the library whose frame was read.

        Args:
            frame: the long frame.
            *times: its columns of timestamps.
        """
        if self.kind != "native":
            return frame
        nw = import_optional("narwhals", extra="polars")
        arrow = import_optional("pyarrow", extra="polars")
        table = arrow.Table.from_pandas(frame, preserve_index=False)
        converted = nw.from_arrow(table, backend=self._source.library)
        if self._source.has_dates:
            converted = converted.with_columns(nw.col(*times).cast(nw.Date))
        if self._source.ids == "enum":
            categorical = frame.select_dtypes("category")
            casts = [
                nw.col(name).cast(nw.Enum(categorical[name].cat.categories)) for name in categorical
            ]
            converted = converted.with_columns(casts)
        return converted.to_native()

    def _widen(self, frame: pd.DataFrame, id_column: str, time_column: str) -> pd.DataFrame:
        time_name, column_name = self.names
        ids = pd.Index(frame[id_column].drop_duplicates())
        timestamps = pd.Index(frame[time_column], name=time_name)
        values = frame.drop(columns=[id_column, time_column])
        columns = pd.MultiIndex.from_product([values.columns, ids], names=[None, column_name])
        steps = len(frame) // len(ids)
        shared = timestamps[:steps]
        starts = range(0, len(timestamps), steps)
        if not all(timestamps[start : start + steps].equals(shared) for start in starts):
            # The series end at different times, because only some of them were updated.
            rows = frame.set_index([time_column, id_column]).unstack(id_column)
            return rows.reindex(columns=columns).rename_axis(index=time_name)
        cube = values.to_numpy().reshape(len(ids), steps, -1).transpose(1, 2, 0)
        return pd.DataFrame(cube.reshape(steps, -1), index=shared, columns=columns)


class LongFrame(NamedTuple):
    """A long frame, and the form of the table that its rows are from."""

    frame: pd.DataFrame
    shape: Shape


def to_long(df: Any, names: ColumnNames) -> tuple[pd.DataFrame, Shape]:
    """Convert a frame of any form into a long one.

    Args:
        df: a pandas DataFrame or Series, a long frame of polars or pyarrow, or a `LongFrame`.
        names: the key columns, including one for the ids.

    Returns:
        The long frame, and the form of `df`.

    Raises:
        ArgumentError: `df` is not a frame, or its index lacks a level that the user named.
        DataError: the index or a column does not fit the form of `df`.
    """
    if isinstance(df, LongFrame):
        return df
    if isinstance(df, pd.Series):
        return _from_series(df, names)
    if not isinstance(df, pd.DataFrame):
        return _from_native(df, names)
    if df.index.nlevels == 2 and names.time not in df.columns:
        return _from_panel(df, names)
    return _from_wide(df, names) if _is_wide(df, names) else (df, Shape())


def as_pandas(frame: Any) -> pd.DataFrame:
    """Convert a frame that `Shape.native` returned into a pandas frame."""
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


def _how_to_make_frame(data: Any) -> str:
    """Return how to make a frame of data of another type."""
    if isinstance(data, Integral):
        return "To set the number of timesteps, pass horizon=."
    if isinstance(data, str | os.PathLike):
        return "Read the file first: df = pd.read_csv(...)."
    if hasattr(data, "ndim") or isinstance(data, list | tuple):
        return "Add the timestamps: df = pd.DataFrame({'ds': timestamps, 'y': values})."
    return "Eager polars frames also work; call .collect() on a LazyFrame."


def _from_native(df: Any, names: ColumnNames) -> tuple[pd.DataFrame, Shape]:
    if not hasattr(df, "to_pandas"):
        actual = Description(type(df).__name__)
        raise bad_argument("df", actual, "a pandas DataFrame or Series", _how_to_make_frame(df))
    nw = import_optional("narwhals", extra="polars")
    import_optional("pyarrow", extra="polars")  # to_pandas needs it
    frame = nw.from_native(df, eager_only=True, pass_through=True)
    library = str(nw.get_native_namespace(frame).__name__) if frame is not df else ""
    if library not in LIBRARIES:
        fix = "Pass df.to_pandas()."
        raise bad_argument("df", type(df).__name__, "a pandas, polars or pyarrow frame", fix)
    # pandas has no decimal dtype, and a network reads floats.
    decimals = [name for name, dtype in frame.schema.items() if dtype == nw.Decimal]
    long = frame.with_columns(nw.col(name).cast(nw.Float64) for name in decimals).to_pandas()
    has_dates = frame.schema.get(names.time) == nw.Date
    if has_dates:
        long[names.time] = pd.to_datetime(long[names.time])
    enum = ("enum",) if frame.schema.get(names.id) == nw.Enum else ()
    return long, Shape("native", (library, has_dates, *enum))


def _from_series(series: pd.Series, names: ColumnNames) -> tuple[pd.DataFrame, Shape]:
    if series.index.nlevels == 2:
        return _from_panel(series.to_frame(names.target), names)
    if not _has_timestamps(series.index):
        raise bad_data(
            "The index of a Series",
            f"dtype {series.index.dtype}",
            "hold timestamps, periods or integers",
            _advise_index(series.index),
        )
    data = {names.time: series.index, names.target: series.array}
    return pd.DataFrame(data), Shape("series", (series.index.name,))


def _from_panel(df: pd.DataFrame, names: ColumnNames) -> tuple[pd.DataFrame, Shape]:
    if names.id in df.columns:
        raise bad_data(
            "df",
            f"{names.id!r} as a column, and two levels of the index, {list(df.index.names)}",
            "have ids and timestamps both in the index or both as columns",
            "Use df.reset_index().",
        )
    time_first = _is_time_first(df.index, names)
    levels = [names.time, names.id] if time_first else [names.id, names.time]
    for field, name in (("id", names.id), ("time", names.time)):
        level = df.index.names[levels.index(name)]
        if name not in (level, DEFAULT_NAMES.id, DEFAULT_NAMES.time) and level is not None:
            raise ArgumentError(
                f"Columns({field}=...) must be a level of the index of df. Got: "
                f"Columns({field}={name!r}); the levels are {list(df.index.names)}."
            )
    long = df.rename_axis(levels).reset_index()
    return long, Shape("stacked" if time_first else "panel", tuple(df.index.names))


def _is_time_first(index: pd.MultiIndex, names: ColumnNames) -> bool:
    """Return whether the first of two levels of an index holds the timestamps.

    The names of the levels decide. If neither is the name of a key column, ids come first, unless
    only the first level holds timestamps or periods.
    """
    for place, level in enumerate(index.names):
        if level in (names.id, names.time):
            return (level == names.time) == (place == 0)
    is_dated = [isinstance(level, (pd.DatetimeIndex, pd.PeriodIndex)) for level in index.levels]
    return is_dated == [True, False]


def _is_wide(df: pd.DataFrame, names: ColumnNames) -> bool:
    """Return whether a frame counts as wide.

    It does not if it has an id or a time column, or lacks a time column that the user named.
    Otherwise, timestamps or periods in the index make it wide, unless it has a target column next
    to others and the user named columns or the index is named like the time column. Integers in the
    index make it wide only if all names are the defaults, all columns are numeric and none is the
    target column.
    """
    if names.id in [*df.columns, *df.index.names] or names.time in df.columns:
        return False
    if names.time not in (DEFAULT_NAMES.time, df.index.name):
        return False  # the user named a time column that the frame lacks
    if isinstance(df.index, (pd.DatetimeIndex, pd.PeriodIndex)):
        named = names != DEFAULT_NAMES or df.index.name == names.time
        return not (named and names.target in df.columns and len(df.columns) > 1)
    numeric = all(pd.api.types.is_numeric_dtype(dtype) for dtype in df.dtypes)
    counted = df.index.dtype.kind in "iu" and names.target not in df.columns
    return counted and numeric and not df.empty and names == DEFAULT_NAMES


def _from_wide(df: pd.DataFrame, names: ColumnNames) -> tuple[pd.DataFrame, Shape]:
    if not df.columns.is_unique or df.columns.nlevels > 1:
        raise DataError(
            "A wide frame must have one level of columns and one column for each series. "
            f"Got: {df.columns.nlevels} levels, {len(df.columns)} columns with "
            f"{df.columns.nunique()} names."
        )
    for name, dtype in df.dtypes.items():
        if not pd.api.types.is_numeric_dtype(dtype):
            raise bad_data(
                f"Column {name!r} of a wide frame",
                f"dtype {dtype}",
                "hold numbers, because each column is a series",
                _advise_wide_column(df[name]),
            )
    if df.index.hasnans:
        row = int(np.argmax(df.index.isna()))
        fix = "Drop the row: df = df[df.index.notna()]."
        raise bad_data("The index", f"none in row {row}", "have a timestamp in every row", fix)
    values = df.to_numpy(dtype=np.float64, na_value=np.nan)
    # A series begins with its first value: missing values before it are not part of the series.
    started = np.maximum.accumulate(~np.isnan(values), axis=0)
    if len(df) and not started[-1].all():
        empty = df.columns[np.argmin(started[-1])]
        raise bad_data(f"Series {empty!r}", "none", "have a value", "Drop the column.")
    series, rows = np.nonzero(started.T)
    data = {
        names.id: df.columns.take(series),
        names.time: df.index.take(rows),
        names.target: values[rows, series],
    }
    return pd.DataFrame(data), Shape("wide", (df.index.name, df.columns.name))


def _advise_index(index: pd.Index) -> str:
    fix = how_to_convert_index(index)
    if not fix:
        return "Use timestamps as the index, or number the rows: df.index = range(len(df))."
    return f"Convert it: {fix}."


def _advise_wide_column(column: pd.Series) -> str:
    fix = (
        f"Drop it: df = df.drop(columns={column.name!r}), or, if the columns are not series, "
        "make df long: df = df.reset_index()."
    )
    code = mend_numbers(column, coerce=True)
    if not code:
        return fix
    label = f"df[{column.name!r}]"
    return f"If it holds numbers, convert it: {label} = {code.format(label)}. {fix}"


def _has_timestamps(index: pd.Index) -> bool:
    return isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)) or index.dtype.kind in "iu"

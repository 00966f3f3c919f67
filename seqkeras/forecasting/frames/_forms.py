"""Forms of a frame: long, wide, a single Series, or ids and stamps in the index."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._checks import bad_argument, check_one_of
from seqkeras._lazy import optional
from seqkeras.errors import DataError

DEFAULT_NAMES = {"id_col": "unique_id", "time_col": "ds", "target_col": "y"}

#: Whose frames are read and given beside those of pandas, through narwhals.
LIBRARIES = ("polars", "pyarrow")


@dataclass(frozen=True)
class Shape:
    """The form that a frame had, for an answer in the same form.

    Attributes:
        kind: `"long"`: ids, stamps and targets are columns. `"wide"`: stamps are the index, each
            column is a series. `"series"`: one Series over its stamps. `"panel"`: ids and stamps
            are the two levels of the index. `"native"`: long, and of another library than pandas.
        names: of the levels of the index, and for `"wide"` at last of the columns. Of `"native"`
            the library, such as `"polars"`, and whether the stamps were dates.
    """

    kind: str = "long"
    names: tuple[Any, ...] = ()

    @classmethod
    def restore(cls, kind: Any, names: Any) -> "Shape":
        """A form from what a file holds.

        Raises:
            ArgumentError: there is no such form.
        """
        levels = {"long": 0, "wide": 2, "series": 1, "panel": 2, "native": 2}
        if len(names) != levels[check_one_of("kind", kind, levels)]:
            raise bad_argument("names", names, f"{levels[kind]} names for {kind!r}")
        if kind == "native":
            check_one_of("library", names[0], LIBRARIES)
        return cls(kind, tuple(names))

    def answer(self, forecast: pd.DataFrame, id_col: Any, time_col: str) -> pd.DataFrame:
        """A long frame, series after series, in this form.

        Args:
            forecast: with all series over equally many stamps.
            id_col: its column of ids, or None.
            time_col: its column of stamps.
        """
        if self.kind in ("long", "native"):
            return self.native(forecast, time_col)
        if self.kind == "wide":
            return self._widen(forecast, id_col, time_col)
        levels = [time_col] if self.kind == "series" else [id_col, time_col]
        # Not set_index, which makes int64 of every integer.
        arrays = [pd.Index(forecast[level]) for level in levels]
        index = arrays[0] if len(levels) == 1 else pd.MultiIndex.from_arrays(arrays)
        return forecast.drop(columns=levels).set_axis(index).rename_axis(self.names)

    def native(self, frame: pd.DataFrame, *times: str) -> Any:
        """A long frame in the library that the frame had.

        Args:
            frame: the frame.
            *times: its columns of stamps.
        """
        if self.kind != "native":
            return frame
        nw, arrow = optional("narwhals", extra="polars"), optional("pyarrow", extra="polars")
        library, dates = self.names
        made = nw.from_arrow(arrow.Table.from_pandas(frame, preserve_index=False), backend=library)
        return made.with_columns(nw.col(*times).cast(nw.Date) if dates else []).to_native()

    def _widen(self, forecast: pd.DataFrame, id_col: str, time_col: str) -> pd.DataFrame:
        ids = pd.Index(forecast[id_col].drop_duplicates())
        steps = len(forecast) // len(ids)
        stamps = pd.Index(forecast[time_col], name=self.names[0])
        times = stamps[:steps]
        values = forecast.drop(columns=[id_col, time_col])
        columns = pd.MultiIndex.from_product([values.columns, ids], names=[None, self.names[1]])
        if not all(
            stamps[first : first + steps].equals(times) for first in range(0, len(stamps), steps)
        ):  # some series were updated further than others
            rows = forecast.set_index([time_col, id_col]).unstack(id_col)
            return rows.reindex(columns=columns).rename_axis(index=self.names[0])
        cube = values.to_numpy().reshape(len(ids), len(times), -1).transpose(1, 2, 0)
        return pd.DataFrame(cube.reshape(len(times), -1), index=times, columns=columns)


def to_long(df: Any, names: dict[str, str]) -> tuple[pd.DataFrame, Shape]:
    """A frame of any form as a long one, and the form that it had.

    A frame is wide if its index holds time stamps or periods and it has no column of ids or stamps;
    with integers in the index, if its columns are numbers and no names were given besides.

    Args:
        df: a pandas DataFrame or Series, or a long frame that narwhals knows.
        names: `id_col`, `time_col` and `target_col`.

    Raises:
        ArgumentError: something else.
        DataError: a form that cannot be read.
    """
    if isinstance(df, pd.Series):
        return _from_series(df, names)
    if not isinstance(df, pd.DataFrame):
        return _from_native(df, names)
    if df.index.nlevels == 2 and names["time_col"] not in df.columns:
        return _from_panel(df, names)
    return _from_wide(df, names) if _is_wide(df, names) else (df, Shape())


def as_pandas(frame: Any) -> pd.DataFrame:
    """A frame that `Shape.native` gave, as one of pandas."""
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


def _from_native(df: Any, names: dict[str, str]) -> tuple[pd.DataFrame, Shape]:
    if not hasattr(df, "to_pandas"):
        fix = "An eager frame of polars is read as well; collect a lazy one."
        raise bad_argument("df", type(df).__name__, "a pandas DataFrame or Series", fix)
    nw = optional("narwhals", extra="polars")
    optional("pyarrow", extra="polars")  # the way through which these become pandas frames
    frame = nw.from_native(df, eager_only=True, pass_through=True)
    library = str(nw.get_native_namespace(frame).__name__) if frame is not df else ""
    if library not in LIBRARIES:
        fix = "Give df.to_pandas()."
        raise bad_argument("df", type(df).__name__, "a frame of pandas or polars", fix)
    dates, long = frame.schema.get(names["time_col"]) == nw.Date, frame.to_pandas()
    if dates:
        long[names["time_col"]] = pd.to_datetime(long[names["time_col"]])
    return long, Shape("native", (library, dates))


def _from_series(series: pd.Series, names: dict[str, str]) -> tuple[pd.DataFrame, Shape]:
    if series.index.nlevels == 2:
        return _from_panel(series.to_frame(names["target_col"]), names)
    if not _has_stamps(series.index):
        raise _no_stamps("Series", series.index)
    data = {names["time_col"]: series.index, names["target_col"]: series.array}
    return pd.DataFrame(data), Shape("series", (series.index.name,))


def _from_panel(df: pd.DataFrame, names: dict[str, str]) -> tuple[pd.DataFrame, Shape]:
    levels = [names["id_col"], names["time_col"]]
    return df.rename_axis(levels).reset_index(), Shape("panel", tuple(df.index.names))


def _is_wide(df: pd.DataFrame, names: dict[str, str]) -> bool:
    if names["id_col"] in df.columns or names["time_col"] in df.columns:
        return False
    if names["time_col"] not in (DEFAULT_NAMES["time_col"], df.index.name):
        return False  # it was asked for, and is not there
    if isinstance(df.index, (pd.DatetimeIndex, pd.PeriodIndex)):
        named = names != DEFAULT_NAMES or df.index.name == names["time_col"]
        return not (named and names["target_col"] in df.columns and len(df.columns) > 1)
    numbers = all(pd.api.types.is_numeric_dtype(dtype) for dtype in df.dtypes)
    counted = df.index.dtype.kind in "iu" and names["target_col"] not in df.columns
    return counted and numbers and not df.empty and names == DEFAULT_NAMES


def _from_wide(df: pd.DataFrame, names: dict[str, str]) -> tuple[pd.DataFrame, Shape]:
    """Column after column; what is missing before the first value of a series is not part of it."""
    if not df.columns.is_unique or df.columns.nlevels > 1:
        raise DataError("A wide frame must have one level of columns, and one for each series.")
    wrong = [c for c, dtype in df.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)]
    if wrong:
        raise DataError(
            "Every column of a wide frame is a series of numbers. Got: column "
            f"{wrong[0]!r} of dtype {df.dtypes[wrong[0]]}. Drop it, or make df long with "
            "df.reset_index() if its columns are not series."
        )
    values = df.to_numpy(dtype=np.float64, na_value=np.nan)
    started = np.maximum.accumulate(~np.isnan(values), axis=0)
    empty = np.flatnonzero(~started.any(axis=0)) if len(df) else np.empty(0)
    if len(empty):
        raise DataError(f"Series {df.columns[empty[0]]!r} has no value at all. Drop the column.")
    series, rows = np.nonzero(started.T)
    data = {
        names["id_col"]: df.columns.take(series),
        names["time_col"]: df.index.take(rows),
        names["target_col"]: values[rows, series],
    }
    return pd.DataFrame(data), Shape("wide", (df.index.name, df.columns.name))


def _has_stamps(index: pd.Index) -> bool:
    return isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)) or index.dtype.kind in "iu"


def _no_stamps(what: str, index: pd.Index) -> DataError:
    return DataError(
        f"The index of a {what} must hold time stamps, periods or integers. Got: dtype "
        f"{index.dtype}. Convert it: df.index = pd.to_datetime(df.index)."
    )

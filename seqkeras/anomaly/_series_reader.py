"""Series of any form as checked arrays: arrays, lists of arrays, frames."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from seqkeras._arrays import Array, Floats, Integers, without_mask
from seqkeras._checks import Description, bad_argument, bad_data, nearest
from seqkeras._drawing import timestamps
from seqkeras.errors import ArgumentError
from seqkeras.windows import GroupedArray

if TYPE_CHECKING:
    from seqkeras.forecasting import Columns

#: One value for each row: an array for one series or a frame, a list of arrays for a panel.
PerRow: TypeAlias = Any

#: The columns of ids and timestamps, unless `Columns` names others.
DEFAULT_KEYS = ("unique_id", "ds")

#: Steps between timestamps that are larger than this multiple of the usual step are gaps.
_GAP = 1.5


@dataclass(frozen=True)
class RowForm:
    """The form of the input that rows come from, to return values in the same form.

    Attributes:
        indptr: `(series + 1,)`, where the rows of each series begin and end.
        names: names of the features; None for an array.
        ids: id of each series of a long frame; None otherwise.
        order: for a long frame whose series alternate, the row of the frame that each row comes
            from; None: the same.
        is_panel: whether the input was a list of series, so that outputs are lists.
    """

    indptr: Integers
    names: tuple[str, ...] | None = None
    ids: tuple[Any, ...] | None = None
    order: Integers | None = None
    is_panel: bool = False

    def restore(self, per_row: Array) -> PerRow:
        """Return a value for each row in the form of the input."""
        if self.is_panel:
            return list(GroupedArray(per_row, self.indptr))
        if self.order is None:
            return per_row
        restored = np.empty_like(per_row)
        restored[self.order] = per_row
        return restored

    def by_series(self, per_series: list[Any]) -> Any:
        """Return a value for each series: by id, as a list, or for one series only the value."""
        if self.ids is not None:
            return dict(zip(self.ids, per_series, strict=True))
        return per_series if self.is_panel else per_series[0]

    def flatten(self, name: str, values: Any) -> Array:
        """Return a value for each row, series after series, from values in the form of the input.

        Raises:
            ArgumentError: the lengths are not those of the series.
        """
        lengths = np.diff(self.indptr).tolist() if self.is_panel else [int(self.indptr[-1])]
        arrays = [np.asarray(part) for part in (values if self.is_panel else [values])]
        if [array.shape for array in arrays] != [(length,) for length in lengths]:
            actual = Description(f"shapes {[array.shape for array in arrays[:5]]}")
            raise bad_argument(name, actual, f"of shapes {[(length,) for length in lengths[:5]]}")
        flat = np.concatenate(arrays)
        return flat if self.order is None else flat[self.order]


@dataclass(frozen=True)
class SeriesRows:
    """The rows `(rows, features)` of one series or several, and the form that they had."""

    values: GroupedArray
    form: RowForm


def _rows(values: GroupedArray, **form: Any) -> SeriesRows:
    return SeriesRows(values, RowForm(values.indptr, **form))


def read_series(
    x: Any, columns: "Columns | None" = None, like: Sequence[str] | None = None
) -> SeriesRows:
    """Read series of any form, and check every value.

    Args:
        x: `(timesteps,)`, `(timesteps, features)`, a frame, or a panel.
        columns: the columns of ids and timestamps of a frame.
        like: features that a frame must have. None: all numeric columns are features.

    Raises:
        ArgumentError: the form is unknown, or the features of a frame are not those of `like`.
        DataError: there are no rows; a value is missing, infinite or not a number; timestamps are
            out of order or have gaps.
    """
    if hasattr(x, "to_frame") and hasattr(x, "index"):  # a pandas Series
        x = x.to_frame("value" if x.name is None else x.name)
    rows = _read_frame(x, columns, like) if hasattr(x, "columns") else _read_arrays(x)
    _check_values(rows)
    return rows


def _read_arrays(x: Any) -> SeriesRows:
    if isinstance(x, GroupedArray):
        values = _floats(x.values)
        return _rows(GroupedArray(_two_axes(values), x.indptr), is_panel=True)
    if _is_list_of_series(x):
        parts = [_two_axes(_floats(part)) for part in x]
        if len({part.shape[1] for part in parts}) > 1:
            actual = Description(f"{[part.shape[1] for part in parts[:5]]} features")
            raise bad_argument("X", actual, "series with the same features")
        return _rows(GroupedArray.from_series(parts), is_panel=True)
    values = _floats(x)
    if values.ndim == 3:
        return _rows(GroupedArray.from_series(list(values)), is_panel=True)
    values = _two_axes(values)
    return _rows(GroupedArray(values, [0, len(values)]))


def _is_list_of_series(x: Any) -> bool:
    """Return whether `x` is a list of arrays, and not the nested list of one array."""
    is_list = isinstance(x, list | tuple) and len(x) > 0
    return is_list and all(isinstance(part, np.ndarray) and part.ndim for part in x)


def _floats(x: Any) -> Floats:
    if isinstance(x, str | os.PathLike):
        fix = "Read the file first: X = pd.read_csv(...)."
        raise bad_argument("X", Description(type(x).__name__), "arrays or a frame", fix)
    try:
        array = np.asarray(without_mask(x))
        if array.dtype.kind == "c":
            raise TypeError("Complex data not supported")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise bad_data("X", str(error), "hold numbers") from error


def _two_axes(values: Floats) -> Floats:
    if values.ndim == 1:
        values = values[:, np.newaxis]
    if values.ndim != 2:
        expected = "of shape (timesteps,) or (timesteps, features), a list of these, or a frame"
        raise bad_argument("X", Description(f"shape {values.shape}"), expected)
    if not values.shape[1]:
        raise bad_data("X", f"0 feature(s) (shape={values.shape})", "have a minimum of 1 feature")
    return values


def _read_frame(df: Any, columns: "Columns | None", like: Sequence[str] | None) -> SeriesRows:
    if type(df).__module__.partition(".")[0] == "polars":
        df = df.to_pandas()
    id_column, time_column = _key_columns(df, columns)
    keys = {id_column, time_column} - {None}
    names = _feature_names(df, keys, like)
    # Column after column, as dtypes differ, and some extension types need `na_value`.
    arrays = [_column(df, name) for name in names]
    values = np.stack(arrays, axis=1)
    order, ids, lengths = _by_series(df, id_column)
    _check_times(df, time_column, order, lengths, ids)
    indptr = np.cumsum([0, *lengths])
    is_sorted = bool((np.diff(order) == 1).all())
    return _rows(
        GroupedArray(values[order], indptr),
        names=tuple(names),
        ids=ids,
        order=None if is_sorted else order,
    )


def _column(df: Any, name: str) -> Floats:
    try:
        return np.asarray(df[name].to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise bad_data(f"Column {name!r}", str(error), "hold numbers") from error


def _key_columns(df: Any, columns: "Columns | None") -> tuple[str | None, str | None]:
    """Return the columns of ids and timestamps; None where the frame does not have them."""
    present = list(df.columns)
    if columns is None:
        id_column, time_column = (name if name in present else None for name in DEFAULT_KEYS)
        return id_column, time_column
    if columns.covariates or columns.calendar:
        fix = "A detector reads all numeric columns; name those to score with scored=."
        raise bad_argument("columns", columns, "a Columns with only id and time", fix)
    required = columns.id is not None, columns.time != DEFAULT_KEYS[1]
    keys = []
    for name, is_required in zip((columns.names.id, columns.time), required, strict=True):
        if is_required and name not in present:
            raise bad_argument("columns", name, f"among the columns {present[:20]}")
        keys.append(name if name in present else None)
    return keys[0], keys[1]


def _feature_names(df: Any, keys: set[Any], like: Sequence[str] | None) -> list[str]:
    present = [name for name in df.columns if name not in keys]
    if len(set(present)) < len(present):
        raise ArgumentError(f"X must have columns of different names. Got: {present}.")
    if like is not None:
        return _same_names(present, like)
    texts = [name for name in present if df[name].dtype.kind not in "iufb"]
    if texts:
        fix = (
            "Name a column of timestamps or ids as columns=Columns(time=..., id=...), and drop "
            "other columns or turn them into numbers."
        )
        actual = f"{texts[0]!r} of dtype {df[texts[0]].dtype}"
        raise bad_data("X", actual, "have numeric columns only, besides ids and timestamps", fix)
    if not present:
        raise bad_data("X", "only ids and timestamps", "have at least one column of numbers")
    return present


def _same_names(present: list[str], like: Sequence[str]) -> list[str]:
    missing = [name for name in like if name not in present]
    unseen = [name for name in present if name not in like]
    if missing:
        fix = nearest(missing[0], unseen)
        columns = f"{list(like)[:20]}. Missing: {missing[:5]}. {fix}"
        raise ArgumentError(f"X must have the columns of fit, {columns}".rstrip())
    if unseen:
        raise ArgumentError(
            f"X must have only the columns of fit, {list(like)[:20]}. Unseen: {unseen[:5]}. "
            "Select the columns of fit."
        )
    return list(like)


def _by_series(
    df: Any, id_column: str | None
) -> tuple[Integers, tuple[Any, ...] | None, list[int]]:
    """Return the rows in order of series, the id of each series, and its number of rows."""
    if id_column is None:
        return np.arange(len(df)), None, [len(df)]
    codes, ids = df[id_column].factorize()
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise bad_data(f"Column {id_column!r}", f"none in row {row}", "have an id in each row")
    order = np.argsort(codes, kind="stable")
    return order, tuple(ids), np.bincount(codes, minlength=len(ids)).tolist()


def _check_times(
    df: Any,
    time_column: str | None,
    order: Integers,
    lengths: list[int],
    ids: tuple[Any, ...] | None,
) -> None:
    """Check that timestamps rise within each series, without gaps."""
    times = _times(df, time_column)
    if times is None:
        return
    times = times[order]
    begin = 0
    for number, length in enumerate(lengths):
        name = f"series {ids[number]!r}" if ids is not None else "the series"
        _check_regular(times[begin : begin + length], name)
        begin += length


def row_times(x: Any, columns: "Columns | None" = None) -> Array | None:
    """Return the timestamps of the rows of a frame, for plots; None for other input.

    Periods become their start, and zoned times are on their local clock.
    """
    if type(x).__module__.partition(".")[0] == "polars":
        x = x.to_pandas()
    if not hasattr(x, "index") or not hasattr(x, "to_numpy"):
        return None
    time_column = _key_columns(x, columns)[1] if hasattr(x, "columns") else None
    if time_column is not None:
        return np.asarray(timestamps(x[time_column]))
    if type(x.index).__name__ in ("DatetimeIndex", "PeriodIndex"):
        return np.asarray(timestamps(x.index.to_series()))
    return None


def _times(df: Any, time_column: str | None) -> Array | None:
    if time_column is None:
        kind = type(df.index).__name__
        if kind not in ("DatetimeIndex", "PeriodIndex"):
            return None
        index = df.index.to_timestamp() if kind == "PeriodIndex" else df.index
        if index.tz is not None:
            index = index.tz_convert(None)
    else:
        index = df[time_column]
        if index.dtype.kind == "O" and len(index) and hasattr(index.iloc[0], "to_timestamp"):
            index = index.dt.to_timestamp()
        if index.dtype.kind == "M":
            index = index.dt.tz_convert(None) if index.dt.tz is not None else index
    times = np.asarray(index.to_numpy())
    if times.dtype.kind not in "iufM":
        raise bad_data(
            f"Column {time_column!r}",
            f"dtype {times.dtype}",
            "hold timestamps, periods or numbers",
            "Convert text with pd.to_datetime.",
        )
    return times


def _check_regular(times: Array, name: str) -> None:
    # Timestamps are in UTC here, and so are those of messages.
    readable = times.astype("datetime64[s]") if times.dtype.kind == "M" else times
    steps = np.diff(times.astype(np.int64) if times.dtype.kind == "M" else times)
    if not len(steps):
        return
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        fix = "Sort the rows by time, and keep one row for each timestamp."
        actual = f"{readable[row]} after {readable[row - 1]}"
        raise bad_data(f"Timestamps of {name}", actual, "rise", fix)
    usual = np.median(steps)
    gaps = steps > _GAP * usual
    if gaps.any():
        row = int(np.argmax(gaps)) + 1
        fix = (
            "Fill them, for example with df.asfreq(...).interpolate(), or pass only the values, "
            "df.to_numpy(), to treat the rows as evenly spaced."
        )
        actual = f"{int(gaps.sum())} in all, the first before {readable[row]}"
        raise bad_data(f"Timestamps of {name}", actual, "have no gaps", fix)


def _check_values(rows: SeriesRows) -> None:
    values = rows.values.values
    if not len(values) or not rows.values.lengths.all():
        raise bad_data("X", f"0 sample(s) (shape={values.shape})", "have rows in each series")
    finite = np.isfinite(values)
    if finite.all():
        return
    feature = int(np.argmax(~finite.all(axis=0)))
    name = rows.form.names[feature] if rows.form.names is not None else feature
    missing = np.isnan(values[:, feature])
    if missing.all():
        fix = "Drop it."
        raise bad_data(f"Feature {name!r}", "only NaN", "have values", fix)
    row = int(np.argmax(~finite[:, feature]))
    count = int((~finite).sum())
    kind = "NaN" if missing[row] else "inf or values too large for float64"
    fix = "Fill the gaps first, for example by interpolation or SequenceEncoder.impute."
    raise bad_data(
        f"Feature {name!r}", f"{kind} in row {row} ({count} in all)", "be finite, without NaN", fix
    )


def resolve_columns(
    name: str, chosen: Any, names: tuple[str, ...] | None, features: int
) -> tuple[int, ...]:
    """Return the positions of features chosen by name or position; None: all features.

    Raises:
        ArgumentError: a feature does not exist, is chosen twice, or none is chosen.
    """
    if chosen is None:
        return tuple(range(features))
    members = [chosen] if isinstance(chosen, str | int | np.integer) else list(chosen)
    numbers = [_position(name, member, names, features) for member in members]
    if not numbers or len(set(numbers)) < len(numbers):
        raise bad_argument(name, chosen, "one feature or more, each once")
    return tuple(numbers)


def _position(name: str, member: Any, names: tuple[str, ...] | None, features: int) -> int:
    if names is not None and member in names:
        return names.index(member)
    is_integer = isinstance(member, int | np.integer) and not isinstance(member, bool)
    if is_integer and 0 <= int(member) < features:
        return int(member)
    known = f"the columns {list(names)[:20]}" if names is not None else f"0 to {features - 1}"
    raise bad_argument(name, member, f"among {known}", nearest(member, names or ()))

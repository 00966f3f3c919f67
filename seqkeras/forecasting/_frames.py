"""pandas frames in and out. Below this file (and `_calendar.py`) there are only arrays."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._checks import bad_argument, check_one_of, nearest
from seqkeras._lazy import optional
from seqkeras.errors import ArgumentError, DataError, SkippedSeriesWarning
from seqkeras.forecasting import _calendar_features
from seqkeras.forecasting._calendar import Calendar, from_integers, to_integers
from seqkeras.forecasting._covariates import Covariates, Known, check_names
from seqkeras.forecasting._gaps import find_gaps, interpolate
from seqkeras.forecasting._shapes import Shape, to_long
from seqkeras.windows import GroupedArray

DEFAULT_ID = "unique_id"

INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}

#: What may be done about stamps that are missing.
FILLS = ("raise", "mask", "interpolate")

#: The way out where some series cannot be used.
SKIP = ", or pass short_series='skip'"

#: Beyond it, the square of a number, and so a standard deviation, may not be finite.
LARGEST = 1e150


@dataclass(frozen=True)
class Columns:
    """The names of the columns; `id` is None for a frame of one series."""

    id: str | None
    time: str
    target: str


@dataclass(frozen=True)
class Panel:
    """A checked frame: regular series as one array, and what is needed to answer in its form.

    Attributes:
        columns: names of the columns.
        ids: `(series,)`, in the order of their first row.
        last: `(series,)`, the last stamp of each series.
        calendar: which stamps follow each other.
        values: the targets, float64, one-dimensional; NaN is missing.
        known: the covariates, row for row beside the targets.
        covariates: what the covariates are.
        shape: the form that the frame had.
    """

    columns: Columns
    ids: pd.Index
    last: pd.Index
    calendar: Calendar
    values: GroupedArray
    known: Known
    covariates: Covariates
    shape: Shape

    @property
    def has_missing(self) -> bool:
        """Whether a target is missing."""
        return bool(np.isnan(self.values.values).any())

    def name(self, series: int) -> str:
        """How messages call a series."""
        return _name(self.columns, self.ids[series])

    def tail(self, rows: int) -> "Panel":
        """The last rows of each series."""
        lengths = self.values.lengths
        return self.select(np.maximum(0, lengths - rows), lengths)

    def select(self, start: npt.ArrayLike, stop: npt.ArrayLike) -> "Panel":
        """Rows `start[i]:stop[i]` of each series `i`; the last stamps stay those of the whole."""
        values, known = self.values.select(start, stop), self.known.select(start, stop)
        return replace(self, values=values, known=known)

    def before(
        self, series: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], lookback: int
    ) -> "Panel":
        """The `lookback` rows before row `rows[i]` of series `series[i]`, as a series each."""
        place = (self.values.indptr[series] + rows)[:, np.newaxis] + np.arange(-lookback, 0)
        indptr = np.arange(len(series) + 1) * lookback
        known = Known(
            GroupedArray(self.known.rows.values[place.ravel()], indptr),
            self.known.static[series],
            self.known.categories[series],
        )
        values = GroupedArray(self.values.values[place.ravel()], indptr)
        return replace(
            self, ids=self.ids[series], last=self.last[series], values=values, known=known
        )

    def ahead(
        self, series: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], horizon: int
    ) -> npt.NDArray[np.float64]:
        """What is known of the `horizon` rows from row `rows[i]` of series `series[i]` on.

        Behind the last row of a series, it stands again.
        """
        place = (self.values.indptr[series] + rows)[:, np.newaxis] + np.arange(horizon)
        place = np.minimum(place, self.values.indptr[series + 1][:, np.newaxis] - 1)
        width = self.known.rows.values.shape[1]
        return self.known.rows.values[place, width - self.covariates.future_width :]

    def take(self, series: npt.ArrayLike) -> "Panel":
        """Some of the series."""
        chosen = np.arange(len(self.ids))[np.asarray(series)]
        return replace(
            self,
            ids=self.ids[chosen],
            last=self.last[chosen],
            values=self.values.take(chosen),
            known=self.known.take(chosen),
        )

    def long_enough(self, rows: int, *, why: str, short_series: str) -> "Panel":
        """The series that have at least `rows` rows.

        Raises:
            DataError: one is shorter and `short_series` is "raise", or all are.
        """
        lengths = self.values.lengths
        return self._kept(
            lengths >= rows,
            lambda one: f"{self.name(one)} has {lengths[one]} rows and must have {rows} ({why})",
            "too short",
            f"Use a smaller lookback or horizon{SKIP}",
            short_series,
        )

    def with_recent(self, lookback: int, *, short_series: str) -> "Panel":
        """The series that have a target among their last `lookback` rows.

        Raises:
            DataError: as for `long_enough`.
        """
        if not self.has_missing:
            return self
        recent = ~np.isnan(self.tail(lookback).values.values).reshape(-1, lookback)
        return self._kept(
            recent.any(axis=1),
            lambda one: (
                f"{self.name(one)} has no target in its last {lookback} rows, which are "
                "all that a forecast reads"
            ),
            "without",
            f"Use a larger lookback, cut off the rows behind its last target{SKIP}",
            short_series,
        )

    def _kept(
        self,
        usable: npt.NDArray[np.bool_],
        says: Callable[[int], str],
        kind: str,
        fix: str,
        short_series: str,
    ) -> "Panel":
        """The usable series; an error where others may not be skipped."""
        wrong = np.flatnonzero(~usable)
        if not len(wrong):
            return self
        message = says(int(wrong[0]))
        count = f"{len(wrong)} of {len(usable)} series are {kind}"
        if short_series == "raise" or len(wrong) == len(usable):
            others = f"; so {count}" * (len(wrong) > 1)
            fix = fix if len(wrong) < len(usable) else fix.replace(SKIP, "")
            raise DataError(f"{message}{others}. {fix}.")
        warnings.warn(
            f"{count} and were skipped: {message}.",
            SkippedSeriesWarning,
            stacklevel=4,
        )
        return self.take(np.flatnonzero(usable))

    def forecast_frame(self, forecasts: dict[str, npt.NDArray[np.float64]]) -> pd.DataFrame:
        """Forecasts `(series, horizon)` by name as a long frame that continues this one."""
        horizon = next(iter(forecasts.values())).shape[1]
        return self._frame(1, horizon, {name: v.ravel() for name, v in forecasts.items()})

    def future_frame(self, horizon: int) -> pd.DataFrame:
        """Ids and stamps of the horizon, in the form of the frame where that is long."""
        frame = self._frame(1, horizon, {})
        return self._in_shape(frame) if self.shape.kind == "panel" else frame

    def answer(self, forecasts: dict[str, npt.NDArray[np.float64]]) -> pd.DataFrame:
        """Forecasts `(series, horizon)` by name, in the form that the frame had."""
        return self._in_shape(self.forecast_frame(forecasts))

    def history_frame(self) -> pd.DataFrame:
        """The values as a long frame, stamps included."""
        frames = [
            self.take([i])._frame(1 - len(values), 0, {self.columns.target: values})
            for i, values in enumerate(self.values)
        ]
        return pd.concat(frames, ignore_index=True)

    def long_frame(self, df: Any) -> pd.DataFrame:
        """Other rows of these series as a long frame, whatever their form."""
        columns = self.columns
        names = {"time_col": columns.time, "target_col": columns.target}
        return to_long(df, {"id_col": columns.id or DEFAULT_ID, **names})[0]

    def numbers(self, series: Any = None) -> list[int]:
        """The numbers of some series: an id, or a list of ids; None is the first four.

        Raises:
            ArgumentError: there is no series of such an id.
        """
        if series is None:
            return list(range(min(4, len(self.ids))))
        if self.columns.id is None:
            raise bad_argument("series", series, "left away where there is one series without id")
        wanted = list(series) if isinstance(series, (list, tuple, pd.Index)) else [series]
        for one in wanted:
            if one not in self.ids:
                expected = f"among the ids of the {len(self.ids)} series"
                raise bad_argument("series", one, expected, nearest(one, self.ids))
        return [int(self.ids.get_loc(one)) for one in wanted]

    def split(self, frames: list[pd.DataFrame]) -> dict[str, list[pd.DataFrame]]:
        """The rows of each series in each of several frames, by the name of the series."""
        key = self.columns.id
        if key is None:
            return {"": frames}
        return {str(one): [df[df[key] == one] for df in frames] for one in self.ids}

    def _in_shape(self, frame: pd.DataFrame) -> pd.DataFrame:
        return self.shape.answer(frame, self.columns.id, self.columns.time)

    def _frame(self, first: int, last: int, data: dict[str, Any]) -> pd.DataFrame:
        times = self.calendar.span(self.last, first, last)
        key = (
            {} if self.columns.id is None else {self.columns.id: self.ids.repeat(last - first + 1)}
        )
        return pd.DataFrame(key | {self.columns.time: times} | data)


def restore_panel(
    columns: Columns,
    calendar: Calendar,
    *,
    ids: tuple[list[Any], str],
    last: npt.NDArray[np.int64],
    values: GroupedArray,
    known: Known | None = None,
    covariates: Covariates | None = None,
    shape: Shape | None = None,
) -> Panel:
    """A panel from what a file holds: ids with their dtype, last stamps as integers."""
    index = pd.Index(ids[0], dtype=ids[1], name=columns.id)
    stamps = from_integers(last, calendar.dtype)
    known = known or Known.nothing(values.indptr)
    kind = covariates or Covariates(), shape or Shape()
    return Panel(columns, index, stamps, calendar, values, known, *kind)


def read_panel(
    df: Any,
    *,
    id_col: str = DEFAULT_ID,
    time_col: str = "ds",
    target_col: str = "y",
    freq: str | int | None = None,
    past_covariates: Any = (),
    future_covariates: Any = (),
    static_covariates: Any = (),
    calendar: Any = None,
    missing: str = "raise",
    fill: str = "raise",
) -> Panel:
    """Checks a frame and takes it apart; the arguments are those of `Forecaster.fit`.

    A frame without the column `unique_id`, where no other name is given, is one series.

    Raises:
        ArgumentError: a column is missing, or `freq` is not a frequency.
        DataError: the frame is empty; ids or stamps are missing; stamps are out of order, twice
            or not regular; a target is missing, infinite or not a number; a covariate is missing.
    """
    check_one_of("missing", missing, ("raise", "mask"))
    check_one_of("fill", fill, FILLS)
    frame, shape = to_long(df, {"id_col": id_col, "time_col": time_col, "target_col": target_col})
    columns = _columns(frame, id_col, time_col, target_col)
    covariates = Covariates(
        check_names("past_covariates", past_covariates),
        check_names("future_covariates", future_covariates),
        check_names("static_covariates", static_covariates),
    )
    _check_covariates(frame, columns, covariates, shape)
    rows = _Rows.of(frame, columns, freq).filled(frame, columns, missing, fill, covariates)
    rows.check_some(columns)
    names = _calendar_features.choose(calendar, rows.calendar, int(np.median(rows.lengths)))
    return rows.panel(frame, columns, replace(covariates.learn(frame), calendar=names), shape)


def read_alike(df: Any, fitted: Panel, *, missing: str, fill: str, whole: bool = True) -> Panel:
    """Reads other rows of the same or of other series, as those of `fitted` were read.

    Args:
        df: the rows.
        fitted: what was read before.
        missing: as for `read_panel`.
        fill: as for `read_panel`.
        whole: whether each series must have a target at least.

    Raises:
        ArgumentError: a column is missing.
        DataError: as for `read_panel`; or stamps of another kind.
    """
    check_one_of("fill", fill, FILLS)
    columns = fitted.columns
    names = columns.id or DEFAULT_ID, columns.time, columns.target
    frame, shape = to_long(df, dict(zip(("id_col", "time_col", "target_col"), names, strict=True)))
    columns = _columns(frame, *names)
    _check_covariates(frame, columns, fitted.covariates, shape)
    _check_kind(frame[columns.time], columns, fitted.calendar)
    freq = None if fitted.calendar.is_period else fitted.calendar.step
    rows = _Rows.of(frame, columns, freq).filled(frame, columns, missing, fill, fitted.covariates)
    if whole:
        rows.check_some(columns)
    return rows.panel(frame, columns, fitted.covariates, shape)


@dataclass(frozen=True)
class _Rows:
    """The rows of a long frame, series after series.

    Attributes:
        order: the number of each row in the frame.
        ids: of the series.
        indptr: `(series + 1,)`, where the series begin and end.
        times: the stamp of each row.
        calendar: which stamps follow each other.
        values: the targets, NaN until they are read.
    """

    order: npt.NDArray[np.int64]
    ids: pd.Index
    indptr: npt.NDArray[np.int64]
    times: pd.Index
    calendar: Calendar
    values: npt.NDArray[np.float64]

    @classmethod
    def of(cls, df: pd.DataFrame, columns: Columns, freq: Any) -> "_Rows":
        codes, ids = _series_of(df, columns)
        order = np.argsort(codes, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(codes))])
        times, dtype = _times(df[columns.time], columns)
        times = times[order]
        unread = np.full(len(times), np.nan)
        rows = cls(order, ids, indptr, times, Calendar(dtype, ""), unread)
        _check_order(times, rows.follows, ids[rows.series], columns)
        return replace(rows, calendar=Calendar.of(times, indptr, freq, dtype=dtype))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.indptr)

    @property
    def series(self) -> npt.NDArray[np.int64]:
        """The number of the series of each row."""
        return np.repeat(np.arange(len(self.ids)), self.lengths)

    @property
    def follows(self) -> npt.NDArray[np.bool_]:
        """Whether the row after each row is of the same series."""
        return np.diff(self.series) == 0

    def filled(
        self, df: pd.DataFrame, columns: Columns, missing: str, fill: str, covariates: Covariates
    ) -> "_Rows":
        """With the targets, and with a row for every stamp, as far as `fill` allows."""
        values = _targets(df[columns.target], columns, self, missing)
        broken = self.calendar.first_break(self.times, self.follows)
        if broken is None:
            return replace(self, values=values)
        if fill == "raise":
            raise self._gap(broken, columns)
        grid = find_gaps(self.times, self.indptr, self.calendar)
        if isinstance(grid, int):
            raise self._gap(grid, columns)
        if covariates.columns:
            fix = "Put the missing rows into df, with the covariates that they have."
            raise bad_argument("fill", fill, "'raise' beside covariates", fix)
        spread = grid.spread(values)
        if fill == "interpolate":
            added = np.ones(len(spread), dtype=bool)
            added[grid.places] = False
            spread = interpolate(spread, grid.indptr, added)
        return replace(self, times=grid.times, indptr=grid.indptr, values=spread)

    def panel(
        self, df: pd.DataFrame, columns: Columns, covariates: Covariates, shape: Shape
    ) -> Panel:
        """The panel with the covariates of the frame."""
        known = Known.nothing(self.indptr)
        if covariates.columns or covariates.calendar:
            known = self._known(df, columns, covariates)
        last, values = self.times[self.indptr[1:] - 1], GroupedArray(self.values, self.indptr)
        return Panel(columns, self.ids, last, self.calendar, values, known, covariates, shape)

    def _known(self, df: pd.DataFrame, columns: Columns, covariates: Covariates) -> Known:
        # Without covariates in columns, rows may have been put in that df does not have.
        needed = df[list(covariates.columns)]
        ordered = needed.iloc[self.order] if covariates.columns else needed

        def where(row: int) -> str:
            return f"{self._name(row, columns, small=True)} at {self.times[row]}"

        for name in covariates.static:
            self._check_static(ordered[name], columns)
        rows = covariates.rows(ordered, self.times, where)
        first = self.indptr[:-1]
        numbers, words = covariates.of_series(
            ordered.iloc[first] if covariates.static else needed.iloc[: len(first)],
            lambda series: where(first[series]),
        )
        return Known(GroupedArray(rows, self.indptr), numbers, words)

    def _check_static(self, column: pd.Series, columns: Columns) -> None:
        changes = self.follows & (np.diff(pd.factorize(column)[0]) != 0)
        if changes.any():
            row = int(np.argmax(changes)) + 1
            raise DataError(
                f"Column {column.name!r} is to be static, but in {self._name(row, columns, True)} "
                f"it changes at {self.times[row]}, from {str(column.iloc[row - 1])!r} to "
                f"{str(column.iloc[row])!r}. Make it one value for each series, or one of the "
                "past_covariates or future_covariates."
            )

    def check_some(self, columns: Columns) -> None:
        """Refuses a series without a single target."""
        present = ~np.isnan(self.values)
        if not present.all():
            some = np.logical_or.reduceat(present, self.indptr[:-1])
            if not some.all():
                empty = self._name(self.indptr[int(np.argmin(some))], columns)
                raise DataError(f"{empty} has no target at all. Drop its rows.")

    def _gap(self, row: int, columns: Columns) -> DataError:
        before, now = self.times[row - 1], self.times[row]
        expected = self.calendar.move(self.times[row - 1 : row], 1)[0]
        return DataError(
            f"{self._name(row, columns)} has a gap or an irregular step: after {before} comes "
            f"{now}, expected {expected} at frequency {self.calendar.freq!r}. Fill in the missing "
            "rows, or say which frequency is meant with freq=..."
        )

    def _name(self, row: Any, columns: Columns, small: bool = False) -> str:
        number = int(np.searchsorted(self.indptr, row, side="right")) - 1
        name = _name(columns, self.ids[number])
        return name[0].lower() + name[1:] if small else name


def split_last(df: pd.DataFrame, rows: int, columns: Columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frame without the last `rows` rows of each series, and these rows."""
    if columns.id is None:
        return df.iloc[:-rows], df.iloc[-rows:]
    from_end = df.groupby(columns.id, sort=False, observed=True).cumcount(ascending=False)
    return df[from_end >= rows], df[from_end < rows]


def read_file(path: str | Path, *, time_col: str, id_col: str | None = None) -> pd.DataFrame:
    """Reads a csv or parquet file; text in the time column becomes time stamps.

    Ids of a csv file stay the text that they are, such as 007 or NA. Stamps whose offset from UTC
    changes, as with summer time, become stamps in UTC.

    Raises:
        ArgumentError: another kind of file, or no such column.
        DataError: the file is empty, damaged or not of its kind, or the time column cannot be read
            as time stamps.
        OSError: the file is not there or may not be read.
        MissingDependencyError: a parquet file, and pyarrow is not installed.
    """
    kind = Path(path).suffix.lower()
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if kind not in readers:
        raise bad_argument("file", str(path), "a .csv or .parquet file")
    if kind == ".parquet":
        optional("pyarrow", extra="parquet")
    Path(path).open("rb").close()
    try:
        df = readers[kind](path)
        if kind == ".csv" and id_col in df.columns:
            # By itself: pandas has no option for what is missing in all columns but one.
            text = {"dtype": str, "keep_default_na": False, "na_values": [""]}
            df[id_col] = pd.read_csv(path, usecols=[id_col], **text)[id_col]
    except (ValueError, OSError) as error:
        fix = "Save it as csv in UTF-8 with a header and equally long rows, or as parquet."
        raise DataError(f"{path} cannot be read as {kind[1:]}: {_line(error)}. {fix}") from error
    _check_column(df, "time_col", time_col)
    if pd.api.types.is_string_dtype(df[time_col]):
        try:
            df[time_col] = _stamps(df[time_col])
        except ValueError as error:
            raise DataError(
                f"Column {time_col!r} cannot be read as time stamps: {_line(error)}. Write them "
                "alike, such as 2024-12-31 or 2024-12-31 23:00:00."
            ) from error
    return df


def _stamps(text: pd.Series) -> pd.Series:
    with warnings.catch_warnings():
        # What pandas 2 says of mixed offsets, where pandas 3 raises.
        warnings.simplefilter("error", FutureWarning)
        try:
            return pd.to_datetime(text)
        except (ValueError, FutureWarning):
            return pd.to_datetime(text, utc=True)


def _line(error: Exception) -> str:
    """The first line of a message, without its full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".")


def write_file(df: pd.DataFrame, path: str | Path) -> None:
    """Writes a frame as csv or parquet, as the name of the file says."""
    if Path(path).suffix.lower() == ".parquet":
        optional("pyarrow", extra="parquet")
        df.to_parquet(path, index=False)
    else:
        df.to_csv(path, index=False)


def _columns(df: Any, id_col: str, time_col: str, target_col: str) -> Columns:
    single = id_col == DEFAULT_ID and id_col not in df.columns
    if not single:
        _check_column(df, "id_col", id_col)
    _check_column(df, "time_col", time_col)
    _check_column(df, "target_col", target_col)
    if df.empty:
        raise DataError("df is empty: it has columns, but no rows. Give at least one series.")
    names = [time_col, target_col] if single else [id_col, time_col, target_col]
    if len(set(names)) < len(names):
        raise bad_argument("id_col, time_col, target_col", names, "different columns")
    for name in names:
        if name != target_col and (str(name).startswith("yhat") or name == "actual"):
            fix = "The forecast has columns of such names. Rename it."
            raise bad_argument("id_col, time_col", name, "a name other than actual or yhat...", fix)
    return Columns(None if single else id_col, time_col, target_col)


def _check_column(df: pd.DataFrame, argument: str, name: str) -> None:
    found = int((df.columns == name).sum())
    if found > 1:
        raise ArgumentError(f"{argument}={name!r} names {found} columns of df. Rename all but one.")
    if not found:
        shown = ", ".join(repr(column) for column in df.columns[:20])
        fix = nearest(name, df.columns) or f"Give the name of the column as {argument}=..."
        if name in df.index.names:
            fix = "It is in the index: use df.reset_index()."
        elif argument == "time_col" and isinstance(df.index, (pd.DatetimeIndex, pd.PeriodIndex)):
            fix = f"If the index holds the stamps: df = df.reset_index(names={name!r})."
        raise ArgumentError(
            f"{argument} must be a column of df. Got: {argument}={name!r}; the columns are "
            f"{shown}. {fix}"
        )


def _series_of(df: pd.DataFrame, columns: Columns) -> tuple[npt.NDArray[np.int64], pd.Index]:
    if columns.id is None:
        return np.zeros(len(df), np.int64), pd.Index([0])
    codes, ids = pd.factorize(df[columns.id])
    if (codes < 0).any():
        raise DataError(
            f"Column {columns.id!r} has no id in row {int(np.argmax(codes < 0))}. Give every row "
            "the id of its series, or drop the row."
        )
    if not all(isinstance(one, (str, Real, np.bool_)) for one in ids):
        other = next(one for one in ids if not isinstance(one, (str, Real, np.bool_)))
        raise DataError(
            f"Column {columns.id!r} must hold text or numbers. Got: {other!r} "
            f"({type(other).__name__}). Convert it: df[{columns.id!r}].astype(str)."
        )
    return codes.astype(np.int64), pd.Index(ids, name=columns.id)


def _times(column: pd.Series, columns: Columns) -> tuple[pd.Index, str]:
    """The stamps, integers as int64, and the dtype of stamps to be given."""
    times = pd.Index(column)
    if not (isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex)) or times.dtype.kind in "iu"):
        raise DataError(
            f"Column {columns.time!r} must hold time stamps, periods or integers. Got: dtype "
            f"{column.dtype}, first value {column.iloc[0]!r}. "
            f"Convert it: df[{columns.time!r}] = pd.to_datetime(df[{columns.time!r}]), or "
            "count with integers."
        )
    if times.hasnans:
        row = int(np.argmax(times.isna()))
        raise DataError(f"Column {columns.time!r} has no time stamp in row {row}. Drop the row.")
    if times.dtype.kind in "iu":
        # In int64 no step wraps around; NumPy's dtype is given back, pandas' own is not.
        name = str(times.dtype).lower()
        return pd.Index(times.to_numpy(np.int64)), name if name in INTEGERS else "int64"
    return times, str(times.dtype)


def _check_order(
    times: pd.Index, follows: npt.NDArray[np.bool_], ids: pd.Index, columns: Columns
) -> None:
    wrong = follows & (np.diff(to_integers(times)) <= 0)
    if not wrong.any():
        return
    row = int(np.argmax(wrong)) + 1
    name, before, now = _name(columns, ids[row]), times[row - 1], times[row]
    if before == now and columns.id is None:
        fix = "Drop one of them; if df holds several series, name the column of their ids: id_col."
        raise DataError(f"{name} has the time stamp {now} twice. {fix}")
    if before == now:
        raise DataError(f"{name} has the time stamp {now} twice. Drop or merge one of them.")
    keys = [columns.time] if columns.id is None else [columns.id, columns.time]
    fix = f"Sort the frame: df = df.sort_values({keys!r})."
    raise DataError(f"{name} is not in order of time: after {before} comes {now}. {fix}")


def _check_kind(column: pd.Series, columns: Columns, calendar: Calendar) -> None:
    dtype = _times(column, columns)[1]
    kinds = [pd.api.types.pandas_dtype(one).type for one in (dtype, calendar.dtype)]
    if kinds[0] is not kinds[1] and {dtype[:3], calendar.dtype[:3]} & {"dat", "per"}:
        raise DataError(
            f"Column {columns.time!r} must hold stamps as in fit. Got: dtype {dtype}; fit had "
            f"{calendar.dtype}."
        )


def _check_covariates(
    df: pd.DataFrame, columns: Columns, covariates: Covariates, shape: Shape
) -> None:
    names = covariates.columns
    if not names:
        return
    if shape.kind in ("wide", "series"):
        raise ArgumentError(
            f"Covariates are columns of a long frame. Got: {list(names)} beside a {shape.kind} "
            "frame. Make it long and join them: df.rename_axis('ds').reset_index().melt('ds', "
            "var_name='unique_id', value_name='y')."
        )
    for argument in ("past", "future", "static"):
        for name in getattr(covariates, argument):
            _check_column(df, f"{argument}_covariates", name)
    taken = [columns.id, columns.time, columns.target, *names]
    twice = sorted({name for name in names if taken.count(name) > 1})
    if twice:
        expected = "different columns, none of them the id, the time or the target"
        raise bad_argument("past_, future_, static_covariates", twice, expected)


def _targets(
    column: pd.Series, columns: Columns, rows: _Rows, missing: str
) -> npt.NDArray[np.float64]:
    """The targets in the order of the rows, NaN for what is missing."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
        raise DataError(
            f"Column {columns.target!r} must hold numbers. Got: dtype {column.dtype}, first value "
            f"{column.iloc[0]!r}. Convert it with pd.to_numeric."
        )
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)[rows.order]
    usable = np.abs(values) < LARGEST  # False for NaN too
    if missing == "mask":
        usable |= np.isnan(values)
    if not usable.all():
        wrong = np.flatnonzero(~usable)
        row = wrong[np.argmin(rows.order[wrong])]
        hint = ", or pass missing='mask'" if np.isnan(values[row]) else ""
        raise DataError(
            f"{rows._name(row, columns)} has the target {values[row]} in row {rows.order[row]} of "
            f"df ({len(wrong)} such rows in all). Every {columns.target!r} must be a finite number "
            f"below {LARGEST:g}: fill in or cut off what is missing{hint}."
        )
    return values


def _name(columns: Columns, identity: Any) -> str:
    plain = identity.item() if isinstance(identity, np.generic) else identity
    return "The series" if columns.id is None else f"Series {plain!r}"

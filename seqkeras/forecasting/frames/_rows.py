"""The rows of a long frame: put in order, checked, and filled in where stamps are missing."""

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._checks import bad_argument
from seqkeras.errors import DataError
from seqkeras.forecasting.calendars._calendar import Calendar, to_integers
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._forms import Shape
from seqkeras.forecasting.frames._gaps import find_gaps, interpolate
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.windows import GroupedArray

INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}

#: Beyond it, the square of a number, and so a standard deviation, may not be finite.
LARGEST = 1e150


@dataclass(frozen=True)
class Rows:
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
    def of(cls, df: pd.DataFrame, columns: ColumnNames, freq: Any) -> "Rows":
        codes, ids = _series_of(df, columns)
        order = np.argsort(codes, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(codes))])
        times, dtype = stamps_of(df[columns.time], columns)
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
        self,
        df: pd.DataFrame,
        columns: ColumnNames,
        missing: str,
        fill: str,
        covariates: Covariates,
    ) -> "Rows":
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
            fix = "Put the missing rows into df, with their covariates."
            raise bad_argument("fill", fill, "'raise' with covariates", fix)
        spread = grid.spread(values)
        if fill == "interpolate":
            added = np.ones(len(spread), dtype=bool)
            added[grid.places] = False
            spread = interpolate(spread, grid.indptr, added)
        return replace(self, times=grid.times, indptr=grid.indptr, values=spread)

    def panel(
        self, df: pd.DataFrame, columns: ColumnNames, covariates: Covariates, shape: Shape
    ) -> Panel:
        """The panel with the covariates of the frame."""
        known = Known.nothing(self.indptr)
        if covariates.columns or covariates.calendar:
            known = self._known(df, columns, covariates)
        last, values = self.times[self.indptr[1:] - 1], GroupedArray(self.values, self.indptr)
        return Panel(columns, self.ids, last, self.calendar, values, known, covariates, shape)

    def _known(self, df: pd.DataFrame, columns: ColumnNames, covariates: Covariates) -> Known:
        # Without covariates in columns, rows may have been put in that df does not have.
        needed = df[list(covariates.columns)]
        ordered = needed.iloc[self.order] if covariates.columns else needed

        def where(row: int) -> str:
            return f"{self._name(row, columns, small=True)} at {self.times[row]}"

        for name in covariates.static:
            self._check_static(ordered[name], columns)
        rows = covariates.rows(ordered, self.times, where, self.calendar)
        first = self.indptr[:-1]
        numbers, words = covariates.of_series(
            ordered.iloc[first] if covariates.static else needed.iloc[: len(first)],
            lambda series: where(first[series]),
        )
        return Known(GroupedArray(rows, self.indptr), numbers, words)

    def _check_static(self, column: pd.Series, columns: ColumnNames) -> None:
        changes = self.follows & (np.diff(pd.factorize(column)[0]) != 0)
        if changes.any():
            row = int(np.argmax(changes)) + 1
            raise DataError(
                f"Column {column.name!r} is to be static, but in {self._name(row, columns, True)} "
                f"it changes at {self.times[row]}, from {str(column.iloc[row - 1])!r} to "
                f"{str(column.iloc[row])!r}. Make it one value for each series, or one of the "
                "columns in Columns(past=...) or Columns(future=...)."
            )

    def check_some(self, columns: ColumnNames) -> None:
        """Refuses a series without a single target."""
        present = ~np.isnan(self.values)
        if not present.all():
            some = np.logical_or.reduceat(present, self.indptr[:-1])
            if not some.all():
                empty = self._name(self.indptr[int(np.argmin(some))], columns)
                raise DataError(f"{empty} has no target at all. Drop its rows.")

    def _gap(self, row: int, columns: ColumnNames) -> DataError:
        before, now = self.times[row - 1], self.times[row]
        expected = self.calendar.move(self.times[row - 1 : row], 1)[0]
        return DataError(
            f"{self._name(row, columns)} has a gap or an irregular step: after {before} comes "
            f"{now}, expected {expected} at frequency {self.calendar.freq!r}. Fill in the missing "
            "rows, or pass the right frequency as Columns(freq=...)."
        )

    def _name(self, row: Any, columns: ColumnNames, small: bool = False) -> str:
        number = int(np.searchsorted(self.indptr, row, side="right")) - 1
        name = columns.name(self.ids[number])
        return name[0].lower() + name[1:] if small else name


def _series_of(df: pd.DataFrame, columns: ColumnNames) -> tuple[npt.NDArray[np.int64], pd.Index]:
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


def stamps_of(column: pd.Series, columns: ColumnNames) -> tuple[pd.Index, str]:
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
    _check_zone(times, columns)
    return times, str(times.dtype)


def _check_zone(times: pd.Index, columns: ColumnNames) -> None:
    """Raises for a time zone that has no name by which it is found again, such as dateutil's."""
    try:
        pd.api.types.pandas_dtype(str(times.dtype))
    except TypeError as error:
        raise DataError(
            f"Column {columns.time!r} has the time zone {getattr(times, 'tz', None)!r}, which has "
            f"no name. Convert it, for example with df[{columns.time!r}].dt.tz_convert('UTC')."
        ) from error


def _check_order(
    times: pd.Index, follows: npt.NDArray[np.bool_], ids: pd.Index, columns: ColumnNames
) -> None:
    wrong = follows & (np.diff(to_integers(times)) <= 0)
    if not wrong.any():
        return
    row = int(np.argmax(wrong)) + 1
    name, before, now = columns.name(ids[row]), times[row - 1], times[row]
    if before == now and columns.id is None:
        fix = "Drop one of them, or name the column of series ids: Columns(id=...)."
        raise DataError(f"{name} has the time stamp {now} twice. {fix}")
    if before == now:
        raise DataError(f"{name} has the time stamp {now} twice. Drop or merge one of them.")
    keys = [columns.time] if columns.id is None else [columns.id, columns.time]
    fix = f"Sort the frame: df = df.sort_values({keys!r})."
    raise DataError(f"{name} is not in order of time: after {before} comes {now}. {fix}")


def are_targets(values: npt.NDArray[np.float64], *, masked: bool) -> npt.NDArray[np.bool_]:
    """Whether values can be targets, which may be missing if `masked`."""
    usable = np.abs(values) < LARGEST  # False for NaN too
    return usable | np.isnan(values) if masked else usable


def _targets(
    column: pd.Series, columns: ColumnNames, rows: Rows, missing: str
) -> npt.NDArray[np.float64]:
    """The targets in the order of the rows, NaN for what is missing."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
        raise DataError(
            f"Column {columns.target!r} must hold numbers. Got: dtype {column.dtype}, first value "
            f"{column.iloc[0]!r}. Convert it with pd.to_numeric."
        )
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)[rows.order]
    usable = are_targets(values, masked=missing == "mask")
    if not usable.all():
        wrong = np.flatnonzero(~usable)
        row = wrong[np.argmin(rows.order[wrong])]
        hint = ", or pass Columns(missing='mask')" if np.isnan(values[row]) else ""
        raise DataError(
            f"{rows._name(row, columns)} has the target {values[row]} in row {rows.order[row]} of "
            f"df ({len(wrong)} such rows in all). Every {columns.target!r} must be a finite number "
            f"below {LARGEST:g}: fill in or cut off what is missing{hint}."
        )
    return values

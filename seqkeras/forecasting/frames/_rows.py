"""The rows of a long frame: checked, ordered by series, and filled to regular series."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Booleans, Floats, Integers
from seqkeras._checks import bad_argument, bad_data
from seqkeras.errors import DataError
from seqkeras.forecasting.calendars._calendar import Calendar, advise_weekdays, to_integers
from seqkeras.forecasting.frames._advice import (
    first_without_number,
    first_without_time,
    mend_numbers,
    ways_to_times,
)
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._forms import Shape
from seqkeras.forecasting.frames._gaps import Grid, find_gaps, interpolate
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.windows import GroupedArray

INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}

#: Kinds of objects that are numbers, as `pd.api.types.infer_dtype` names them.
NUMBERS = ("decimal", "floating", "integer", "mixed-integer-float", "boolean")

#: Limit of targets: the square of a larger number, and so a standard deviation, may be infinite.
LARGEST = 1e150

#: Advice about a missing target: where `Columns` refuses it, and where the network never saw one.
IF_MISSING = {
    "raise": "Fill in missing values, or pass Columns(missing='mask').",
    "unlearned": "The forecaster was fitted on series without missing targets. Fill in missing "
    "values, or fit on a history in which some targets are NaN.",
}


@dataclass(frozen=True)
class Keys:
    """The ids and timestamps of the rows of a long frame, series after series.

    Attributes:
        names: the key columns of the frame.
        ids: `(series,)`, in the order of their first row.
        indptr: `(series + 1,)`, where the series begin and end.
        times: `(rows,)`, the timestamps.
        dtype: the dtype that the timestamps of forecasts get.
        order: `(rows,)`, the row of the frame of each of these rows.
        shape: the form of the original frame, for which messages suggest code.
    """

    names: ColumnNames
    ids: pd.Index
    indptr: Integers
    times: pd.Index
    dtype: str
    order: Integers
    shape: Shape

    @classmethod
    def of(cls, df: pd.DataFrame, names: ColumnNames, shape: Shape) -> "Keys":
        """Read the ids and timestamps of a long frame, in order of time within each series.

        Raises:
            DataError: ids or timestamps cannot be used.
        """
        codes, ids = _series_of(df, names)
        order = np.argsort(codes, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(codes))])
        times, dtype = timestamps_of(df[names.time], names, shape)
        times = times[order]
        _check_order(times, codes[order], ids, names, shape)
        return cls(names, ids, indptr, times, dtype, order, shape)

    def where(self, row: int) -> str:
        """Describe a row in messages."""
        series = int(np.searchsorted(self.indptr, row, side="right")) - 1
        keeps_rows = self.shape.keeps_rows
        place = f"in row {self.order[row]} of df" if keeps_rows else f"at {self.times[row]}"
        return f"{self.names.label(self.ids[series])} {place}"


@dataclass(frozen=True)
class Rows:
    """The rows of a long frame, series after series.

    Attributes:
        names: the key columns of the frame.
        ids: `(series,)`, in the order of their first row.
        indptr: `(series + 1,)`, where the series begin and end.
        times: `(rows,)`, the timestamps.
        calendar: which timestamps follow each other.
        targets: `(rows,)`, NaN where they are missing.
        covariates: the columns of covariates of the same rows; possibly no columns.
    """

    names: ColumnNames
    ids: pd.Index
    indptr: Integers
    times: pd.Index
    calendar: Calendar
    targets: Floats
    covariates: pd.DataFrame

    @classmethod
    def of(
        cls,
        df: pd.DataFrame,
        names: ColumnNames,
        covariates: Sequence[str],
        freq: Any,
        missing: str,
        shape: Shape,
    ) -> "Rows":
        """Read the rows of a long frame, which must be in order of time within each series.

        Args:
            df: the frame.
            names: its key columns.
            covariates: its columns of covariates.
            freq: the frequency; None infers it from the timestamps.
            missing: `"mask"` if targets may be missing; otherwise a key of `IF_MISSING`.
            shape: the form of the original frame, for which messages suggest code.

        Raises:
            ArgumentError: `freq` is not a frequency.
            DataError: ids, timestamps or targets cannot be used.
        """
        keys = Keys.of(df, names, shape)
        calendar = Calendar.of(keys.times, keys.indptr, freq, dtype=keys.dtype)
        return cls.at(keys, calendar, df, covariates, missing)

    @classmethod
    def at(
        cls,
        keys: Keys,
        calendar: Calendar,
        df: pd.DataFrame,
        covariates: Sequence[str],
        missing: str,
    ) -> "Rows":
        """Read the targets and covariates of rows whose keys were read.

        Raises:
            DataError: targets cannot be used.
        """
        numbers = _numbers(df[keys.names.target], keys.names, keys.shape)
        targets = _targets(numbers, keys.order, missing=missing, where=keys.where)
        columns = df[list(covariates)].iloc[keys.order]
        return cls(keys.names, keys.ids, keys.indptr, keys.times, calendar, targets, columns)

    @property
    def lengths(self) -> Integers:
        return np.diff(self.indptr)

    @property
    def series(self) -> Integers:
        """Return for each row the position of its series."""
        return np.repeat(np.arange(len(self.ids)), self.lengths)

    @property
    def _follows(self) -> Booleans:
        # Whether the row after each row belongs to the same series.
        return np.diff(self.series) == 0

    def filled(self, fill: str) -> "Rows":
        """Return regular series, with a row for every timestamp from the first to the last.

        Args:
            fill: what to do about missing timestamps: `"raise"`, `"mask"` or `"interpolate"`.

        Raises:
            ArgumentError: rows would have to be inserted, but their covariates are unknown.
            DataError: the series are irregular, and `fill` is `"raise"` or inserting rows would not
                make them regular.
        """
        irregular = self.calendar.first_break(self.times, self._follows)
        if irregular is None:
            return self
        if fill == "raise":
            raise self._gap(irregular)
        grid = find_gaps(self.times, self.indptr, self.calendar)
        if isinstance(grid, int):
            raise self._gap(grid)
        if len(self.covariates.columns):
            fix = (
                "Add the missing rows to df, with their covariates and NaN as the target. "
                "df.asfreq inserts rows into one series, and df.groupby(...).apply into each."
            )
            raise bad_argument("fill", fill, "'raise' with covariates", fix)
        targets = grid.spread(self.targets)
        if fill == "interpolate":
            inserted = np.ones(len(targets), dtype=bool)
            inserted[grid.places] = False
            targets = interpolate(targets, grid.indptr, inserted)
        no_covariates = pd.DataFrame(index=pd.RangeIndex(len(targets)))
        return replace(
            self,
            times=grid.times,
            indptr=grid.indptr,
            targets=targets,
            covariates=no_covariates,
        )

    def check_targets(self) -> None:
        """Check that each series has a target.

        Raises:
            DataError: all targets of a series are missing.
        """
        present = ~np.isnan(self.targets)
        has_target = np.logical_or.reduceat(present, self.indptr[:-1])
        if not has_target.all():
            name = self.names.name(self.ids[np.argmin(has_target)])
            raise bad_data(name, "none", "have at least one target", "Drop its rows.")

    def panel(self, covariates: Covariates, shape: Shape) -> Panel:
        """Return the series as a panel.

        Args:
            covariates: how to encode the covariates.
            shape: the form of the original frame.

        Raises:
            DataError: a covariate cannot be used.
        """
        return Panel(
            self.names,
            self.ids,
            self.times[self.indptr[1:] - 1],
            self.calendar,
            GroupedArray(self.targets, self.indptr),
            self._known(covariates),
            covariates,
            shape,
        )

    def _known(self, covariates: Covariates) -> Known:
        if not covariates.columns and not covariates.calendar:
            return Known.nothing(self.indptr)
        for name in covariates.static:
            self._check_static(name)
        rows = covariates.rows(self.covariates, self.times, self._where, self.calendar)
        first = self.indptr[:-1]
        static, categories = covariates.of_series(
            self.covariates.iloc[first], lambda series: self._where(first[series])
        )
        return Known(GroupedArray(rows, self.indptr), static, categories)

    def _check_static(self, name: str) -> None:
        column = self.covariates[name]
        changes = self._follows & (np.diff(pd.factorize(column)[0]) != 0)
        if changes.any():
            row = int(np.argmax(changes)) + 1
            before = str(column.iloc[row - 1])
            now = str(column.iloc[row])
            raise bad_data(
                f"Column {name!r}",
                f"{now!r} after {before!r} for {self._where(row)}",
                "be static, with one value for each series",
                "Use one value for each series, or move the column to Columns(past=...) or "
                "Columns(future=...).",
            )

    def _gap(self, row: int) -> DataError:
        if row in self.indptr:
            return bad_data(
                self.names.name(self.ids[self.series[row]]),
                f"{self.times[row]} as the first timestamp",
                f"have timestamps of frequency {self.calendar.label}",
                "Pass the right frequency as Columns(freq=...).",
            )
        before = self.times[row - 1]
        expected = self.calendar.move(self.times[row - 1 : row], 1)[0]
        return bad_data(
            self.names.name(self.ids[self.series[row]]),
            f"{self.times[row]} after {before}, where frequency {self.calendar.label} has "
            f"{expected}",
            "have regular timestamps without gaps",
            self._fix_of_gap(),
        )

    def _fix_of_gap(self) -> str:
        try:
            can_fill = isinstance(find_gaps(self.times, self.indptr, self.calendar), Grid)
        except DataError:  # too many rows would be inserted
            can_fill = False
        fix = "Bring them to a regular grid"
        if can_fill and len(self.covariates.columns):
            fix = "Add the missing rows, with their covariates"
        elif can_fill:
            fix = "Add the missing rows, or have them inserted by Columns(fill='mask')"
        fix += ", or pass the right frequency as Columns(freq=...)."
        return fix + advise_weekdays(self.times)

    def _where(self, row: int) -> str:
        return f"{self.names.label(self.ids[self.series[row]])} at {self.times[row]}"


def _series_of(df: pd.DataFrame, names: ColumnNames) -> tuple[Integers, pd.Index]:
    if names.id is None:
        return np.zeros(len(df), np.int64), pd.Index([0])
    codes, ids = pd.factorize(df[names.id])
    column = f"Column {names.id!r}"
    if (codes < 0).any():
        fix = "Give every row the id of its series, or drop the row."
        missing = f"none in row {int(np.argmax(codes < 0))}"
        raise bad_data(column, missing, "have an id in every row", fix)
    for identity in ids:
        if not isinstance(identity, (str, Real, np.bool_)):
            fix = f"Convert it: df[{names.id!r}].astype(str)."
            value = f"{identity!r} ({type(identity).__name__})"
            raise bad_data(column, value, "hold text or numbers", fix)
    return codes.astype(np.int64), pd.Index(ids, name=names.id)


def timestamps_of(column: pd.Series, names: ColumnNames, shape: Shape) -> tuple[pd.Index, str]:
    """Check the column of timestamps.

    Returns:
        The timestamps, with integers of any dtype as int64; and the dtype that the timestamps of
        forecasts get.

    Raises:
        DataError: the column does not hold timestamps, periods or integers, or has gaps.
    """
    times = pd.Index(column, dtype=column.dtype)  # pandas 2 would guess the type of objects
    subject = f"Column {names.time!r}"
    if not (isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex)) or times.dtype.kind in "iu"):
        row, dates = first_without_time(column)
        raise bad_data(
            subject,
            f"dtype {column.dtype}, {column.iloc[row]!r} in row {row}{dates}",
            "hold timestamps, periods or integers",
            _advise_times(column, names, shape),
        )
    if times.hasnans:
        missing = f"none in row {int(np.argmax(times.isna()))}"
        raise bad_data(subject, missing, "have a timestamp in every row", "Drop the row.")
    if times.dtype.kind in "iu":
        # int64 leaves room for steps. In forecasts, a dtype of pandas such as Int8 becomes int8.
        name = str(times.dtype).lower()
        return pd.Index(times.to_numpy(np.int64)), name if name in INTEGERS else "int64"
    _check_zone(times, names)
    return times, str(times.dtype)


def _advise_times(column: pd.Series, names: ColumnNames, shape: Shape) -> str:
    codes = ways_to_times(column)
    ways = [shape.how_to_convert(names.time, code, names) for code in codes]
    if ways:
        return f"Convert it: {', or '.join(ways)}."
    count = "range(len(df))"
    if names.id is not None:
        count = f"df.groupby({names.id!r}).cumcount()"
    return f"Correct it, or count the rows: df[{names.time!r}] = {count}."


def _check_zone(times: pd.Index, names: ColumnNames) -> None:
    # Some time zones, such as dateutil's, have no name from which a file could restore them.
    try:
        pd.api.types.pandas_dtype(str(times.dtype))
    except TypeError as error:
        raise bad_data(
            f"Column {names.time!r}",
            repr(getattr(times, "tz", None)),
            "have a time zone with a name",
            f"Convert it, for example with df[{names.time!r}].dt.tz_convert('UTC').",
        ) from error


def _check_order(
    times: pd.Index, series: Integers, ids: pd.Index, names: ColumnNames, shape: Shape
) -> None:
    wrong = (np.diff(series) == 0) & (np.diff(to_integers(times)) <= 0)
    if not wrong.any():
        return
    repeated = pd.MultiIndex.from_arrays([series, to_integers(times)]).duplicated()
    if repeated.any():
        row = int(np.argmax(repeated))
        fix = "Drop or merge one of them."
        if shape.kind in ("wide", "series"):
            fix = "Drop one of them: df = df[~df.index.duplicated()]."
        elif names.id is None:
            fix = "Drop one of them, or name the column of series ids: Columns(id=...)."
            # A clock that is set back shows an hour twice.
            if getattr(times, "tz", "") is None and (times != times.normalize()).any():
                fix += f" Local times need a time zone: df[{names.time!r}].dt.tz_localize(...)."
        name = names.name(ids[series[row]])
        raise bad_data(name, f"{times[row]} twice", "have each timestamp once", fix)
    row = int(np.argmax(wrong)) + 1
    fix = f"Sort the frame: {shape.how_to_sort(names.keys)}."
    problem = f"{times[row]} after {times[row - 1]}"
    raise bad_data(names.name(ids[series[row]]), problem, "be in order of time", fix)


def are_targets(values: Floats, *, masked: bool) -> Booleans:
    """Return which values can be targets; missing ones can if `masked` is True."""
    usable = np.abs(values) < LARGEST  # False for NaN
    return usable | np.isnan(values) if masked else usable


def _numbers(column: pd.Series, names: ColumnNames, shape: Shape) -> pd.Series:
    """Return a column of targets as numbers; objects such as decimals become float64."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        return column
    if pd.api.types.infer_dtype(column, skipna=True) in NUMBERS:
        return pd.Series(column.to_numpy(np.float64, na_value=np.nan), name=column.name)
    row = first_without_number(column)
    code = mend_numbers(column, coerce=True)
    fix = "Use another column, or convert it to numbers."
    if code:
        action = "Correct it, or make such values missing" if "coerce" in code else "Convert it"
        fix = f"{action}: {shape.how_to_convert(names.target, code, names)}."
    value = f"dtype {column.dtype}, {column.iloc[row]!r} in row {row}"
    raise bad_data(f"Column {names.target!r}", value, "hold numbers", fix)


def _targets(
    column: pd.Series, order: Integers, *, missing: str, where: Callable[[int], str]
) -> Floats:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)[order]
    unusable = np.flatnonzero(~are_targets(values, masked=missing == "mask"))
    if len(unusable):
        row = unusable[np.argmin(order[unusable])]
        fix = "Fill in or remove such values."
        if np.isnan(values[row]):
            fix = IF_MISSING[missing]
        raise bad_data(
            f"Column {column.name!r}",
            f"{values[row]} for {where(row)} ({len(unusable)} such rows in all)",
            f"hold finite numbers below {LARGEST:g}",
            fix,
        )
    return values

"""Reading of a long table in parquet files into a checked `Panel`, without the table in memory."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Integers
from seqkeras._checks import Description, bad_argument
from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar, CalendarSearch
from seqkeras.forecasting.frames._columns import ColumnNames, Columns, as_columns
from seqkeras.forecasting.frames._covariates import Covariates, Known, is_categorical
from seqkeras.forecasting.frames._dates import counted_format
from seqkeras.forecasting.frames._forms import Shape
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._parquet import SHAPE, ParquetTable
from seqkeras.forecasting.frames._reading import check_covariates, written_as_numbers
from seqkeras.forecasting.frames._rows import Keys, Rows, timestamps_of
from seqkeras.windows import GroupedArray
from seqkeras.windows._mapped import MappedSeries, RowFile


def read_parquet(data: Any, columns: Columns | None, folder: str) -> Panel:
    """Check parquet files, and read them into temporary files that are mapped into memory.

    The panel equals that of a frame with the same rows.

    Args:
        data: a file, a folder or a dataset of pyarrow, with the rows of each series one after the
            other.
        columns: the columns to read, default `Columns()`.
        folder: folder of the temporary files.

    Raises:
        ArgumentError, DataError: as `read_panel`; or the rows of a series are in several places.
            Messages about rows begin with their file and row group.
        FileFormatError: a file is damaged.
        OSError: the disk of the folder is full.
    """
    columns = as_columns(columns)
    table = ParquetTable("df", data)
    names = columns.names.within(table.header, needs_id=columns.id is not None)
    covariates = Covariates(tuple(columns.past), tuple(columns.future), tuple(columns.static))
    check_covariates(table.header, covariates, SHAPE)
    _check_auto(columns)
    table.check([*names.keys, names.target, *covariates.columns])
    survey = _Survey.of(table, names, columns.freq)
    usual = int(np.median(survey.lengths))
    calendar = _calendar_features.choose(columns.calendar, survey.calendar, usual)
    covariates = replace(_learned(covariates, table), calendar=calendar)
    return _Reading(table, names, survey, covariates, columns.missing, columns.fill).panel(folder)


@dataclass(frozen=True, eq=False)
class _Survey:
    """What the ids and timestamps of a table say about it.

    Attributes:
        ids: `(series,)`.
        lengths: `(series,)`, their rows.
        parts: number of series of each part that is read at once.
        calendar: which timestamps follow each other.
    """

    ids: pd.Index
    lengths: Integers
    parts: list[int]
    calendar: Calendar

    @classmethod
    def of(cls, table: ParquetTable, names: ColumnNames, freq: Any) -> "_Survey":
        """Read the ids and timestamps of a table.

        Raises:
            DataError: they cannot be used.
        """
        search = CalendarSearch(freq)
        ids: list[pd.Index] = []
        first: list[Integers] = []
        forms = set()
        for part in table.parts(names.keys, names):
            keys = part.checked(lambda frame, _: Keys.of(frame, names, SHAPE))
            if not ids:
                earliest, dtype = keys.times[0], keys.dtype
            search.add(keys.times, keys.indptr)
            ids.append(keys.ids)
            first.append(part.first + part.starts)
            if freq is None and keys.times.dtype.kind in "iu":
                forms.add(counted_format(pd.Series(keys.times)))
        starts = np.concatenate(first)
        calendar = search.calendar(dtype)
        if len(forms) == 1 and (form := forms.pop()) is not None:
            raise written_as_numbers(form, earliest, names, SHAPE)
        lengths = np.diff(starts, append=table.count)
        return cls(ids[0].append(ids[1:]), lengths, [len(series) for series in ids], calendar)


@dataclass(frozen=True, eq=False)
class _Reading:
    """Reads the values of a table whose ids and timestamps are known."""

    table: ParquetTable
    names: ColumnNames
    survey: _Survey
    covariates: Covariates
    missing: str
    fill: str

    def panel(self, folder: str) -> Panel:
        """Read the whole table, part by part."""
        covariates = self.covariates
        columns = [self.names.time, self.names.target, *covariates.columns]
        stops = np.cumsum(self.survey.parts)
        lengths = np.split(self.survey.lengths, stops[:-1])
        width = covariates.past_width + covariates.future_width
        per_series: list[tuple[Any, ...]] = []
        with ExitStack() as files:
            values = files.enter_context(RowFile(folder))
            features = files.enter_context(RowFile(folder))
            parts = self.table.rows(columns, self.names.time, lengths)
            for part, first in zip(parts, stops - self.survey.parts, strict=True):
                panel = part.checked(partial(self._read, int(first)))
                values.append(panel.values.values)
                features.append(panel.known.rows.values)
                known = panel.known
                per_series.append(
                    (panel.last, panel.values.lengths, known.static, known.categories)
                )
            self.table.check_unchanged()  # ids and values were read one after the other
            last, rows, static, categories = zip(*per_series, strict=True)
            indptr = np.concatenate([[0], np.cumsum(np.concatenate(rows))])
            nothing = GroupedArray(np.empty((indptr[-1], 0)), indptr)
            return Panel(
                self.names,
                self.survey.ids,
                last[0].append(list(last[1:])),
                self.survey.calendar,
                MappedSeries(values, indptr),
                Known(
                    MappedSeries(features, indptr) if width else nothing,
                    np.concatenate(static),
                    np.concatenate(categories),
                ),
                covariates,
                Shape(),
            )

    def _read(self, first: int, frame: pd.DataFrame, series: slice) -> Panel:
        """Read the rows of some series.

        Args:
            first: the first series of the part that they are in.
            frame: the rows.
            series: the range of the series in the part.
        """
        chosen = slice(first + series.start, first + series.stop)
        indptr = np.concatenate([[0], np.cumsum(self.survey.lengths[chosen])])
        times, dtype = timestamps_of(frame[self.names.time], self.names, SHAPE)
        order = np.arange(len(frame))
        ids = self.survey.ids[chosen]
        keys = Keys(self.names, ids, indptr, times, dtype, order, SHAPE)
        calendar = self.survey.calendar
        rows = Rows.at(keys, calendar, frame, self.covariates.columns, self.missing)
        rows = rows.filled(self.fill)
        rows.check_targets()
        return rows.panel(self.covariates, SHAPE)


def _check_auto(columns: Columns) -> None:
    """Check that the calendar features can be chosen before rows are inserted."""
    names = columns.calendar or ()
    if columns.fill != "raise" and "auto" in ([names] if isinstance(names, str) else names):
        fix = "Name the features, such as calendar=['day_of_week']."
        got = Description(f"Columns(calendar={columns.calendar!r}, fill={columns.fill!r})")
        raise bad_argument("calendar", got, "named if gaps of parquet files are filled", fix)


def _learned(covariates: Covariates, table: ParquetTable) -> Covariates:
    """Return the covariates with the categories in a table."""
    categories: dict[str, tuple[Any, ...]] = {}
    for name, dtype in table.dtypes(covariates.columns).items():
        is_static = name in covariates.static
        if is_categorical(dtype, static=is_static):
            column = Covariates(static=(name,)) if is_static else Covariates(past=(name,))
            values = pd.DataFrame({name: table.distinct(name)})
            categories |= column.learn(values).categories
    return replace(covariates, categories=categories)

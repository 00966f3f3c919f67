"""Long tables in parquet files, read in parts of whole series."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from seqkeras._arrays import Integers
from seqkeras._checks import Description, bad_argument, bad_data
from seqkeras._files import shortened
from seqkeras._lazy import import_optional
from seqkeras.errors import ArgumentError, DataError, FileFormatError
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._forms import Shape

#: Rows that are read at once, unless a single series has more.
ROWS = 2**19
SUFFIXES = (".parquet", ".parq", ".pq")

Result = TypeVar("Result")


@dataclass(frozen=True)
class ParquetShape(Shape):
    """The form of a long table in parquet files, for messages."""

    @property
    def keeps_rows(self) -> bool:
        return False

    def how_to_sort(self, keys: list[str]) -> str:
        order = ", ".join(f'"{key}"' for key in keys)
        return f"with DuckDB, COPY (FROM 'FILES' ORDER BY {order}) TO 'sorted.parquet'"


SHAPE = ParquetShape()


def is_parquet(data: Any) -> bool:
    """Return whether data are the path of parquet files or a dataset of pyarrow, not a frame.

    The path of a file with another suffix counts as one only if its content does.
    """
    if isinstance(data, str | os.PathLike):
        path = Path(data)
        is_other = path.suffix and path.suffix.lower() not in SUFFIXES and not path.is_dir()
        return not is_other or _begins_as_parquet(path)
    return type(data).__module__.startswith("pyarrow._dataset")


def check_scratch(scratch: Any) -> str:
    """Return the folder for temporary files.

    Raises:
        ArgumentError: it is no folder in which files can be written.
    """
    expected = "a folder in which files can be written"
    if not isinstance(scratch, str | os.PathLike | None):
        raise bad_argument("scratch", scratch, expected)
    folder = os.fspath(scratch) if scratch is not None else tempfile.gettempdir()
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise bad_argument("scratch", str(folder), expected)
    return folder


def check_no_scratch(scratch: Any) -> None:
    """Check that no folder for temporary files is given with a frame.

    Raises:
        ArgumentError: one is.
    """
    if scratch is not None:
        raise bad_argument("scratch", str(scratch), "omitted with a frame, which is in memory")


def check_omitted(name: str, value: Any) -> None:
    """Check that an argument that is for frames is not given with parquet files.

    Raises:
        ArgumentError: it is.
    """
    if value is not None:
        fix = "Parquet files are read and forecast in this process, part by part."
        raise bad_argument(name, value, "omitted with parquet files", fix)


def _begins_as_parquet(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


@dataclass(frozen=True)
class RowGroup:
    """A row group of a parquet file.

    Attributes:
        path: the file.
        number: its number in the file, from 0.
        rows: number of rows.
        fragment: reads it.
    """

    path: str
    number: int
    rows: int
    fragment: Any


@dataclass(frozen=True, eq=False)
class Part:
    """Neighboring rows of a table: whole series.

    Attributes:
        table: the table.
        frame: the rows.
        first: the first row, counted over all row groups.
        starts: where its series begin, counted from its first row.
    """

    table: "ParquetTable"
    frame: pd.DataFrame
    first: int
    starts: Integers

    def checked(self, read: Callable[[pd.DataFrame, slice], Result]) -> Result:
        """Return what `read` makes of the rows.

        Args:
            read: takes rows of whole series, and the range of these series in the part.

        Raises:
            DataError: `read` has raised it. The message begins with the file and the row groups of
                the first series that is wrong.
        """
        first, last = 0, len(self.starts)
        try:
            return read(self.frame, slice(first, last))
        except DataError as error:
            wrong = error
        bounds = np.append(self.starts, len(self.frame))
        while last - first > 1:
            middle = (first + last) // 2
            try:
                read(self.frame.iloc[bounds[first] : bounds[middle]], slice(first, middle))
                first = middle
            except DataError as error:
                last, wrong = middle, error
        if first:
            try:
                read(self.frame.iloc[bounds[first] : bounds[last]], slice(first, last))
            except DataError as error:
                wrong = error
        place = self.table.place(self.first + bounds[first], self.first + bounds[last])
        raise DataError(f"{place}: {wrong}") from wrong


class ParquetTable:
    """A long table in parquet files.

    Args:
        name: the argument that the table comes from, for errors.
        data: a file, a folder, or a `pyarrow.dataset.Dataset`. A folder may have hive partitions,
            such as `year=2024/`, which are further columns.

    Attributes:
        columns: the names of all columns.

    Raises:
        ArgumentError: there are no parquet files.
        FileFormatError: a file is damaged.
        MissingDependencyError: pyarrow is not installed.
    """

    def __init__(self, name: str, data: Any) -> None:
        self._arrow = import_optional("pyarrow", extra="parquet")
        self._compute = import_optional("pyarrow.compute", extra="parquet")
        self._name = name
        dataset = self._opened(name, data)
        self._files = dataset
        self._states = self._file_states()
        self._schema = dataset.schema
        self.columns: list[str] = dataset.schema.names
        self._groups, self._schemas = self._row_groups(name, data, dataset)
        self._ends = np.cumsum([group.rows for group in self._groups])

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return int(self._ends[-1])

    @property
    def header(self) -> pd.DataFrame:
        """Return a frame with the columns of the table and one row without values."""
        return pd.DataFrame([[None] * len(self.columns)], columns=self.columns)

    def dtypes(self, columns: Sequence[str]) -> "pd.Series[Any]":
        """Return the dtypes of columns in frames."""
        empty = self._schema.empty_table().select(list(columns))
        return self._frame(self._plain(empty, None, None)).dtypes

    def schema(self, columns: Sequence[str], names: ColumnNames) -> Any:
        """Return the types of the columns of `parts`, to write these to another file."""
        empty = self._schema.empty_table().select(list(columns))
        return self._plain(empty, names.id, names.time).schema

    def check(self, columns: Sequence[str]) -> None:
        """Check that all files have these columns, with the same types, and that there are rows.

        Raises:
            ArgumentError: a file lacks a column.
            DataError: a column has several types, or there are no rows.
        """
        if not self._groups:
            raise bad_data(self._name, "columns only", "have rows", "Pass at least one series.")
        for name in columns:
            first = next((path for path, file in self._schemas.items() if name in file.names), None)
            if first is None:
                continue  # a partition
            kind = self._schemas[first].field(name).type
            for path, schema in self._schemas.items():
                if name not in schema.names:
                    existing = ", ".join(repr(column) for column in schema.names[:20])
                    raise ArgumentError(
                        f"All files must have the column {name!r}, as {first} has. Got: {path}, "
                        f"with the columns {existing}. Add it, or pass only the files that have it."
                    )
                if schema.field(name).type != kind:
                    raise bad_data(
                        f"Column {name!r}",
                        f"{schema.field(name).type} in {path}, {kind} in {first}",
                        "have the same type in all files",
                        "Write one of the files again.",
                    )

    def parts(self, columns: Sequence[str], names: ColumnNames) -> Iterator[Part]:
        """Yield all rows, in parts of whole series.

        Args:
            columns: the columns to read.
            names: the key columns. Without an id, all rows are one series.

        Raises:
            DataError: a row has no id or no timestamp, or the rows of a series are in several
                places. Places that are far from each other are found after the last part.
            FileFormatError: a row group is damaged.
        """
        runs = []
        for part in self._parts(columns, names.id, names.time):
            if names.id is not None:
                ids = pd.Index(part.frame[names.id].iloc[part.starts])
                runs.append((ids, part.first + part.starts))
                self._check_contiguous(runs[-1:], names)
            yield part
        self._check_contiguous(runs, names)

    def _parts(self, columns: Sequence[str], key: str | None, time: str) -> Iterator[Part]:
        rest: list[Any] = []  # rows of the last series, which may go on
        first = read = 0
        for batch in self._batches(columns, key, time):
            self._check_present(batch, key, time, read)
            start = self._start_of_last(batch, key)
            read += len(batch)
            goes_on = key is None or (rest and batch[key][0] == rest[-1][key][-1])
            if start == 0 and (goes_on or not rest):
                rest.append(batch)
                continue
            yield self._part([*rest, batch.slice(0, start)], first, key)
            first = read - len(batch) + start
            rest = [batch.slice(start)]
        yield self._part(rest, first, key)

    def rows(self, columns: Sequence[str], time: str, series: list[Integers]) -> Iterator[Part]:
        """Yield all rows, in parts of series of known lengths.

        Args:
            columns: the columns to read.
            time: the column of timestamps.
            series: the lengths of the series of each part.
        """
        batches = self._batches(columns, None, time)
        rest: list[Any] = []
        first = 0
        for lengths in series:
            count = int(lengths.sum())
            while sum(map(len, rest)) < count:
                rest.append(next(batches))
            table = self._arrow.concat_tables(rest)
            starts = np.cumsum(lengths) - lengths
            yield Part(self, self._frame(table.slice(0, count)), first, starts)
            rest = [table.slice(count)]
            first += count

    def distinct(self, column: str) -> "pd.Series[Any]":
        """Return the different values of a column."""
        values = self._schema.empty_table().select([column])
        values = self._plain(values, column, None)[column].combine_chunks()
        for batch in self._batches([column], column, None):
            seen = self._arrow.chunked_array([values, *batch[column].chunks])
            values = self._compute.unique(seen)
        return pd.Series(values.to_pandas(), name=column)

    def check_unchanged(self) -> None:
        """Check that no file has changed since the table was opened.

        Raises:
            FileFormatError: a file has changed.
        """
        for before, after in zip(self._states, self._file_states(), strict=True):
            if before != after:
                raise FileFormatError(
                    f"{before[0]} must stay as it was while it is read. Got: a file that has "
                    "changed. Call again once all files are complete."
                )

    def _file_states(self) -> list[tuple[str, int, int]]:
        """Return the path, the size and the modification time of each file."""
        files = self._files.filesystem.get_file_info(self._files.files)
        return [(file.path, file.size, file.mtime_ns) for file in files]

    def place(self, first: int, last: int) -> str:
        """Name the file and the row groups of rows."""
        start, stop = np.searchsorted(self._ends, [first, max(first, last - 1)], side="right")
        begin, end = self._groups[start], self._groups[stop]
        if begin is end:
            return f"{begin.path}, row group {begin.number}"
        if begin.path == end.path:
            return f"{begin.path}, row groups {begin.number} to {end.number}"
        return f"{begin.path}, row group {begin.number}, to {end.path}, row group {end.number}"

    def _opened(self, name: str, data: Any) -> Any:
        datasets = import_optional("pyarrow.dataset", extra="parquet")
        if not isinstance(data, str | os.PathLike):
            if getattr(getattr(data, "format", None), "default_extname", "") != "parquet":
                actual = Description(f"{type(data).__name__} of other data")
                raise bad_argument(name, actual, "a dataset of parquet files")
            return data
        try:
            return datasets.dataset(os.fspath(data), format="parquet", partitioning="hive")
        except FileNotFoundError as error:
            raise bad_argument(name, str(data), "a file or a folder that exists") from error
        except (self._arrow.ArrowException, OSError) as error:
            raise FileFormatError(f"{data} cannot be read: {shortened(error)}") from error

    def _row_groups(
        self, name: str, data: Any, dataset: Any
    ) -> tuple[list[RowGroup], dict[str, Any]]:
        """Return the row groups that have rows, and the schema of each file."""
        try:
            files = list(dataset.get_fragments())
        except ValueError as error:
            fix = "Write the rows that you select to files: pyarrow.dataset.write_dataset."
            actual = Description("a dataset with a filter or a projection")
            raise bad_argument(name, actual, "a dataset of whole files", fix) from error
        if not files:
            is_path = isinstance(data, str | os.PathLike)
            actual = Description(f"{data}, which has none" if is_path else "none")
            raise bad_argument(name, actual, "a file or a folder with parquet files")
        groups = []
        schemas = {}
        for file in files:
            try:
                schemas[file.path] = file.physical_schema
                for fragment in file.split_by_row_group():
                    (info,) = fragment.row_groups
                    groups.append(RowGroup(file.path, info.id, info.num_rows, fragment))
            except (self._arrow.ArrowException, OSError) as error:
                raise FileFormatError(f"{file.path} cannot be read: {shortened(error)}") from error
        return [group for group in groups if group.rows], schemas

    def _batches(self, columns: Sequence[str], key: str | None, time: str | None) -> Iterator[Any]:
        """Yield tables of some row groups, or of a part of one."""
        waiting: list[Any] = []
        for group in self._groups:
            for batch in self._batches_of(group, columns):
                waiting.append(batch)
                if sum(map(len, waiting)) >= ROWS:
                    yield self._plain(self._arrow.Table.from_batches(waiting), key, time)
                    waiting = []
        if waiting:
            yield self._plain(self._arrow.Table.from_batches(waiting), key, time)

    def _batches_of(self, group: RowGroup, columns: Sequence[str]) -> Iterator[Any]:
        options = {"batch_size": ROWS, "batch_readahead": 1, "fragment_readahead": 0}
        rows = 0
        try:
            for batch in group.fragment.to_batches(self._schema, columns=list(columns), **options):
                rows += len(batch)
                if len(batch):
                    yield batch
        except (self._arrow.ArrowException, OSError) as error:
            place = f"{group.path}, row group {group.number}"
            raise FileFormatError(f"{place} cannot be read: {shortened(error)}") from error
        if rows != group.rows:
            place = f"{group.path}, row group {group.number}"
            raise FileFormatError(
                f"{place} must have the {group.rows} rows of its header. Got: {rows}. The file has "
                "changed or is damaged."
            )

    def _plain(self, table: Any, key: str | None, time: str | None) -> Any:
        """Return a table with types that pandas has."""
        types = self._arrow.types
        for number, field in enumerate(table.schema):
            kind = field.type
            if types.is_decimal(kind):
                kind = self._arrow.float64()
            elif types.is_dictionary(kind) and field.name == key:
                kind = kind.value_type  # the categories of row groups may differ
            elif types.is_date(kind) and field.name == time:
                kind = self._arrow.timestamp("s")
            if kind != field.type:
                table = table.set_column(number, field.name, table.column(number).cast(kind))
        return table

    def _frame(self, table: Any) -> pd.DataFrame:
        return table.to_pandas(ignore_metadata=True)

    def _check_present(self, batch: Any, key: str | None, time: str, read: int) -> None:
        """Check that the rows of a batch, which follow `read` others, have ids and timestamps."""
        fix = "Give every row the id of its series, or drop the row."
        for column, what, advice in ((key, "an id", fix), (time, "a timestamp", "Drop the row.")):
            if column is None or not batch[column].null_count:
                continue
            row = read + int(np.argmax(batch[column].is_null().to_numpy()))
            group = int(np.searchsorted(self._ends, row, side="right"))
            row_in_group = row - int(self._ends[group]) + self._groups[group].rows
            got = f"none in row {row_in_group} of {self.place(row, row + 1)}"
            raise bad_data(f"Column {column!r}", got, f"have {what} in every row", advice)

    def _start_of_last(self, batch: Any, key: str | None) -> int:
        """Return the row at which the last series of a batch begins, at the earliest its first."""
        if key is None:
            return 0
        ids = batch[key]
        differs = np.asarray(self._compute.not_equal(ids, ids[-1]).to_numpy())
        places = np.flatnonzero(differs)
        return int(places[-1]) + 1 if len(places) else 0

    def _part(self, tables: list[Any], first: int, key: str | None) -> Part:
        table = self._arrow.concat_tables(tables)
        starts = np.zeros(1, np.int64)
        if key is not None:
            ids = table[key].combine_chunks()
            changes = self._compute.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1))
            starts = np.append(starts, 1 + np.flatnonzero(changes.to_numpy(zero_copy_only=False)))
        return Part(self, self._frame(table), first, starts)

    def _check_contiguous(self, runs: list[tuple[pd.Index, Integers]], names: ColumnNames) -> None:
        """Check that the rows of each series follow each other.

        Args:
            runs: for each part, the id of each run of rows and its first row.
            names: the key columns.
        """
        if not runs:
            return
        ids = runs[0][0].append([part for part, _ in runs[1:]])
        if ids.is_unique:
            return
        first = np.concatenate([rows for _, rows in runs])
        again = int(np.argmax(ids.duplicated()))
        before = int(np.argmax(ids == ids[again]))
        places = [self.place(row, row + 1) for row in (first[before], first[again])]
        raise bad_data(
            f"The rows of {names.label(ids[again])}",
            f"rows in {places[0]}, and after those of other series in {places[1]}",
            "follow each other",
            f"Sort the files: {SHAPE.how_to_sort(names.keys)}.",
        )

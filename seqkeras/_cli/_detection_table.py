"""Reading of the file of the command `detect`."""

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from seqkeras._checks import bad_argument, bad_data
from seqkeras._cli._header import Keys
from seqkeras._cli._table_options import check_file
from seqkeras._cli._terminal import notice
from seqkeras.errors import DataError

if TYPE_CHECKING:
    from seqkeras._cli._tables import Style

#: Names that are taken for the column of timestamps, in any case, unless an option names it.
TIMES = ("ds", "timestamp", "time", "date", "datetime")
#: Columns that the command writes.
WRITTEN = ("score", "threshold", "flagged", "start", "end", "rows", "severity", "peak")


@dataclass(frozen=True)
class Table:
    """The checked rows of a file.

    Attributes:
        rows: a frame of ids, timestamps and features. Without timestamps in the file, its rows are
            numbered.
        id: column of ids; None: one series.
        time: column of timestamps.
        scored: columns to score; the other features are context.
        ignore_gaps: whether the rows are evenly spaced, whatever their timestamps.
    """

    rows: Any
    id: str | None
    time: str
    scored: list[str]
    ignore_gaps: bool

    @property
    def keys(self) -> list[str]:
        """Return the columns of ids and timestamps."""
        return [self.time] if self.id is None else [self.id, self.time]

    @property
    def columns(self) -> Any:
        """Return the columns of ids and timestamps, for a detector."""
        from seqkeras.forecasting.frames._columns import Columns

        return Columns(id=self.id, time=self.time, target=self.scored[0])

    def frame(self) -> Any:
        """Return the rows as a detector reads them."""
        if not self.ignore_gaps:
            return self.rows
        return self.rows.assign(**{self.time: self._by_series(self.rows).cumcount()})

    def first(self, count: int | None) -> Any:
        """Return the first rows of each series as a detector reads them; None: all rows."""
        return self.frame() if count is None else self._by_series(self.frame()).head(count)

    def filled(self) -> Any:
        """Return the rows with linearly interpolated features."""
        names = [name for name in self.rows if name not in self.keys]
        groups = self._by_series(self.rows)[names]
        parts = groups.transform(lambda part: part.interpolate(limit_direction="both"))
        return self.rows.assign(**{name: parts[name] for name in names})

    def _by_series(self, rows: Any) -> Any:
        return rows.groupby(np.zeros(len(rows)) if self.id is None else rows[self.id], sort=False)


def read_table(options: argparse.Namespace) -> Table:
    """Read and check the rows of a file, which needs pandas but not Keras.

    Args:
        options: the parsed options of the command `detect`.

    Raises:
        ArgumentError: an option is invalid.
        DataError: the contents of the file cannot be used.
        OSError: the file does not exist or cannot be opened.
    """
    required = Keys(options.time_col, None, options.id_col, _named(options))
    check_file(options, required)
    from seqkeras._cli._tables import Style, read_names, sort_rows
    from seqkeras.anomaly._series_reader import read_series

    style = Style.of(options, counts=options.freq is not None)
    names = read_names(options.file, required, style)
    keys = _choose_columns(options, names)
    df = _read_rows(options, keys, style)
    if options.sort and keys.time is not None:
        df = sort_rows(df, keys)
    identity = df.columns[0] if df.columns[0] not in (keys.time, *keys.features) else None
    _check_names(identity, keys.time)
    time = keys.time
    if time is None:
        time = "row" if "row" not in df else "row_number"
        df.insert(0 if identity is None else 1, time, np.arange(1, len(df) + 1))
    # A numbered row of a file with several series follows one of another.
    ignore_gaps = options.ignore_gaps or keys.time is None
    scored = [name for name in keys.features if name not in options.context]
    table = Table(df, identity, time, scored, ignore_gaps)
    table = _without_missing(table, list(keys.features), options.fill)
    read_series(table.frame(), table.columns)  # checks times and values
    return table


def _named(options: argparse.Namespace) -> dict[str, str]:
    """Return the features that options name, each with its option."""
    groups = {"--columns": options.columns or [], "--context": options.context}
    pairs = [(name, option) for option, names in groups.items() for name in names]
    members = [name for name, _ in pairs]
    members += [name for name in (options.time_col, options.id_col) if name is not None]
    repeated = sorted({name for name in members if members.count(name) > 1})
    if repeated:
        subject = "--columns, --context, --time-col, --id-col"
        raise bad_argument(subject, repeated, "different columns")
    return dict(pairs)


def _choose_columns(options: argparse.Namespace, names: list[Any]) -> "Keys":
    """Return the columns to read: the timestamps, and all others unless options name them."""
    from seqkeras.forecasting.frames._columns import DEFAULT_ID

    named = _named(options)
    time = options.time_col
    if time is None:
        free = {str(name).lower(): name for name in reversed(names) if name not in named}
        time = next((free[word] for word in TIMES if word in free), None)
    if options.columns is None:
        taken = {time, options.id_col or DEFAULT_ID, *named}
        others = [name for name in names if name not in taken]
        if names and not others:
            got = f"columns {names[:20]}"
            raise bad_data(str(options.file), got, "have a column to score")
        named = dict.fromkeys(others, "--columns") | named
    return Keys(time, None, options.id_col, named)


def _read_rows(options: argparse.Namespace, keys: "Keys", style: "Style") -> Any:
    from seqkeras._cli._tables import read_file

    try:
        return read_file(options.file, keys, style)
    except DataError as error:
        if options.columns is not None or not str(error).startswith("Column "):
            raise
        # Columns that nobody named may be dates or words.
        fix = "Name the columns to score with --columns"
        fix += "." if keys.time is not None else ", and that of timestamps with --time-col."
        raise DataError(f"{error} {fix}") from error


def _check_names(identity: str | None, time: str | None) -> None:
    names = (("--id-col", identity, WRITTEN), ("--time-col", time, WRITTEN[:3]))
    for option, name, taken in names:
        if name in taken:
            expected = f"a column with another name than {', '.join(taken)}"
            fix = "The tables have these columns. Rename yours."
            raise bad_argument(option, name, expected, fix)


def _without_missing(table: Table, features: list[str], fill: str) -> Table:
    rows = table.rows.assign(**{name: table.rows[name].astype(float) for name in features})
    missing = rows[features].isna().to_numpy()
    table = replace(table, rows=rows)
    if not missing.any():
        return table
    row, feature = (int(place[0]) for place in np.nonzero(missing))
    got = f"none in row {row + 1} ({int(missing.sum())} missing in all)"
    if fill == "raise":
        fix = "Fill them in, or use --fill interpolate."
        raise bad_data(f"Column {features[feature]!r}", got, "hold a number in each row", fix)
    filled = table.filled()
    for name in features:
        if filled[name].isna().any():
            fix = "Name the columns to score with --columns."
            raise bad_data(f"Column {name!r}", "none", "hold numbers in each series", fix)
    notice(f"{int(missing.sum())} missing values: interpolated")
    return replace(table, rows=filled)

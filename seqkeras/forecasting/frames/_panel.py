"""Series of a frame as arrays, and forecasts as frames."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._arrays import Array, Floats, Integers
from seqkeras._checks import Description, bad_argument, bad_data, nearest
from seqkeras._lazy import import_optional
from seqkeras._warnings import warn
from seqkeras.errors import DataError, SkippedSeriesWarning
from seqkeras.forecasting.calendars._calendar import Calendar, from_integers
from seqkeras.forecasting.frames._columns import ColumnNames
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._forms import Shape, to_long
from seqkeras.windows import GroupedArray
from seqkeras.windows._grouped import cut

#: Number of series that plots show, the first ones, unless series are named.
PLOTTED = 4


@dataclass(frozen=True)
class Panel:
    """A checked frame: its regular series as one array, and how to return forecasts in its form.

    Attributes:
        columns: the names of the key columns.
        ids: `(series,)`, in the order of their first row.
        last: `(series,)`, the last timestamp of each series, which `select` and `before` keep even
            if they drop the row that it belongs to.
        calendar: which timestamps follow each other.
        values: the targets, `(rows,)` in float64; NaN where they are missing.
        known: the covariates of the same rows.
        covariates: how the covariates were encoded.
        shape: the form of the frame.
    """

    columns: ColumnNames
    ids: pd.Index
    last: pd.Index
    calendar: Calendar
    values: GroupedArray
    known: Known
    covariates: Covariates
    shape: Shape

    @cached_property
    def has_missing(self) -> bool:
        """Return whether a target is missing."""
        for block in self.values.blocks():
            if np.isnan(self.values.values[block.rows]).any():
                return True
            self.values.release()
        return False

    def name(self, series: int) -> str:
        """Return the name of a series for the start of a message, such as `Series 'a'`."""
        return self.columns.name(self.ids[series])

    def label(self, series: int) -> str:
        """Return the name of a series for the middle of a message, such as `series 'a'`."""
        return self.columns.label(self.ids[series])

    def tail(self, rows: int) -> "Panel":
        """Return the last rows of each series."""
        lengths = self.values.lengths
        return self.select(np.maximum(0, lengths - rows), lengths)

    def select(self, start: npt.ArrayLike, stop: npt.ArrayLike) -> "Panel":
        """Return rows `start[i]:stop[i]` of each series `i`.

        `last` stays that of the whole series.
        """
        values = self.values.select(start, stop)
        return replace(self, values=values, known=self.known.select(start, stop))

    def before(self, series: Integers, rows: Integers, lookback: int) -> "Panel":
        """Return the `lookback` rows before row `rows[i]` of `series[i]`, each as a series.

        Before the first row of a series, targets are NaN, and the covariates are those of this row.
        """
        features = self.known.rows.values
        targets = np.empty((len(series), lookback), self.values.values.dtype)
        covariates = np.empty((len(series), lookback, features.shape[1]), features.dtype)
        indptr = np.arange(len(series) + 1) * lookback
        for block in cut(indptr):
            part = block.series
            first = self.values.indptr[series[part]][:, np.newaxis]
            places = first + rows[part, np.newaxis] + np.arange(-lookback, 0)
            within = np.maximum(places, first)
            targets[part] = np.where(places < first, np.nan, self.values.values[within])
            covariates[part] = features[within]
            self.values.release()
            self.known.rows.release()
        known = Known(
            GroupedArray(covariates.reshape(targets.size, features.shape[1]), indptr),
            self.known.static[series],
            self.known.categories[series],
        )
        return replace(
            self,
            ids=self.ids[series],
            last=self.last[series],
            values=GroupedArray(targets.ravel(), indptr),
            known=known,
        )

    def newest(self, rows: int) -> "Panel":
        """Return the last `rows` rows of each series; shorter series are padded as in `before`."""
        return self.before(np.arange(len(self.ids)), self.values.lengths, rows)

    def ahead(self, series: Integers, rows: Integers, horizon: int) -> Array:
        """Return the features known over the `horizon` rows from row `rows[i]` of `series[i]` on.

        After the end of a series, the features of its last row are repeated.

        Returns:
            `(len(series), horizon, features)`.
        """
        places = (self.values.indptr[series] + rows)[:, np.newaxis] + np.arange(horizon)
        places = np.minimum(places, self.values.indptr[series + 1][:, np.newaxis] - 1)
        width = self.known.rows.values.shape[1]
        return self.known.rows.values[places, width - self.covariates.future_width :]

    def with_categories_of(self, covariates: Covariates) -> "Panel":
        """Return the same rows, with covariates encoded by the categories of `covariates`."""
        known = self.covariates.recode(self.known, covariates)
        return replace(self, known=known, covariates=covariates)

    def take(self, series: npt.ArrayLike) -> "Panel":
        """Return the series at these positions, or where a boolean mask is True."""
        numbers = np.arange(len(self.ids))[np.asarray(series)]
        return replace(
            self,
            ids=self.ids[numbers],
            last=self.last[numbers],
            values=self.values.take(numbers),
            known=self.known.take(numbers),
        )

    def long_enough(
        self,
        rows: int,
        *,
        why: str,
        short_series: str,
        fix: str = "Use a smaller lookback or horizon",
        kind: str = "too short",
    ) -> "Panel":
        """Return the series that have at least `rows` rows.

        Args:
            rows: rows that a series must have.
            why: what the rows are needed for, such as `"lookback 14 + horizon 7"`.
            short_series: `"skip"` shorter series with a warning; otherwise they are an error.
            fix: the advice of the message, without a period.
            kind: what shorter series are, for the message.

        Raises:
            DataError: a series is shorter and `short_series` is not `"skip"`, or all are shorter.
        """
        lengths = self.values.lengths
        short = np.flatnonzero(lengths < rows)
        if not len(short):
            return self
        series = int(short[0])
        problem = f"{self.name(series)} must have {rows} rows ({why}). Got: {lengths[series]} rows"
        return self._skip(short, problem, kind, fix, short_series)

    def with_recent(self, lookback: int, *, short_series: str) -> "Panel":
        """Return the series that have a target among their last `lookback` rows.

        Raises:
            DataError: as for `long_enough`.
        """
        if not self.has_missing:
            return self
        lengths = self.values.lengths
        recent = self.values.select(np.maximum(0, lengths - lookback), lengths)
        is_missing = recent.reduced(np.logical_and, lambda values, block: np.isnan(values))
        without = np.flatnonzero(is_missing)
        if not len(without):
            return self
        problem = (
            f"{self.name(int(without[0]))} must have a target in its last {lookback} rows, the "
            "only ones that a forecast reads. Got: none"
        )
        fix = "Use a larger lookback, or remove the rows after its last target"
        return self._skip(without, problem, "without a recent target", fix, short_series)

    def _skip(
        self, unusable: Integers, problem: str, kind: str, fix: str, short_series: str
    ) -> "Panel":
        count = f"{len(unusable)} of {len(self.ids)} series are {kind}"
        can_skip = len(unusable) < len(self.ids)
        if can_skip and short_series == "skip":
            warn(
                f"{count} and were skipped. {problem}.",
                SkippedSeriesWarning,
            )
            return self.take(np.setdiff1d(np.arange(len(self.ids)), unusable))
        if len(unusable) > 1:
            problem += f"; {count}"
        if can_skip:
            fix += ", or pass Columns(short_series='skip')"
        raise DataError(f"{problem}. {fix}.")

    def forecast_frame(self, forecasts: dict[str, Floats]) -> pd.DataFrame:
        """Convert forecasts `(series, horizon)`, by column name, into a long frame."""
        horizon = next(iter(forecasts.values())).shape[1]
        data = {name: values.ravel() for name, values in forecasts.items()}
        return self._frame(1, horizon, data)

    def shaped_forecast(self, forecasts: dict[str, Floats]) -> Any:
        """Convert forecasts `(series, horizon)`, by column name, into the original form."""
        return self._in_shape(self.forecast_frame(forecasts))

    def future_frame(self, horizon: int) -> Any:
        """Return the ids and timestamps of the horizon in the form of the frame that was read.

        A wide frame and a single Series give a long frame.
        """
        frame = self._frame(1, horizon, {})
        kinds = ("panel", "stacked", "native")
        return self._in_shape(frame) if self.shape.kind in kinds else frame

    def history_frame(self) -> pd.DataFrame:
        """Return ids, timestamps and targets as a long frame."""
        frames = [
            self.take([number])._frame(1 - len(values), 0, {self.columns.target: values})
            for number, values in enumerate(self.values)
        ]
        return pd.concat(frames, ignore_index=True)

    def long_frame(self, df: Any) -> pd.DataFrame:
        """Convert a frame with rows of these series, in any form, into a long frame."""
        return to_long(df, self.columns.with_id)[0]

    def numbers(self, series: Any = None) -> list[int]:
        """Return the positions of series.

        Args:
            series: an id or a list of ids. None: the first four series.

        Raises:
            ArgumentError: no series has this id.
        """
        ids = _selected_ids(self.ids, self.columns.id, series)
        return [int(self.ids.get_loc(identity)) for identity in ids]

    def split(self, frames: list[pd.DataFrame]) -> dict[str, list[pd.DataFrame]]:
        """Split long frames by series: return for each id its rows of every frame."""
        key = self.columns.id
        if key is None:
            return {"": frames}
        return {str(identity): [df[df[key] == identity] for df in frames] for identity in self.ids}

    def _in_shape(self, frame: pd.DataFrame) -> Any:
        return self.shape.convert_long(frame, self.columns.id, self.columns.time)

    def _frame(self, first: int, last: int, data: dict[str, Any]) -> pd.DataFrame:
        times = {self.columns.time: self.calendar.span(self.last, first, last)}
        if self.columns.id is None:
            return pd.DataFrame(times | data)
        ids = {self.columns.id: self.ids.repeat(last - first + 1)}
        return pd.DataFrame(ids | times | data)


def by_series(frame: pd.DataFrame, key: str | None, series: Any = None) -> dict[str, pd.DataFrame]:
    """Return the rows of some series of a long frame, by id.

    Args:
        frame: the frame.
        key: its column of ids; None if the frame is a single series.
        series: an id or a list of ids. None: the first four series.

    Raises:
        ArgumentError: no series has this id.
    """
    if key is None:
        _selected_ids(pd.Index([""]), key, series)
        return {"": frame}
    ids = pd.Index(frame[key].drop_duplicates())
    selected = _selected_ids(ids, key, series)
    return {str(identity): frame[frame[key] == identity] for identity in selected}


def _selected_ids(ids: pd.Index, key: str | None, series: Any) -> list[Any]:
    if series is None:
        return list(ids[:PLOTTED])
    if key is None:
        raise bad_argument("series", series, "None, because there is only one series, without id")
    selected = list(series) if isinstance(series, (list, tuple, pd.Index)) else [series]
    for identity in selected:
        if identity not in ids:
            expected = f"among the ids of the {len(ids)} series"
            raise bad_argument("series", identity, expected, nearest(identity, ids))
    return selected


def restore_panel(
    columns: ColumnNames,
    calendar: Calendar,
    *,
    ids: tuple[list[Any], Any],
    last: Integers,
    values: GroupedArray,
    known: Known | None = None,
    covariates: Covariates | None = None,
    shape: Shape | None = None,
) -> Panel:
    """Restore a panel from the contents of a file.

    Args:
        columns: as in `Panel`.
        calendar: as in `Panel`.
        ids: the ids, and their dtype as `dtype_of` describes it.
        last: the last timestamps as integers.
        values: as in `Panel`.
        known: as in `Panel`; default: no covariates.
        covariates: as in `Panel`; default: none.
        shape: as in `Panel`; default: long.

    Raises:
        DataError: an id is missing or repeated.
    """
    index = _restore_ids(*ids).rename(columns.id)
    if not index.is_unique or index.hasnans:
        raise bad_data("Ids", str(index.tolist()), "be unique and not missing")
    return Panel(
        columns,
        index,
        from_integers(last, calendar.dtype),
        calendar,
        values,
        known or Known.nothing(values.indptr),
        covariates or Covariates(),
        shape or Shape(),
    )


def dtype_of(ids: pd.Index) -> Any:
    """Describe the dtype of ids for a file: by name, or by its categories if it has some.

    Raises:
        ArgumentError: the dtype cannot be restored from its name.
    """
    if not isinstance(ids, pd.CategoricalIndex):
        return _dtype_name(ids.dtype)
    categories = ids.categories
    return {
        "categories": categories.tolist(),
        "dtype": _dtype_name(categories.dtype),
        "ordered": bool(ids.ordered),
    }


def _dtype_name(dtype: Any) -> str:
    name = str(dtype)
    try:
        is_restored = type(_dtype_named(name)) is type(dtype)
    except (TypeError, NotImplementedError):
        is_restored = False
    if not is_restored:
        fix = "Fit with ids that are text, a category or integers, for example with astype(str)."
        raise bad_argument("ids", Description(f"dtype {name}"), "of a dtype that can be saved", fix)
    return name


def _dtype_named(name: str) -> Any:
    if name == "string[pyarrow]":  # pandas would return its own dtype, not Arrow's
        return pd.ArrowDtype(import_optional("pyarrow", extra="polars").string())
    return pd.api.types.pandas_dtype(name)


def _restore_ids(ids: list[Any], dtype: Any) -> pd.Index:
    if not isinstance(dtype, dict):
        return pd.Index(ids, dtype=_dtype_named(dtype))
    categories = pd.Index(dtype["categories"], dtype=_dtype_named(dtype["dtype"]))
    kind = pd.CategoricalDtype(categories, ordered=dtype["ordered"])
    codes = categories.get_indexer(ids)
    return pd.CategoricalIndex(pd.Categorical.from_codes(codes, dtype=kind))

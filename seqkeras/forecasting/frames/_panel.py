"""Series of a frame as arrays, and the way back into a frame."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._checks import bad_argument, nearest
from seqkeras.errors import DataError, SkippedSeriesWarning
from seqkeras.forecasting.calendars._calendar import Calendar, from_integers
from seqkeras.forecasting.frames._columns import DEFAULT_ID, ColumnNames
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._forms import Shape, to_long
from seqkeras.windows import GroupedArray

#: The way out where some series cannot be used.
SKIP = ", or pass Columns(short_series='skip')"


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

    columns: ColumnNames
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
        return self.columns.name(self.ids[series])

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

    def with_words_of(self, covariates: Covariates) -> "Panel":
        """The same rows, with covariates by the words that a fit has seen."""
        known = self.covariates.recode(self.known, covariates)
        return replace(self, known=known, covariates=covariates)

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

    def long_enough(
        self,
        rows: int,
        *,
        why: str,
        short_series: str,
        fix: str = "Use a smaller lookback or horizon",
    ) -> "Panel":
        """The series that have at least `rows` rows.

        Raises:
            DataError: one is shorter and `short_series` is "raise", or all are.
        """
        lengths = self.values.lengths
        return self._kept(
            lengths >= rows,
            lambda one: f"{self.name(one)} has {lengths[one]} rows and must have {rows} ({why})",
            "too short",
            f"{fix}{SKIP}",
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
            stacklevel=5,  # `fit` calls `Fitting.of`, and that one `long_enough`
        )
        return self.take(np.flatnonzero(usable))

    def forecast_frame(self, forecasts: dict[str, npt.NDArray[np.float64]]) -> pd.DataFrame:
        """Forecasts `(series, horizon)` by name as a long frame that continues this one."""
        horizon = next(iter(forecasts.values())).shape[1]
        return self._frame(1, horizon, {name: v.ravel() for name, v in forecasts.items()})

    def future_frame(self, horizon: int) -> pd.DataFrame:
        """Ids and stamps of the horizon, in the form of the frame where that is long."""
        frame = self._frame(1, horizon, {})
        return self._in_shape(frame) if self.shape.kind in ("panel", "native") else frame

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
        return [int(self.ids.get_loc(one)) for one in _chosen(self.ids, self.columns.id, series)]

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


def by_series(frame: pd.DataFrame, key: str | None, series: Any = None) -> dict[str, pd.DataFrame]:
    """The rows of some series of a long frame, by the name of the series.

    Args:
        frame: long.
        key: the column of ids; None: it is one series.
        series: an id, or a list of ids; None is the first four.

    Raises:
        ArgumentError: there is no series of such an id.
    """
    ids = pd.Index([""]) if key is None else pd.Index(frame[key].drop_duplicates())
    chosen = _chosen(ids, key, series)
    return {str(one): frame if key is None else frame[frame[key] == one] for one in chosen}


def _chosen(ids: pd.Index, key: str | None, series: Any) -> list[Any]:
    if series is None:
        return list(ids[:4])
    if key is None:
        raise bad_argument("series", series, "left away where there is one series without id")
    wanted = list(series) if isinstance(series, (list, tuple, pd.Index)) else [series]
    for one in wanted:
        if one not in ids:
            expected = f"among the ids of the {len(ids)} series"
            raise bad_argument("series", one, expected, nearest(one, ids))
    return wanted


def restore_panel(
    columns: ColumnNames,
    calendar: Calendar,
    *,
    ids: tuple[list[Any], Any],
    last: npt.NDArray[np.int64],
    values: GroupedArray,
    known: Known | None = None,
    covariates: Covariates | None = None,
    shape: Shape | None = None,
) -> Panel:
    """A panel from what a file holds: ids with their dtype, last stamps as integers.

    The dtype of ids is a name, or for categories what they are, their dtype, and their order.
    """
    index = _restore_ids(*ids).rename(columns.id)
    if not index.is_unique or index.hasnans:
        raise DataError("Ids are missing, or there twice.")
    stamps = from_integers(last, calendar.dtype)
    known = known or Known.nothing(values.indptr)
    kind = covariates or Covariates(), shape or Shape()
    return Panel(columns, index, stamps, calendar, values, known, *kind)


def dtype_of(ids: pd.Index) -> Any:
    """The dtype of ids by its name; of categories all that they are. `restore_panel` reads it."""
    if not isinstance(ids, pd.CategoricalIndex):
        return str(ids.dtype)
    words = ids.categories
    kind = {"categories": words.tolist(), "dtype": str(words.dtype)}
    return kind | {"ordered": bool(ids.ordered)}


def _restore_ids(ids: list[Any], dtype: Any) -> pd.Index:
    if not isinstance(dtype, dict):
        return pd.Index(ids, dtype=dtype)
    words = pd.Index(dtype["categories"], dtype=dtype["dtype"])
    kind = pd.CategoricalDtype(words, ordered=dtype["ordered"])
    return pd.CategoricalIndex(pd.Categorical.from_codes(words.get_indexer(ids), dtype=kind))

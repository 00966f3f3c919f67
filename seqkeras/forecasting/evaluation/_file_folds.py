"""Folds of a backtest of parquet files: written, fitted and forecast part by part."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from seqkeras._arrays import Array, Integers, positions
from seqkeras._checks import bad_argument
from seqkeras._warnings import repeat_warnings
from seqkeras.forecasting._forecaster import Forecaster
from seqkeras.forecasting.evaluation._folds import (
    check_missing,
    columns_of,
    in_order,
    long_enough,
    origins_of_fold,
    scored,
)
from seqkeras.forecasting.evaluation._schedule import Schedule
from seqkeras.forecasting.evaluation._scores import ScoreTables
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._origins import Origins, check_names
from seqkeras.forecasting.fitted._streams import write_frames
from seqkeras.forecasting.fitted._tracking import forecast_at
from seqkeras.forecasting.frames._columns import Columns, as_columns
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._parquet import ParquetTable
from seqkeras.forecasting.frames._parquet_panel import read_parquet
from seqkeras.forecasting.networks._predict import BATCH, windows_at_once
from seqkeras.windows._mapped import RowFile, release_pages


def forecast_files(
    forecaster: Forecaster,
    data: Any,
    columns: Columns | None,
    schedule: Schedule,
    scratch: str,
    scores: ScoreTables,
) -> Iterator[pd.DataFrame]:
    """Fit and forecast all folds, then yield and score the forecasts of some series at a time.

    Args:
        forecaster: the forecaster.
        data: parquet files, as for `Forecaster.fit`.
        columns: as for `Forecaster.fit`.
        schedule: the origins.
        scratch: folder for temporary files.
        scores: takes the scores.

    Yields:
        Long frames of forecasts, as `Backtest.frame`.

    Raises:
        ArgumentError: gaps would be filled.
        DataError, FileFormatError, OSError: as `read_parquet`, or as `backtest`.
    """
    columns = as_columns(columns)
    if columns.fill != "raise":
        fix = "Fill the gaps of the files first."
        raise bad_argument("fill", columns.fill, "'raise' in a backtest of parquet files", fix)
    table = ParquetTable("df", data)
    panel = long_enough(read_parquet(data, columns, scratch), schedule.rows, columns)
    check_names(panel)
    windows = schedule.folds()
    for fold in windows:
        check_missing(panel, schedule, fold)
    columns = columns_of(panel, columns)
    folds = []
    for fold in windows:
        rows = schedule.rows_after(fold[0])
        copy = _fit(forecaster, table, panel, columns, rows, scratch)
        origins = origins_of_fold(panel, schedule, fold, copy.panel_.ids)
        seen = panel.values.lengths - rows
        folds.append(_FoldFile.of(copy.fitted_, panel, origins, seen, scratch))
    for series in _parts(len(panel.ids), BATCH):
        origins, forecasts = in_order([fold.read(series) for fold in folds])
        if len(origins):
            part = panel.take(np.array(series))
            frame, actuals, methods = scored(forecaster, part, origins, forecasts, schedule)
            scores.add(actuals, methods)
            yield frame
        release_pages()


def _fit(
    forecaster: Forecaster,
    table: ParquetTable,
    panel: Panel,
    columns: Columns,
    rows: int,
    scratch: str,
) -> Forecaster:
    """Fit a fresh copy on all but the last `rows` rows of each series, which go to a file."""
    names = panel.columns
    read = [*names.keys, names.target, *panel.covariates.columns]
    with (
        TemporaryDirectory(prefix="seqkeras-", dir=scratch) as folder,
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")
        path = Path(folder) / "train.parquet"
        write_frames(_without_last(table, read, panel, rows), path, table.schema(read, names))
        table.check_unchanged()
        copy = clone(forecaster).fit(path, columns=columns, scratch=scratch)
    repeat_warnings(warned)
    return copy


def _without_last(
    table: ParquetTable, columns: list[str], panel: Panel, rows: int
) -> Iterator[pd.DataFrame]:
    for part in table.parts(columns, panel.columns):
        lengths = np.diff(part.starts, append=len(part.frame))
        frame = part.frame[positions(lengths) < np.repeat(lengths - rows, lengths)]
        if len(frame):
            yield frame


@dataclass(frozen=True, eq=False)
class _FoldFile:
    """The forecasts of a fold in a temporary file.

    Attributes:
        origins: where the forecasts begin, in the order of the series.
        names: names of the forecasts.
        values: `(origins, names, horizon)`, mapped into memory.
    """

    origins: Origins
    names: list[str]
    values: Array

    @classmethod
    def of(
        cls, fitted: Fitted, panel: Panel, origins: Origins, seen: Integers, scratch: str
    ) -> "_FoldFile":
        """Forecast from the origins, some series at a time.

        The series of a part fill whole batches, as the last bits of a forecast depend on these.
        """
        size = windows_at_once(fitted.model, fitted.likelihood, fitted.horizon)
        names: list[str] = []
        with RowFile(scratch) as file:
            for series in _parts(len(panel.ids), size):
                part = panel.take(np.array(series))
                own = _origins_in(origins, series)
                if own.start == own.stop:
                    continue
                moved = Origins(origins.series[own] - series.start, origins.rows[own])
                forecasts = forecast_at(fitted, part, moved, seen[series.start : series.stop])
                names = list(forecasts)
                file.append(np.stack(list(forecasts.values()), axis=1))
                release_pages()
            return cls(origins, names, file.mapped()[0])

    def read(self, series: range) -> dict[str, Array]:
        """Return the origins in some series, counted from the first of these, and the forecasts."""
        own = _origins_in(self.origins, series)
        forecasts = {name: self.values[own, place] for place, name in enumerate(self.names)}
        return {
            "series": self.origins.series[own] - series.start,
            "rows": self.origins.rows[own],
            **forecasts,
        }


def _origins_in(origins: Origins, series: range) -> slice:
    return slice(*np.searchsorted(origins.series, [series.start, series.stop]))


def _parts(series: int, size: int) -> Iterator[range]:
    return (range(first, min(first + size, series)) for first in range(0, series, size))

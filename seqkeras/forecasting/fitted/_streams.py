"""Forecasts of more series than memory holds, part by part."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Floats
from seqkeras._checks import bad_argument
from seqkeras._files import whole_file
from seqkeras._lazy import import_optional
from seqkeras.forecasting.fitted._fitted import ORIGINS_AT_ONCE, Fitted, Request
from seqkeras.forecasting.frames._covariates import Known
from seqkeras.forecasting.frames._forms import LongFrame
from seqkeras.forecasting.frames._future import long_future, read_future
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.frames._parquet import (
    SHAPE,
    SUFFIXES,
    ParquetTable,
    check_contiguous,
    is_parquet,
)
from seqkeras.forecasting.frames._reading import check_covariates
from seqkeras.forecasting.networks._predict import windows_at_once
from seqkeras.windows import GroupedArray, StandardScaler


def forecast_frames(
    fitted: Fitted, df: Any, *, horizon: int | None, future: Any, fill: str
) -> Iterator[pd.DataFrame]:
    """Forecast series in parts, with the bits of a forecast of all of them at once.

    Args:
        fitted: the fit.
        df: parquet files or a frame of other series, or None for those of the fit.
        horizon: as for `Forecaster.predict`.
        future: as for `Forecaster.predict`, or parquet files.
        fill: as for `Forecaster.predict`.

    Yields:
        Long frames of forecasts.
    """
    steps = fitted.checked_steps(horizon)
    ahead = _Ahead(fitted, future, steps)
    if is_parquet(df):
        parts = _of_files(fitted, df, fill)
    elif df is not None:
        parts = iter([fitted.read_any_series(df, fill)])
    else:
        parts = _of_fit(fitted)
    requests = (Request(panel, scaler, ahead.of(panel), steps) for panel, scaler in parts)
    size = windows_at_once(fitted.model, fitted.likelihood, steps)
    for request in _in_multiples(requests, size):
        yield request.panel.forecast_frame(fitted.forecast(request))


def check_output(output: Any) -> Path:
    """Return the path of a parquet file to write.

    Raises:
        ArgumentError: it is none.
    """
    is_path = isinstance(output, str | os.PathLike)
    if not is_path or Path(output).suffix.lower() not in SUFFIXES:
        raise bad_argument("output", output, "the path of a file that ends in .parquet")
    path = Path(output)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise bad_argument("output", str(output), "a file in a folder that exists")
    return path


def write_frames(frames: Iterable[pd.DataFrame], path: Path) -> Path:
    """Write frames as one parquet file, which replaces an older one once it is complete.

    Returns:
        The path.

    Raises:
        OSError: the disk is full; the file is as it was.
    """
    arrow = import_optional("pyarrow", extra="parquet")
    parquet = import_optional("pyarrow.parquet", extra="parquet")
    try:
        with whole_file(path) as file, ExitStack() as stack:
            writer = None
            for frame in frames:
                schema = writer.schema if writer is not None else None
                table = arrow.Table.from_pandas(frame, schema, preserve_index=False)
                if writer is None:
                    writer = stack.enter_context(parquet.ParquetWriter(file, table.schema))
                writer.write_table(table)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        message = f"The disk is full: {path} does not fit. Nothing was written."
        raise OSError(error.errno, message) from error
    return path


def joined(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return frames as one."""
    return pd.concat(list(frames), ignore_index=True)


def _of_files(fitted: Fitted, data: Any, fill: str) -> Iterator[tuple[Panel, StandardScaler]]:
    """Read parquet files in parts of whole series."""
    table = ParquetTable("df", data)
    names = fitted.panel.columns.with_id.within(table.header)
    covariates = fitted.panel.covariates
    check_covariates(table.header, covariates, SHAPE, fitted=True)
    keys = [names.id, names.time] if names.id is not None else [names.time]
    columns = [*keys, names.target, *covariates.columns]
    table.check(columns)
    ids, first = [], []
    for part in table.parts(columns, names.id, names.time):
        if names.id is not None:
            ids.append(pd.Index(part.frame[names.id].iloc[part.starts]))
            first.append(part.first + part.starts)
            check_contiguous(ids[-1], first[-1], table, names)
        yield part.checked(lambda frame, _: fitted.read_any_series(LongFrame(frame, SHAPE), fill))
    if ids:
        check_contiguous(ids[0].append(ids[1:]), np.concatenate(first), table, names)


def _of_fit(fitted: Fitted) -> Iterator[tuple[Panel, StandardScaler]]:
    series = len(fitted.panel.ids)
    for first in range(0, series, ORIGINS_AT_ONCE):
        numbers = np.arange(first, min(first + ORIGINS_AT_ONCE, series))
        panel = fitted.panel.take(numbers)
        yield panel.newest(fitted.lookback), fitted.scaler.take(numbers)


class _Ahead:
    """Future covariates of series that are read in parts.

    Args:
        fitted: the fit.
        future: a frame, parquet files or None.
        steps: timesteps to forecast.
    """

    def __init__(self, fitted: Fitted, future: Any, steps: int) -> None:
        self._future = future
        self._steps = steps
        self._parts: Iterator[Any] | None = None
        if not is_parquet(future) or not fitted.panel.covariates.future:
            return
        table = ParquetTable("future", future)
        self._waiting = long_future(fitted.panel, table.header, steps).iloc[:0]
        names = fitted.panel.columns
        keys = [names.id, names.time] if names.id is not None else [names.time]
        columns = [*keys, *fitted.panel.covariates.future]
        table.check(columns)
        self._parts = table.parts(columns, names.id, names.time)

    def of(self, panel: Panel) -> Floats:
        """Return the features of some series over the horizon."""
        if self._parts is None:
            return read_future(panel, self._future, self._steps)
        key = panel.columns.id
        frames = [self._waiting] if len(self._waiting) else []
        missing = set(panel.ids)
        if frames and key is not None:
            missing -= set(self._waiting[key])
        while missing and (part := next(self._parts, None)) is not None:
            frames.append(part.frame)
            missing -= set(part.frame[key]) if key is not None else missing
        frame = pd.concat(frames, ignore_index=True) if frames else self._waiting
        own = frame[key].isin(panel.ids) if key is not None else np.ones(len(frame), bool)
        self._waiting = frame[~own]
        return read_future(panel, frame[own], self._steps)


def _in_multiples(requests: Iterable[Request], size: int) -> Iterator[Request]:
    """Join and split requests, so that all but the last have a multiple of `size` series.

    The last bits of a forecast depend on the windows that are forecast with it.
    """
    waiting: Request | None = None
    for request in requests:
        waiting = _both(waiting, request) if waiting is not None else request
        series = len(waiting.panel.ids)
        whole = series // size * size
        if whole:
            yield waiting.take(range(whole))
            waiting = waiting.take(range(whole, series)) if whole < series else None
    if waiting is not None:
        yield waiting


def _both(first: Request, second: Request) -> Request:
    """Return one request for the series of two."""
    panels = (first.panel, second.panel)
    known = [panel.known for panel in panels]
    panel = replace(
        first.panel,
        ids=first.panel.ids.append(second.panel.ids),
        last=first.panel.last.append(second.panel.last),
        values=_after(*(panel.values for panel in panels)),
        known=Known(
            _after(*(part.rows for part in known)),
            np.concatenate([part.static for part in known]),
            np.concatenate([part.categories for part in known]),
        ),
    )
    scalers = (first.scaler, second.scaler)
    scaler = StandardScaler.from_state(
        *(
            np.concatenate([getattr(scaler, name) for scaler in scalers])
            for name in ("center_", "scale_", "constant_")
        )
    )
    return Request(panel, scaler, np.concatenate([first.ahead, second.ahead]), first.steps)


def _after(first: GroupedArray, second: GroupedArray) -> GroupedArray:
    indptr = np.append(first.indptr, first.indptr[-1] + second.indptr[1:])
    return GroupedArray(np.concatenate([first.values, second.values]), indptr)

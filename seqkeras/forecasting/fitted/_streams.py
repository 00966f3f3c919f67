"""Forecasts of more series than memory holds, part by part."""

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
from seqkeras._files import FULL, whole_file
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
    ahead = _Ahead(future, steps)
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
    ahead.finish()


def check_output(output: Any, *tables: Any) -> Path:
    """Return the absolute path of a parquet file to write.

    Args:
        output: the path.
        tables: the data to read, of which the file must not be a part.

    Raises:
        ArgumentError: the file cannot be written.
        MissingDependencyError: pyarrow is not installed.
    """
    import_optional("pyarrow", extra="parquet")
    is_path = isinstance(output, str | os.PathLike)
    if not is_path or Path(output).suffix.lower() not in SUFFIXES:
        raise bad_argument("output", output, "the path of a file that ends in .parquet")
    path = Path(output).resolve()
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise bad_argument("output", str(output), "a file in a folder that can be written to")
    for table in filter(is_parquet, tables):
        sources = [table] if isinstance(table, str | os.PathLike) else table.files
        for source in map(Path, sources):
            if source.resolve() in (path, *path.parents):
                raise bad_argument("output", str(output), "a file outside of the data that is read")
    return path


def check_ids(panel: Panel) -> None:
    """Check that the ids of series can be written to a parquet file.

    Raises:
        ArgumentError: they have several types.
    """
    arrow = import_optional("pyarrow", extra="parquet")
    try:
        arrow.array(panel.ids)
    except arrow.ArrowException as error:
        fix = "Convert the ids to text."
        raise bad_argument("output", "a path", "None with ids of several types", fix) from error


def write_frames(frames: Iterable[pd.DataFrame], path: Path, schema: Any = None) -> Path:
    """Write frames as one parquet file, which replaces an older one once it is complete.

    Args:
        frames: the frames.
        path: the file.
        schema: types of the columns. None: those of the first frame.

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
                schema = writer.schema if writer is not None else schema
                table = arrow.Table.from_pandas(frame, schema, preserve_index=False)
                if writer is None:
                    writer = stack.enter_context(parquet.ParquetWriter(file, table.schema))
                writer.write_table(table)
    except OSError as error:
        if error.errno not in FULL:
            raise
        message = (
            f"The disk is full: {path} does not fit. Nothing was written. Make room, or name a "
            "file on another disk."
        )
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
    columns = [*names.keys, names.target, *covariates.columns]
    table.check(columns)
    for part in table.parts(columns, names):
        yield part.checked(lambda frame, _: fitted.read_any_series(LongFrame(frame, SHAPE), fill))


def _of_fit(fitted: Fitted) -> Iterator[tuple[Panel, StandardScaler]]:
    series = len(fitted.panel.ids)
    for first in range(0, series, ORIGINS_AT_ONCE):
        numbers = np.arange(first, min(first + ORIGINS_AT_ONCE, series))
        panel = fitted.panel.take(numbers)
        yield panel.newest(fitted.lookback), fitted.scaler.take(numbers)


class _Ahead:
    """Future covariates of series that are read in parts.

    Args:
        future: a frame, parquet files or None.
        steps: timesteps to forecast.
    """

    def __init__(self, future: Any, steps: int) -> None:
        self._future = future
        self._steps = steps
        self._rows: _FrameRows | _FileRows | None = None

    def of(self, panel: Panel) -> Floats:
        """Return the features of some series over the horizon."""
        future = self._future
        if future is not None and panel.covariates.future:
            if self._rows is None:
                rows = _FileRows if is_parquet(future) else _FrameRows
                self._rows = rows(panel, future, self._steps)
            future = self._rows.of(panel)
        return read_future(panel, future, self._steps)

    def finish(self) -> None:
        """Check the rows of files that no series needed."""
        if isinstance(self._rows, _FileRows):
            self._rows.finish()


class _FrameRows:
    """Rows of a frame by series.

    Args:
        panel: some of the series.
        future: the frame.
        steps: timesteps to forecast.
    """

    def __init__(self, panel: Panel, future: Any, steps: int) -> None:
        key = panel.columns.id
        self._frame = long_future(panel, future, steps)
        self._places = {}
        if key is not None:
            self._places = self._frame.groupby(key, sort=False, observed=True).indices

    def of(self, panel: Panel) -> pd.DataFrame:
        """Return the rows of some series."""
        if panel.columns.id is None:
            return self._frame
        nowhere = np.empty(0, np.int64)
        places = [self._places.get(series, nowhere) for series in panel.ids]
        return self._frame.iloc[np.concatenate(places)]


class _FileRows:
    """Rows of parquet files by series, read as far as they are needed.

    Args:
        panel: some of the series.
        future: the files.
        steps: timesteps to forecast.
    """

    def __init__(self, panel: Panel, future: Any, steps: int) -> None:
        table = ParquetTable("future", future)
        names = panel.columns
        self._waiting = long_future(panel, table.header, steps).iloc[:0]
        columns = [*names.keys, *panel.covariates.future]
        table.check(columns)
        self._parts = table.parts(columns, names)

    def of(self, panel: Panel) -> pd.DataFrame:
        """Return the rows of some series, and keep those of others that were read with them."""
        key = panel.columns.id
        frames = [self._waiting] if len(self._waiting) else []
        missing = set(panel.ids) - set(self._waiting[key]) if key is not None else {None}
        while missing and (part := next(self._parts, None)) is not None:
            frames.append(part.frame)
            missing -= set(part.frame[key]) if key is not None else {None}
        frame = pd.concat(frames, ignore_index=True) if frames else self._waiting
        own = frame[key].isin(panel.ids) if key is not None else np.ones(len(frame), bool)
        self._waiting = frame[~own]
        return frame[own]

    def finish(self) -> None:
        """Check the rows that were not needed."""
        for _ in self._parts:
            pass


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

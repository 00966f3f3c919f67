"""Turn series into network inputs, in the same way for training and for forecasts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Booleans, Floats, Floats32
from seqkeras.errors import DataError
from seqkeras.forecasting.frames._covariates import Known
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._covariate_scaler import CovariateScaler
from seqkeras.forecasting.networks._features import window_columns
from seqkeras.likelihoods import Likelihood
from seqkeras.models._window import WindowColumns
from seqkeras.windows import GroupedArray, StandardScaler, Windows, WindowSpec
from seqkeras.windows._mapped import MappedSeries, release_pages

#: Batches from mapped files after which their pages are released.
RELEASED_AFTER = 8


def are_counts(values: Floats) -> Booleans:
    """Check for each target whether it is a whole number from 0 on, or missing."""
    return np.isnan(values) | (values >= 0) & (values == np.round(values))


def check_counts(panel: Panel, likelihood: Likelihood | None) -> None:
    """Check that all targets are counts, if the likelihood models counts.

    Raises:
        DataError: a target is not a count. The message names the series and the target.
    """
    if likelihood is None or not likelihood.counts:
        return
    are_all = panel.values.reduced(np.logical_and, lambda values, block: are_counts(values))
    if not are_all.all():
        series = int(np.argmin(are_all))
        values = np.asarray(panel.values[series], np.float64)
        raise DataError(
            f"{panel.name(series)} must have counts as targets, whole numbers from 0 on, for "
            f"{type(likelihood).__name__}. Got: {values[np.argmin(are_counts(values))]:g}. Use "
            "another likelihood, such as 'student_t'."
        )


@dataclass(frozen=True)
class WindowReader:
    """Turns windows into network inputs, for training and for forecasts.

    Missing targets, and the padding of short series, are replaced by other values of the window,
    see `fill_missing_targets`. So the naive forecast inside a network starts from a value that was
    observed, if the window has one.

    Attributes:
        season_length: timesteps of one season.
        masked: whether targets may be missing.
    """

    season_length: int
    masked: bool

    def __call__(self, windows: Floats32, **known: Array) -> Any:
        """Fill missing targets, and return the inputs of a network.

        Args:
            windows: `(batch, lookback, columns)`, scaled, with the columns of `WindowColumns`; NaN
                for a missing target. Changed in place.
            **known: the other inputs by name; inputs without columns are omitted.

        Returns:
            A dict of `windows` as `"inputs"` and the other inputs, or, without others, `windows`.
        """
        target = windows[..., WindowColumns.TARGET]
        if np.isnan(target).any():
            windows[..., WindowColumns.TARGET] = fill_missing_targets(target, self.season_length)
        parts = {name: part for name, part in known.items() if part.shape[-1]}
        return {"inputs": windows, **parts} if parts else windows

    def read_batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Turn a batch of `Windows` into network inputs and targets.

        Args:
            x: the windows; or a dict of the windows as `"past"`, the other inputs, and masks that
                are False where a target is missing.
            y: targets, returned unchanged.
        """
        if not isinstance(x, dict):
            return x, y
        masks = {name: part for name, part in x.items() if name.endswith("_mask")}
        known = {name: part for name, part in x.items() if name not in masks}
        windows = known.pop("past")
        if self.masked:
            observed = masks["past_mask"][..., 0]
            target = windows[..., WindowColumns.TARGET]
            windows[..., WindowColumns.TARGET] = np.where(observed, target, np.nan)
        if "targets" in known:
            targets = known["targets"]
            if self.masked:
                targets = np.where(masks["targets_mask"], targets, np.nan)
            known["targets"] = targets[..., 0]
        if "categories" in known:
            known["categories"] = known["categories"].astype(np.int32)
        return self(windows, **known), y


class _ReleasingReader:
    """Reads batches of windows from mapped files, whose pages it releases now and then.

    Windows in random order are in all parts of a file, so it would soon be in memory as a whole.
    """

    def __init__(self, reader: WindowReader) -> None:
        self._reader = reader
        self._batches = 0

    def __call__(self, x: Any, y: Any) -> tuple[Any, Any]:
        if self._batches % RELEASED_AFTER == 0:
            release_pages()
        self._batches += 1
        return self._reader.read_batch(x, y)


@dataclass(frozen=True)
class NetworkInputs:
    """Turns series into network inputs.

    These are `"inputs"`, with the columns of `WindowColumns`, and `"future"`, `"static"` and
    `"categories"` if the series have such covariates.

    Attributes:
        scaler: scaler of the covariates.
        season_length: timesteps of one season.
        masked: whether targets may be missing.
    """

    scaler: CovariateScaler
    season_length: int
    masked: bool

    @property
    def reader(self) -> WindowReader:
        """Return the reader of windows with these settings."""
        return WindowReader(self.season_length, self.masked)

    def windows(
        self,
        panel: Panel,
        scaler: StandardScaler,
        lookback: int,
        steps: int,
        *,
        read_targets: bool = False,
        **options: Any,
    ) -> Windows:
        """Return the training windows of a panel; weights are 0 where a target is missing.

        Args:
            panel: the series.
            scaler: scaler of the targets.
            lookback: past timesteps in a window.
            steps: timesteps that a window predicts.
            read_targets: whether the targets are also an input, `"targets"`, as
                `seqkeras.training.unrolled` needs: `(batch, steps)` with NaN for missing ones.
                Default False.
            **options: further options of `Windows`.
        """
        # Batches are in float32. In memory, float64 also shows whether float32 is enough.
        is_mapped = isinstance(panel.values, MappedSeries)
        dtype = np.float32 if is_mapped else np.float64
        target = scaler.transform(panel.values, dtype=dtype)
        known = self.scaler.transform(panel.known, dtype=dtype)
        columns = window_columns(panel.covariates, masked=self.masked)
        only_targets = columns.count == 1
        ahead = {}
        if columns.future_width:
            ahead["future"] = known.rows.values[:, -columns.future_width :]
        if read_targets:
            ahead["targets"] = target.values
        per_series: dict[str, Array] = {"static": known.static, "categories": known.categories}
        per_series = {name: part for name, part in per_series.items() if part.shape[-1]}
        return Windows(
            target if only_targets else self._rows(columns, target, known),
            WindowSpec(lookback, horizon=steps),
            targets=None if only_targets else self._targets(target),
            future={name: GroupedArray(part, target.indptr) for name, part in ahead.items()}
            or None,
            static=per_series or None,
            missing="mask" if self.masked else "raise",
            transform=_ReleasingReader(self.reader) if is_mapped else self.reader.read_batch,
            **options,
        )

    def context(self, panel: Panel, scaler: StandardScaler, ahead: Floats) -> Any:
        """Return the network inputs for one forecast of each series.

        Args:
            panel: the series, each with exactly the rows of a lookback; NaN before the first target
                of a series that is shorter.
            scaler: scaler of the targets.
            ahead: `(series, horizon, features)`, the future covariates, not scaled.

        Raises:
            DataError: targets are missing, and the network was trained without missing targets.
        """
        target = scaler.transform(panel.values).values.reshape(len(panel.ids), -1)
        missing = _missing_after_first(target) if not self.masked else 0
        if missing:
            raise DataError(
                "The series must have no missing targets, because the forecaster was fitted on "
                f"series without missing targets. Got: {missing} missing targets. Fill them in, or "
                "fit on a history in which some targets are NaN."
            )
        rows = panel.known.rows.values.reshape(*target.shape, -1)
        static = self.scaler.transform_static(panel.known.static)
        return self.assemble(target, rows, ahead, static, panel.known.categories)

    def assemble(
        self,
        target: Floats,
        rows: Floats,
        ahead: Floats,
        static: Floats32,
        categories: npt.NDArray[np.int32],
    ) -> Any:
        """Return the network inputs for the arrays of some series.

        Args:
            target: `(series, lookback)`, scaled; NaN where a target is missing.
            rows: `(series, lookback, features)`, the covariates, not scaled.
            ahead: `(series, horizon, features)`, the future covariates, not scaled.
            static: `(series, numbers)`, scaled.
            categories: `(series, categories)`.
        """
        columns = WindowColumns(
            self.masked, rows.shape[-1] - ahead.shape[-1], future_width=ahead.shape[-1]
        )
        windows = _join_columns(columns, target, self.scaler.transform_rows(rows))
        future = self.scaler.transform_rows(ahead)
        return self.reader(windows, future=future, static=static, categories=categories)

    def _rows(self, columns: WindowColumns, target: GroupedArray, known: Known) -> GroupedArray:
        return target.transformed(
            lambda values, block: _join_columns(columns, values, known.rows.values[block.rows])
        )

    def _targets(self, target: GroupedArray) -> GroupedArray:
        if not self.masked:
            return target
        # With an axis for the column, each timestep of the horizon gets its own weight.
        return GroupedArray(target.values[:, np.newaxis], target.indptr)


def _missing_after_first(target: Array) -> int:
    """Count the missing targets after the first known one of each window."""
    missing = np.isnan(target)
    return int((missing & ~np.logical_and.accumulate(missing, axis=1)).sum())


def fill_missing_targets(target: Array, season_length: int, *, causal: bool = False) -> Array:
    """Return windows in which missing targets are replaced by the value one season before.

    If that is missing too, it is the value two seasons before, and so on; else the value one season
    after, and so on; else the last known value before, else the first one after. A window without
    any known value becomes 0.

    Args:
        target: `(batch, lookback)`, NaN where a target is missing; not changed.
        season_length: timesteps of one season.
        causal: whether only targets before the first known one may get a later value; default
            False.
    """
    filled = target.copy()
    _fill_by_season(filled, season_length)
    if not causal:
        _fill_by_season(filled[:, ::-1], season_length)
    filled = _fill_forward(filled)
    filled = _fill_forward(filled[:, ::-1])[:, ::-1]
    return np.nan_to_num(filled, copy=False)


def _fill_by_season(windows: Array, season_length: int) -> None:
    """Replace missing values by those one season before, in place."""
    for first in range(season_length, windows.shape[1], season_length):
        season = windows[:, first : first + season_length]
        before = windows[:, first - season_length : first][:, : season.shape[1]]
        season[...] = np.where(np.isnan(season), before, season)


def _fill_forward(windows: Array) -> Array:
    steps = np.where(np.isnan(windows), 0, np.arange(windows.shape[1]))
    last_known = np.maximum.accumulate(steps, axis=1)
    return np.take_along_axis(windows, last_known, axis=1)


def pairs(windows: keras.utils.PyDataset) -> Iterator[tuple[Any, Array]]:
    """Yield batches of windows in order: inputs, and targets `(batch, steps)`, NaN if missing."""
    for number in range(len(windows)):
        x, y, *weights = windows[number]
        if weights:
            y = np.where(weights[0] > 0, y[..., 0], np.nan)
        yield x, y


def _join_columns(columns: WindowColumns, target: Array, covariates: Array) -> Floats32:
    # Join in float32, the dtype of batches, because these arrays may be as large as the panel.
    joined = np.empty((*target.shape, columns.count), np.float32)
    joined[..., WindowColumns.TARGET] = target
    if columns.masked:
        joined[..., WindowColumns.FLAG] = ~np.isnan(target)
    joined[..., columns.covariates] = covariates
    return joined

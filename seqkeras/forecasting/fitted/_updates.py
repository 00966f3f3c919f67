"""Append newer rows to the fitted series, or score forecasts on them."""

from dataclasses import replace
from typing import Any

import numpy as np

from seqkeras._arrays import Integers
from seqkeras.errors import DataError
from seqkeras.forecasting.calendars._calendar import from_integers, to_integers
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._origins import Origins
from seqkeras.forecasting.fitted._tracking import after_rows
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.windows import GroupedArray


def update(fitted: Fitted, rows: Any) -> Fitted:
    """Return a fitted forecaster that has seen these rows as well.

    Raises:
        ArgumentError: a column is missing.
        DataError: a series was not fitted, or its rows do not continue where it ended.
    """
    panel = continued(fitted, rows)
    if fitted.intervals is None or not fitted.intervals.follows:
        return replace(fitted, panel=panel.newest(fitted.lookback))
    return replace(
        fitted,
        panel=panel.newest(fitted.lookback + fitted.horizon),
        intervals=after_rows(fitted, fitted.intervals, panel),
    )


def continued(fitted: Fitted, rows: Any) -> Panel:
    """Append newer rows to the stored rows; series without newer rows do not change.

    Raises:
        ArgumentError, DataError: as `update`.
    """
    panel = fitted.panel
    newer, numbers = fitted.read_fitted_series(rows)
    _check_continues(panel.take(numbers), newer)
    last = to_integers(panel.last).copy()
    last[numbers] = to_integers(newer.last.astype(panel.last.dtype))
    known = _appended(panel.known.rows, newer.known.rows, numbers)
    return replace(
        panel,
        last=from_integers(last, str(panel.last.dtype)),
        values=_appended(panel.values, newer.values, numbers),
        known=replace(panel.known, rows=known),
    )


def score(fitted: Fitted, rows: Any) -> float:
    """Return the negative mean absolute error on newer rows, averaged over series."""
    panel = continued(fitted, rows)
    horizon = fitted.horizon
    before = fitted.panel.values.lengths
    newer = panel.values.lengths - before
    windows = -(-newer // horizon)
    # Forecast whole horizons from the first new row on; the last may extend beyond the rows.
    origins = Origins.rolling(
        before + windows * horizon, windows=windows, step=horizon, horizon=horizon
    )
    yhat = fitted.run_at(panel, origins).point
    place = origins.rows[:, np.newaxis] + np.arange(horizon)
    inside = place < panel.values.lengths[origins.series][:, np.newaxis]
    series = np.broadcast_to(origins.series[:, np.newaxis], place.shape)[inside]
    actual = panel.values.values[panel.values.indptr[:-1][series] + place[inside]]
    errors = np.abs(actual - yhat[inside])
    known = ~np.isnan(errors)
    counts = np.bincount(series[known], minlength=len(newer))
    sums = np.bincount(series[known], errors[known], minlength=len(newer))
    return -float(np.mean(sums[counts > 0] / counts[counts > 0]))


def _appended(before: GroupedArray, newer: GroupedArray, numbers: Integers) -> GroupedArray:
    """Append the rows of each series of `newer` to the series at its index in `numbers`."""
    series = list(before)
    for number, rows in zip(numbers, newer, strict=True):
        series[number] = np.concatenate([series[number], rows])
    return GroupedArray.from_series(series)


def _check_continues(panel: Panel, newer: Panel) -> None:
    first = newer.calendar.shift(newer.last, 1 - newer.values.lengths)
    expected = panel.calendar.move(panel.last, 1)
    wrong = np.flatnonzero(np.asarray(first != expected))
    if not len(wrong):
        return
    worst = wrong[0]
    raise DataError(
        f"{newer.name(worst)} must continue at {expected[worst]}, after {panel.last[worst]}. "
        f"Got: {first[worst]} ({len(wrong)} of {len(first)} series do not continue). Give every "
        "row since then, and none from before."
    )

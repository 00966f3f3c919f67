"""Adaptive intervals: the errors of past forecasts decide how wide the next intervals are.

The forecasts that begin where the fit ended, and every horizon from there on, are compared with
the actual values. So each row counts once, no matter in how many parts newer rows arrive.
"""

from dataclasses import replace

import numpy as np

from seqkeras._arrays import Floats, Integers, positions
from seqkeras.forecasting.fitted._fitted import Fitted
from seqkeras.forecasting.fitted._intervals import ConformalIntervals
from seqkeras.forecasting.fitted._origins import Origins
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._predict import Forecasts


def after_rows(fitted: Fitted, intervals: ConformalIntervals, panel: Panel) -> ConformalIntervals:
    """Adapt the intervals to newer rows.

    Args:
        fitted: the forecaster, without the newer rows.
        intervals: intervals of the forecaster.
        panel: rows of the forecaster, followed by the newer rows.
    """
    before = fitted.panel.values.lengths
    starts = before - intervals.waiting
    whole, waiting = np.divmod(panel.values.lengths - starts, fitted.horizon)
    origins = _every_horizon(np.arange(len(whole)), starts, whole, fitted.horizon)
    errors = _errors(fitted, panel, origins)
    return replace(intervals.follow(errors, origins.series)[0], waiting=waiting)


def forecast_at(
    fitted: Fitted, panel: Panel, origins: Origins, seen: Integers | None = None
) -> Forecasts:
    """Forecast from any rows of fitted series.

    Args:
        fitted: the forecaster.
        panel: the series.
        origins: where the forecasts begin.
        seen: `(series,)`, number of rows of each series that the forecaster has seen; its intervals
            adapt to the rows after them. No origin may be earlier. None: use the current interval
            widths at every origin.
    """
    forecast = fitted.run_at(panel, origins)
    if fitted.intervals is None:
        return fitted.with_intervals(forecast)
    return fitted.with_intervals(forecast, _factors(fitted, fitted.intervals, panel, origins, seen))


def _factors(
    fitted: Fitted,
    intervals: ConformalIntervals,
    panel: Panel,
    origins: Origins,
    seen: Integers | None,
) -> Floats:
    """Return the factor of the widths at each origin, `(origins, levels)`."""
    numbers = fitted.panel.ids.get_indexer(panel.ids)
    current = intervals.factor[numbers[origins.series]]
    if seen is None or not intervals.follows:
        return current
    passed = (origins.rows - seen[origins.series]) // fitted.horizon
    if not passed.any():
        return current
    most = np.full(len(panel.ids), -1)
    np.maximum.at(most, origins.series, passed)
    series = np.flatnonzero(most >= 0)
    # The last forecast of each series is not run: its errors are NaN, which change no factor. It is
    # in the grid because `follow` returns the factors that apply from its origin on.
    grid = _every_horizon(series, seen[series], most[series] + 1, fitted.horizon)
    last = np.cumsum(most[series] + 1) - 1
    judged = np.delete(np.arange(len(grid)), last)
    errors = np.full((len(grid), fitted.horizon), np.nan)
    errors[judged] = _errors(fitted, panel, grid[judged])
    _, factors = intervals.follow(errors, numbers[grid.series])
    first = np.zeros(len(panel.ids), np.int64)
    first[series] = last - most[series]
    return factors[first[origins.series] + passed]


def _every_horizon(series: Integers, first: Integers, counts: Integers, horizon: int) -> Origins:
    """Return `counts[i]` origins of series `series[i]`, one horizon apart, from `first[i]` on."""
    rows = np.repeat(first, counts) + horizon * positions(counts)
    return Origins(np.repeat(series, counts), rows)


def _errors(fitted: Fitted, panel: Panel, origins: Origins) -> Floats:
    """Return actual values minus forecasts, in the unit of the intervals."""
    if not len(origins):
        return np.empty((0, fitted.horizon))
    forecast = fitted.run_at(panel, origins)
    return forecast.in_widths(origins.after(panel.values, fitted.horizon) - forecast.point)

"""Intervals that follow the series: what became of forecasts says how wide the next ones are."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seqkeras.forecasting.fitted._intervals import ConformalIntervals
from seqkeras.forecasting.fitted._origins import Origins
from seqkeras.forecasting.fitted._updates import outlook_at
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._predict import Forecasts

if TYPE_CHECKING:
    from seqkeras.forecasting._forecaster import Forecaster

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Forecasts are looked at that begin where the fit ended, and every horizon from there on: so it
# does not matter in how many parts newer rows come, and each row is forecast once more.


def after_rows(
    forecaster: "Forecaster", intervals: ConformalIntervals, panel: Panel
) -> ConformalIntervals:
    """The intervals, having seen the newer rows of a panel that goes on where `panel_` ends."""
    horizon = forecaster.horizon_
    before, after = forecaster.panel_.values.lengths, panel.values.lengths
    starts = before - intervals.waiting
    whole, waiting = np.divmod(after - starts, horizon)
    origins = _every_horizon(np.arange(len(whole)), starts, whole, horizon)
    errors = _errors(forecaster, panel, origins)
    return replace(intervals.follow(errors, origins.series)[0], waiting=waiting)


def forecast_at(
    forecaster: "Forecaster", panel: Panel, origins: Origins, seen: Integers | None = None
) -> Forecasts:
    """Forecasts of a fitted forecaster from any rows of series that it knows.

    Args:
        forecaster: is not changed.
        panel: the series.
        origins: of the forecasts.
        seen: `(series,)`, rows of each that the forecaster has seen, behind which its intervals
            follow what comes; no origin is before. None: intervals are as wide as now everywhere.
    """
    outlook = outlook_at(forecaster, panel, origins)
    if forecaster.intervals_ is None:
        return forecaster._answers(outlook)
    factors = _factors(forecaster, forecaster.intervals_, panel, origins, seen)
    return forecaster._answers(outlook, factors)


def _factors(
    forecaster: "Forecaster",
    intervals: ConformalIntervals,
    panel: Panel,
    origins: Origins,
    seen: Integers | None,
) -> Floats:
    """How many times as wide intervals are at each origin, `(origins, levels)`."""
    horizon = forecaster.horizon_
    numbers = forecaster.panel_.ids.get_indexer(panel.ids)
    as_now = intervals.factor[numbers[origins.series]]
    if seen is None or not intervals.follows:
        return as_now
    passed = (origins.rows - seen[origins.series]) // horizon
    if not passed.any():
        return as_now
    most = np.full(len(panel.ids), -1)
    np.maximum.at(most, origins.series, passed)
    series = np.flatnonzero(most >= 0)
    # The last of each series only says how wide intervals are from there on.
    grid = _every_horizon(series, seen[series], most[series] + 1, horizon)
    last = np.cumsum(most[series] + 1) - 1
    judged = np.delete(np.arange(len(grid)), last)
    errors = np.full((len(grid), horizon), np.nan)
    errors[judged] = _errors(forecaster, panel, grid[judged])
    _, factors = intervals.follow(errors, numbers[grid.series])
    first = np.zeros(len(panel.ids), np.int64)
    first[series] = last - most[series]
    return factors[first[origins.series] + passed]


def _every_horizon(series: Integers, first: Integers, counts: Integers, horizon: int) -> Origins:
    """`counts[i]` origins of series `series[i]`, from row `first[i]` on."""
    of = np.repeat(np.arange(len(series)), counts)
    turn = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Origins(series[of], first[of] + horizon * turn)


def _errors(forecaster: "Forecaster", panel: Panel, origins: Origins) -> Floats:
    """What came less what was forecast, in the unit of the intervals."""
    if not len(origins):
        return np.empty((0, forecaster.horizon_))
    outlook = outlook_at(forecaster, panel, origins)
    return outlook.in_widths(origins.after(panel.values, forecaster.horizon_) - outlook.point)

"""Stamps that are missing between others: found, and put in as rows without a value."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras.errors import DataError
from seqkeras.forecasting.calendars._calendar import Calendar, from_integers, to_integers

#: Rows for each row that was given; more is a wrong frequency.
MOST = 100

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """Where the rows of regular series stand once every stamp has its row.

    Attributes:
        times: the stamps of all rows, series after series.
        indptr: `(series + 1,)`, where the series begin and end.
        places: where the rows that were given stand now.
    """

    times: pd.Index
    indptr: Numbers
    places: Numbers

    def spread(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Values of the given rows in their places, NaN in between."""
        whole = np.full(len(self.times), np.nan)
        whole[self.places] = values
        return whole


def find_gaps(times: pd.Index, indptr: Numbers, calendar: Calendar) -> Grid | int:
    """The grid of series with gaps, or the number of the first stamp that is on no grid.

    Args:
        times: the stamps, in order within each series.
        indptr: where the series begin and end.
        calendar: which stamps follow each other.

    Raises:
        DataError: there would be far more rows than were given.
    """
    lengths = np.diff(indptr)
    ticks, unit, to_times = _ticks(times, calendar)
    elapsed = ticks - np.repeat(ticks[indptr[:-1]], lengths)
    regular = (ticks >= 0) & (elapsed % unit == 0)
    if not regular.all():
        return int(np.argmin(regular))
    steps = elapsed // unit
    rows = steps[indptr[1:] - 1] + 1
    if rows.sum(dtype=np.float64) > MOST * len(times):
        raise DataError(
            f"df has {len(times)} rows, and with its gaps filled it would have {rows.sum():,} at "
            f"frequency {calendar.freq!r}. Pass the right one as Columns(freq=...), or cut df."
        )
    bounds = np.concatenate([[0], np.cumsum(rows)])
    number = np.arange(bounds[-1]) - np.repeat(bounds[:-1], rows)
    stamps = to_times(np.repeat(ticks[indptr[:-1]], rows) + number * unit)
    return Grid(stamps, bounds, steps + np.repeat(bounds[:-1], lengths))


def interpolate(
    values: npt.NDArray[np.float64], indptr: Numbers, rows: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """The values, and those of `rows` on the line between their neighbours in the same series.

    Rows that have no value on one side stay as they are.
    """
    known = np.flatnonzero(~np.isnan(values))
    wanted = np.flatnonzero(rows)
    if len(known) < 2:
        return values
    after = np.searchsorted(known, wanted).clip(1, len(known) - 1)
    series = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    inside = (series[known[after - 1]] == series[wanted]) & (series[known[after]] == series[wanted])
    inside &= (known[after - 1] < wanted) & (wanted < known[after])
    filled = values.copy()
    filled[wanted[inside]] = np.interp(wanted[inside], known, values[known])
    return filled


def _ticks(
    times: pd.Index, calendar: Calendar
) -> tuple[Numbers, int, Callable[[Numbers], pd.Index]]:
    """Stamps as integers from 0, how many of these a step is, and the way back.

    A stamp that is on no grid is -1.
    """
    unit = calendar.ticks_of_step(times)
    if unit is not None:
        wall = calendar.on_wall(times)
        numbers = to_integers(wall)
        low = numbers.min()
        return (
            numbers - low,
            unit,
            lambda ticks: calendar.off_wall(from_integers(ticks + low, str(wall.dtype)), times),
        )
    wall = calendar.on_wall(times)
    grid = pd.date_range(wall.min(), wall.max(), freq=calendar.step, unit=wall.unit)
    return grid.get_indexer(wall), 1, lambda ticks: calendar.off_wall(grid[ticks], times)

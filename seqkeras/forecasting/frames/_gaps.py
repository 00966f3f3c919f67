"""Gaps in the timestamps of series, and rows that fill them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seqkeras._arrays import Booleans, Floats, Integers, positions
from seqkeras._checks import bad_data
from seqkeras.forecasting.calendars._calendar import Calendar, from_integers, to_integers

#: Largest ratio of rows after filling to rows before; more means that the frequency is wrong.
MAX_GROWTH = 100


@dataclass(frozen=True)
class Grid:
    """Regular series, with a row for every timestamp, and the places of the original rows.

    Attributes:
        times: the timestamps of all rows, series after series.
        indptr: `(series + 1,)`, where the series begin and end.
        places: the row of the grid for each original row.
    """

    times: pd.Index
    indptr: Integers
    places: Integers

    def spread(self, values: Floats) -> Floats:
        """Return the values of the original rows on the grid, NaN in the rows between them."""
        spread = np.full(len(self.times), np.nan)
        spread[self.places] = values
        return spread


def find_gaps(times: pd.Index, indptr: Integers, calendar: Calendar) -> Grid | int:
    """Find the regular grid that fills the gaps of series.

    Args:
        times: the timestamps, in order within each series.
        indptr: where the series begin and end.
        calendar: which timestamps follow each other.

    Returns:
        The grid; or the row of the first timestamp that lies between two steps of the calendar.

    Raises:
        DataError: the grid would have more than `MAX_GROWTH` times as many rows.
    """
    lengths = np.diff(indptr)
    ticks, unit, to_times = _ticks(times, indptr, calendar)
    first = ticks[indptr[:-1]]
    elapsed = ticks - np.repeat(first, lengths)
    regular = (ticks >= 0) & (elapsed % unit == 0)
    if not regular.all():
        return int(np.argmin(regular))
    steps = elapsed // unit
    rows = steps[indptr[1:] - 1] + 1
    if rows.sum(dtype=np.float64) > MAX_GROWTH * len(times):
        raise bad_data(
            "df with its gaps filled",
            f"{len(times)} rows, which become {rows.sum():,} at frequency {calendar.label}",
            f"have at most {MAX_GROWTH} times as many rows as before",
            "Pass the right frequency as Columns(freq=...), or remove rows.",
        )
    bounds = np.concatenate([[0], np.cumsum(rows)])
    filled = to_times(np.repeat(first, rows) + positions(rows) * unit)
    return Grid(filled, bounds, steps + np.repeat(bounds[:-1], lengths))


def interpolate(values: Floats, indptr: Integers, rows: Booleans) -> Floats:
    """Interpolate the values of `rows` linearly between their neighbors in the same series.

    Rows without a value on both sides stay as they are.
    """
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < 2:
        return values
    places = np.flatnonzero(rows)
    nearest = np.searchsorted(known, places).clip(1, len(known) - 1)
    before = known[nearest - 1]
    after = known[nearest]
    series = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    between = (before < places) & (places < after)
    between &= (series[before] == series[places]) & (series[after] == series[places])
    filled = values.copy()
    filled[places[between]] = np.interp(places[between], known, values[known])
    return filled


def _ticks(
    times: pd.Index, indptr: Integers, calendar: Calendar
) -> tuple[Integers, int, Callable[[Integers], pd.Index]]:
    """Return timestamps as integers, the size of a step in them, and a function to convert back.

    If steps vary in length, the integers are positions among the timestamps of the calendar, and
    -1 for a timestamp between two of them.
    """
    wall = calendar.on_wall(times)
    unit = calendar.ticks_of_step(times)
    if unit is None:
        grid, places = _places(wall, indptr, calendar)
        return places, 1, lambda ticks: calendar.off_wall(grid[ticks], times)
    integers = to_integers(wall)
    low = integers.min()

    def to_times(ticks: Integers) -> pd.Index:
        return calendar.off_wall(from_integers(ticks + low, str(wall.dtype)), times)

    return integers - low, unit, to_times


def _places(
    wall: pd.DatetimeIndex, indptr: Integers, calendar: Calendar
) -> tuple[pd.DatetimeIndex, Integers]:
    """Return the timestamps that steps from the first rows reach, and each row's place, or -1.

    Series may have different phases, such as every second month from January or from February.
    """
    last = wall.max()
    grid = wall[:0]
    places = np.full(len(wall), -1, dtype=np.int64)
    # Begin with the earliest series, so that no timestamp enters the grid twice.
    for number in np.argsort(wall[indptr[:-1]], kind="stable"):
        start, stop = indptr[number], indptr[number + 1]
        first = wall[start]
        if first not in grid:
            phase = pd.date_range(first, last, freq=calendar.step, unit=wall.unit)
            if not len(phase) or phase[0] != first:
                continue
            grid = grid.append(phase)
        places[start:stop] = grid.get_indexer(wall[start:stop])
    return grid, places

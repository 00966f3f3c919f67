"""Holidays of a country or a part of it, from the package `holidays`."""

import re
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Integers
from seqkeras._checks import bad_argument
from seqkeras._lazy import import_optional
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.calendars._offsets import rule_of

#: Beginning of the names of these calendar features.
PREFIX = "holidays:"

#: Rules whose timestamps are the ends of their periods, as in `resample` of pandas.
AT_THE_END = re.compile(r"W|B?[MQY]E|SME|CBME")


def is_holidays(name: Any) -> bool:
    """Return whether this names holidays, as `holidays:DE` or `holidays:DE-BY`."""
    return isinstance(name, str) and bool(re.fullmatch(PREFIX + r"[A-Z]{2,4}(-\w+)?", name))


def check_place(name: str) -> None:
    """Check that the package knows the holidays of a place.

    Raises:
        ArgumentError: the package does not know the place.
        MissingDependencyError: the package is not installed.
    """
    try:
        _dates(name, 2024, 2024)
    except NotImplementedError as error:
        fix = (
            f"{error}. Use a place of the package holidays, such as 'holidays:DE' or "
            "'holidays:DE-BY' for a part of it."
        )
        raise bad_argument("calendar", name, "a place that has holidays", fix) from None


def count(name: str, times: pd.Index, calendar: Calendar) -> Integers:
    """Count the days that are holidays in the period of each timestamp.

    With steps of a fixed duration, such as hours, or of business days or hours, the period is the
    local day of the timestamp. Otherwise it lasts from the timestamp to the day before the next
    one. If timestamps are the ends of periods, as with weeks or `"ME"`, it lasts from the day after
    the previous timestamp to the timestamp. For a `Period` of pandas, it is that period.

    Args:
        name: the place, as `holidays:DE`.
        times: the timestamps.
        calendar: their calendar.

    Raises:
        MissingDependencyError: the package `holidays` is not installed.
    """
    if not len(times):
        return np.empty(0, np.int64)
    first, last = _periods(times, calendar)
    days = np.array([first.min(), last.max()], "M8[D]")
    first_year, last_year = (days.astype("M8[Y]").astype(int) + 1970).tolist()
    dates = _dates(name, first_year, last_year)
    return np.searchsorted(dates, last, "right") - np.searchsorted(dates, first, "left")


def _periods(times: pd.Index, calendar: Calendar) -> tuple[Integers, Integers]:
    """Return the first and the last day of the period of each timestamp."""
    if isinstance(times, pd.PeriodIndex):
        return _days(times.start_time), _days(times.end_time)
    wall = calendar.on_wall(times).tz_localize(None)
    unit = rule_of(calendar.step)
    if calendar.is_fixed or unit in ("B", "C", "bh", "cbh"):
        return _days(wall), _days(wall)
    if AT_THE_END.fullmatch(unit):
        return _days(calendar.ahead(wall, -1)) + 1, _days(wall)
    return _days(wall), _days(calendar.ahead(wall, 1)) - 1


def _days(wall: pd.DatetimeIndex) -> Integers:
    """Return the days since 1970 of timestamps without a time zone."""
    return wall.to_numpy().astype("M8[D]").astype(np.int64)


@lru_cache(maxsize=64)
def _dates(name: str, first_year: int, last_year: int) -> Integers:
    """Return the holidays of these years in order, as days since 1970."""
    country, _, part = name.removeprefix(PREFIX).partition("-")
    years = range(first_year, last_year + 1)
    package = import_optional("holidays", extra="holidays")
    dates = package.country_holidays(country, subdiv=part or None, years=years)
    return np.array(sorted(dates), dtype="M8[D]").astype(np.int64)

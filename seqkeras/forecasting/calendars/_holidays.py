"""Holidays of a country or a part of it, counted by the package `holidays`."""

import re
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._checks import bad_argument
from seqkeras._lazy import optional
from seqkeras.forecasting.calendars._calendar import Calendar

#: How a calendar feature of this kind is called.
PREFIX = "holidays:"

#: Units whose stamps stand at the end of what they are of, as in `resample` of pandas.
AT_THE_END = re.compile(r"W|B?[MQY]E|SME|CBME")

#: The wall clock as days since 1970.
Days = npt.NDArray[np.int64]


def is_holidays(name: Any) -> bool:
    """Whether this is the name of such a feature: `holidays:DE` or `holidays:DE-BY`."""
    return isinstance(name, str) and bool(re.fullmatch(PREFIX + r"[A-Z]{2,4}(-\w+)?", name))


def check_place(name: str) -> None:
    """Raises where the package knows no such place.

    Raises:
        ArgumentError: it does not.
        MissingDependencyError: it is not installed.
    """
    try:
        _dates(name, 2024, 2024)
    except NotImplementedError as error:
        fix = "They are those of the package holidays: 'holidays:DE', with a part 'holidays:DE-BY'."
        raise bad_argument(
            "calendar", name, "a place that has holidays", f"{error}. {fix}"
        ) from None


def count(name: str, times: pd.Index, calendar: Calendar) -> Days:
    """How many days of the period of each stamp are holidays there.

    That is the day by the clock of the time zone where steps are shorter than a day, or of business
    days; else all days up to the next stamp. Weeks, and months, quarters and years whose stamps are
    their ends, are counted from behind the stamp before.

    Raises:
        MissingDependencyError: the package `holidays` is not installed.
    """
    if not len(times):
        return np.empty(0, np.int64)
    first, last = _periods(times, calendar)
    ends = np.array([first.min(), last.max()], "M8[D]").astype("M8[Y]").astype(int) + 1970
    dates = _dates(name, *ends.tolist())
    return np.searchsorted(dates, last, "right") - np.searchsorted(dates, first, "left")


def _periods(times: pd.Index, calendar: Calendar) -> tuple[Days, Days]:
    """The first and the last day of the period of each stamp."""
    if isinstance(times, pd.PeriodIndex):
        return _days(times.start_time), _days(times.end_time)
    wall, step = calendar.on_wall(times).tz_localize(None), calendar.step
    unit = str(step.rule_code).split("-")[0]
    if calendar.is_fixed or unit in ("B", "C"):
        return _days(wall), _days(wall)
    if AT_THE_END.fullmatch(unit):
        return _days(wall - step) + 1, _days(wall)
    return _days(wall), _days(wall + step) - 1


def _days(wall: pd.DatetimeIndex) -> Days:
    return wall.to_numpy().astype("M8[D]").astype(np.int64)


@lru_cache(maxsize=64)
def _dates(name: str, first: int, last: int) -> Days:
    """The holidays of these years, in order."""
    country, _, part = name.removeprefix(PREFIX).partition("-")
    package = optional("holidays", extra="holidays")
    found = package.country_holidays(country, subdiv=part or None, years=range(first, last + 1))
    return np.array(sorted(found), dtype="M8[D]").astype(np.int64)

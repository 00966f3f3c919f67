"""What a time stamp says by itself: the time of day, the day of the week ..., and holidays."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._checks import bad_argument, check_one_of
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.calendars._holidays import check_place, count, is_holidays

Floats = npt.NDArray[np.float64]


def _time_of_day(stamps: pd.DatetimeIndex) -> Any:
    return (stamps.hour + stamps.minute / 60 + stamps.second / 3600) / 24


#: For each name: how long the cycle is, and where in it a stamp stands, from 0 to below 1.
FEATURES: dict[str, tuple[pd.Timedelta, Callable[[pd.DatetimeIndex], Any]]] = {
    "time_of_day": (pd.Timedelta("1D"), _time_of_day),
    "day_of_week": (pd.Timedelta("7D"), lambda stamps: stamps.day_of_week / 7),
    "day_of_month": (pd.Timedelta("31D"), lambda stamps: (stamps.day - 1) / 31),
    "day_of_year": (pd.Timedelta("366D"), lambda stamps: (stamps.day_of_year - 1) / 366),
    "month": (pd.Timedelta("366D"), lambda stamps: (stamps.month - 1) / 12),
}


def choose(asked: Any, calendar: Calendar, rows: int) -> tuple[str, ...]:
    """The names of the features that are read.

    Args:
        asked: None for none, `"auto"` for what frequency and length suggest, or names.
        calendar: of the series.
        rows: of a usual series; `"auto"` leaves out a cycle that it does not hold twice.

    Raises:
        ArgumentError: an unknown name, or stamps that have no calendar.
    """
    if asked is None:
        return ()
    if not calendar.is_dated:
        if asked == "auto":
            return ()
        fix = "Integer stamps have no calendar."
        raise bad_argument("calendar", asked, "None or 'auto' here", fix)
    names = (asked,) if isinstance(asked, str) else asked
    if not isinstance(names, (tuple, list)):
        expected = f"None, 'auto' or names among {', '.join(map(repr, FEATURES))}"
        raise bad_argument("calendar", asked, expected)
    check_known([name for name in names if name != "auto"])
    for name in filter(is_holidays, names):
        check_place(name)
    several = [_suggested(calendar, rows) if name == "auto" else (name,) for name in names]
    return tuple(dict.fromkeys(name for some in several for name in some))


def check_known(names: Sequence[str]) -> None:
    """Raises for a name that there is no feature of."""
    for name in names:
        if not is_holidays(name):
            check_one_of("calendar", name, [*FEATURES, "holidays:DE"])


def width(names: Sequence[str]) -> int:
    """Columns that these features have."""
    return sum(1 if is_holidays(name) else 2 for name in names)


def encode(names: tuple[str, ...], times: pd.Index, calendar: Calendar) -> Floats:
    """Sine and cosine of each feature, by the clock of the time zone, and counts of holidays.

    Args:
        names: of the features.
        times: the stamp of each row.
        calendar: of the stamps.

    Returns:
        `(rows, width(names))`.
    """
    if not names:
        return np.empty((len(times), 0))
    # Series of a panel share most of their stamps.
    codes, unique = pd.factorize(times)
    columns = [one for name in names for one in _columns(name, unique, calendar)]
    return np.stack(columns, axis=1, dtype=np.float64)[codes]


def _columns(name: str, times: pd.Index, calendar: Calendar) -> list[npt.NDArray[Any]]:
    if is_holidays(name):
        return [count(name, times, calendar)]
    stamps = times.to_timestamp() if isinstance(times, pd.PeriodIndex) else times
    angle = 2 * np.pi * np.asarray(FEATURES[name][1](stamps))
    return [np.sin(angle), np.cos(angle)]


def _suggested(calendar: Calendar, rows: int) -> tuple[str, ...]:
    # The length of a step, also where it is one of the calendar's, such as a month.
    start = pd.Timestamp("2001-01-01")
    step = (start + 12 * calendar.step - start) / 12
    months = step >= pd.Timedelta("27D")
    names = ("month",) if months else ("time_of_day", "day_of_week", "day_of_year")
    return tuple(
        name
        for name in names
        if 1.5 * step < FEATURES[name][0] and FEATURES[name][0] * 2 <= rows * step
    )

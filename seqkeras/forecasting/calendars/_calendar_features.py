"""Calendar features of timestamps, such as the time of day, the month, and holidays."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from seqkeras._arrays import Array, Floats
from seqkeras._checks import bad_argument, check_one_of
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.calendars._holidays import check_place, count, is_holidays


def _time_of_day(times: pd.DatetimeIndex) -> Any:
    return (times.hour + times.minute / 60 + times.second / 3600) / 24


#: The length of the cycle of each feature, and the position of a timestamp in it, from 0 to
#: below 1.
FEATURES: dict[str, tuple[pd.Timedelta, Callable[[pd.DatetimeIndex], Any]]] = {
    "time_of_day": (pd.Timedelta("1D"), _time_of_day),
    "day_of_week": (pd.Timedelta("7D"), lambda times: times.day_of_week / 7),
    "day_of_month": (pd.Timedelta("31D"), lambda times: (times.day - 1) / 31),
    "day_of_year": (pd.Timedelta("366D"), lambda times: (times.day_of_year - 1) / 366),
    "month": (pd.Timedelta("366D"), lambda times: (times.month - 1) / 12),
}


def choose(names: Any, calendar: Calendar, rows: int) -> tuple[str, ...]:
    """Return the names of the features to read.

    Args:
        names: None for no features, a name or several, or `"auto"` for those that suit the
            frequency and the number of rows.
        calendar: the calendar of the series.
        rows: rows of a typical series; `"auto"` omits cycles that do not fit into it twice.

    Raises:
        ArgumentError: a name is unknown, or the timestamps are integers.
        MissingDependencyError: holidays need the package `holidays`, which is not installed.
    """
    if names is None:
        return ()
    if not calendar.is_dated:
        if names == "auto":
            return ()
        expected = "None or 'auto' with integer timestamps, which have no calendar"
        raise bad_argument("calendar", names, expected)
    if isinstance(names, str):
        names = (names,)
    if not isinstance(names, (tuple, list)):
        expected = f"None, 'auto' or names among {', '.join(map(repr, FEATURES))}"
        raise bad_argument("calendar", names, expected)
    check_known([name for name in names if name != "auto"])
    chosen: list[str] = []
    for name in names:
        if is_holidays(name):
            check_place(name)
        chosen += _suggested(calendar, rows) if name == "auto" else [name]
    return tuple(dict.fromkeys(chosen))


def check_known(names: Sequence[str]) -> None:
    """Check that these are names of features.

    Raises:
        ArgumentError: a name is unknown.
    """
    for name in names:
        if not is_holidays(name):
            check_one_of("calendar", name, [*FEATURES, "holidays:DE"])


def width(names: Sequence[str]) -> int:
    """Return the number of columns of these features."""
    return sum(1 if is_holidays(name) else 2 for name in names)


def encode(names: tuple[str, ...], times: pd.Index, calendar: Calendar) -> Floats:
    """Compute the features of timestamps, from the local time of their time zone.

    Args:
        names: the features.
        times: the timestamp of each row.
        calendar: the calendar of the timestamps.

    Returns:
        `(rows, width(names))`: sine and cosine of each feature, and counts of holidays.
    """
    if not names:
        return np.empty((len(times), 0))
    # Series share most of their timestamps, so encode each of them once.
    codes, unique = pd.factorize(times)
    columns = [column for name in names for column in _columns(name, unique, calendar)]
    return np.stack(columns, axis=1, dtype=np.float64)[codes]


def _columns(name: str, times: pd.Index, calendar: Calendar) -> list[Array]:
    if is_holidays(name):
        return [count(name, times, calendar)]
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    _, position = FEATURES[name]
    angle = 2 * np.pi * np.asarray(position(times))
    return [np.sin(angle), np.cos(angle)]


def _suggested(calendar: Calendar, rows: int) -> list[str]:
    # Steps such as months have no fixed length, so take the mean of twelve.
    start = pd.Timestamp("2001-01-01")
    step = (start + 12 * calendar.step - start) / 12
    names = ["time_of_day", "day_of_week", "day_of_year"]
    if step >= pd.Timedelta("27D"):
        names = ["month"]
    suggested = []
    for name in names:
        cycle, _ = FEATURES[name]
        if 1.5 * step < cycle and 2 * cycle <= rows * step:
            suggested.append(name)
    return suggested

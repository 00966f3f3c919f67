"""Offsets, the steps from one timestamp to the next: as text and back, and their seasons."""

import json
import re
import textwrap
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from seqkeras._checks import Description, bad_argument
from seqkeras.errors import ArgumentError

#: Aliases that pandas 2.2 renamed and pandas 3 no longer accepts.
RENAMED = {
    "M": "ME", "BM": "BME", "SM": "SME", "CBM": "CBME", "Q": "QE", "BQ": "BQE",
    "A": "YE", "Y": "YE", "BA": "BYE", "BY": "BYE", "AS": "YS", "BAS": "BYS",
    "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns",
}  # fmt: skip

#: Offsets whose pandas alias does not restore them, or that have none: they are written as the
#: name of their class and its arguments.
SPELLED = {
    kind.__name__: kind
    for kind in (
        pd.DateOffset,
        pd.offsets.BusinessHour,
        pd.offsets.CustomBusinessDay,
        pd.offsets.CustomBusinessHour,
        pd.offsets.CustomBusinessMonthBegin,
        pd.offsets.CustomBusinessMonthEnd,
        pd.offsets.Easter,
    )
}

#: Arguments of `DateOffset` of a fixed duration.
DURATIONS = {"hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"}
#: Days in each argument of `DateOffset` that counts days.
DAYS = {"weeks": 7, "days": 1}

BUSINESS_HOURS = (pd.offsets.BusinessHour, pd.offsets.CustomBusinessHour)

#: Longest season in steps of a fixed duration: the steps of five minutes in a day.
LONGEST_SEASON = 288

#: Timesteps of a year, by the rule of an offset without its anchor.
YEARLY = {
    "M": 12, "WOM": 12, "LWOM": 12, "CBM": 12, "SM": 24, "Q": 4, "REQ": 4, "HY": 2,
}  # fmt: skip

EXAMPLES = (
    "Use for example 'h', 'D', 'W-SUN', 'MS', 'ME', 'QS', 'YS', '15min', or an offset such as "
    "pd.DateOffset(months=1)."
)


def name_step(freq: Any, times: pd.DatetimeIndex) -> str:
    """Convert a frequency into text, from which `step_of` restores the offset.

    Args:
        freq: what the user passed: an alias of pandas, an offset or a timedelta.
        times: the timestamps that follow each other at this frequency.

    Returns:
        The alias of pandas if it restores the offset, otherwise the name of the offset's class and
        its arguments as JSON.

    Raises:
        ArgumentError: `freq` is not a frequency, does not step from a timestamp to a later one and
            back, or has arguments that cannot be written as text.
    """
    try:
        step = to_offset(_renamed(freq))
    except (ValueError, TypeError) as error:
        raise bad_argument("freq", freq, "a pandas frequency", EXAMPLES) from error
    if step is None or isinstance(freq, Real) or step.n < 1:
        raise bad_argument("freq", freq, "a pandas frequency of positive steps", EXAMPLES)
    step = _simplest(step)
    name = _alias(step) or _spelled(step, freq)
    _check_steps(step_of(name), freq, times)
    return name


@lru_cache(maxsize=256)
def step_of(name: str) -> Any:
    """Return the offset that `name_step` has converted into this text."""
    kind, space, arguments = name.partition(" ")
    return SPELLED[kind](**json.loads(arguments)) if space else to_offset(name)


def describe(name: str) -> str:
    """Return a short form of the text of `name_step`, for messages."""
    kind, space, arguments = name.partition(" ")
    if not space:
        return repr(name)
    listed = ", ".join(f"{key}={value!r}" for key, value in json.loads(arguments).items())
    return f"{kind}({textwrap.shorten(listed, 80, placeholder=' ...')})"


def is_fixed(step: Any) -> bool:
    """Return whether a step has the same duration everywhere."""
    # A day on which the clock changes is shorter or longer.
    return isinstance(step, pd.offsets.Tick) and not isinstance(step, pd.offsets.Day)


def rule_of(step: Any) -> str:
    """Return the rule of an offset without its anchor, such as `"W"` or `"QE"`, or `""`."""
    try:
        return str(step.rule_code).split("-")[0]
    except NotImplementedError:
        return ""


def move_by(step: Any, times: Any, count: int) -> Any:
    """Move timestamps without a time zone by `count` steps, backward if it is negative."""
    if not isinstance(step, BUSINESS_HOURS):
        return times + count * step
    if any(start >= end for start, end in zip(step.start, step.end, strict=True)):
        # Where business hours span midnight, pandas is right for single steps only.
        for _ in range(abs(count)):
            times = _move_hours(step, times, 1 if count > 0 else -1)
        return times
    return _move_hours(step, times, count)


def _move_hours(step: Any, times: Any, count: int) -> Any:
    if count < 0:
        # Backward, pandas may stop at a closing instead of the next opening, which is the same
        # business time: go one step too far, and a step forward, which ends at an opening.
        return times + (count - 1) * step + step
    return times + count * step


def season_of(step: Any) -> int:
    """Return the timesteps of the season that a step suggests, or 1."""
    if is_fixed(step):
        return _season_of_duration(pd.Timedelta(step))
    if isinstance(step, pd.offsets.Day):
        return _season_of_days(step.n, week=7)
    if isinstance(step, pd.offsets.Week):
        return _season_of_days(7 * step.n, week=7)
    if isinstance(step, BUSINESS_HOURS):
        return _season_of_hours(step)
    if isinstance(step, pd.offsets.BusinessDay | pd.offsets.CustomBusinessDay):
        return _season_of_days(step.n, week=_days_of_week(step))
    return _whole(_steps_of_year(step), step.n)


def _season_of_duration(duration: pd.Timedelta) -> int:
    for season in ("1D", "1h", "1min"):
        count = pd.Timedelta(season) / duration
        if 1 < count <= LONGEST_SEASON and count == int(count):
            return int(count)
    days = duration / pd.Timedelta("1D")
    return _season_of_days(int(days), week=7) if days == int(days) else 1


def _season_of_days(days: int, *, week: int) -> int:
    """Return the steps of a week, or of a year if steps are weeks."""
    weeks, rest = divmod(days, week)
    return _whole(week, days) if rest else _whole(52, weeks)


def _season_of_hours(step: Any) -> int:
    """Return the steps of a business day, or of a week if steps are days."""
    hours = sum(_hours_between(*times) for times in zip(step.start, step.end, strict=True))
    if not hours:
        return 1
    days, rest = divmod(step.n, hours)
    return _whole(hours, step.n) if rest else _season_of_days(int(days), week=_days_of_week(step))


def _hours_between(start: Any, end: Any) -> float:
    minutes = 60 * (end.hour - start.hour) + end.minute - start.minute
    return (minutes % (24 * 60)) / 60


def _days_of_week(step: Any) -> int:
    calendar = getattr(step, "calendar", None)
    return int(calendar.weekmask.sum()) if isinstance(calendar, np.busdaycalendar) else 5


def _steps_of_year(step: Any) -> int:
    if type(step) is pd.DateOffset:
        return _whole(12, 12 * step.kwds.get("years", 0) + step.kwds.get("months", 0))
    rule = rule_of(step)
    unit = re.fullmatch(r"B?(?P<unit>SM|CBM|[MQY]|HY)[SE]?", rule)
    return YEARLY.get(unit["unit"] if unit else rule, 1)


def _whole(season: float, steps: float) -> int:
    """Return how many steps of this length a season has; 1 if that is not a whole number."""
    return int(season // steps) if steps and season >= steps and season % steps == 0 else 1


def _renamed(freq: Any) -> Any:
    """Return the alias of a frequency that both pandas 2.2 and 3 accept."""
    parts = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Z]+)?", freq) if isinstance(freq, str) else None
    if not parts:
        return freq
    count, unit, anchor = parts.groups(default="")
    return count + RENAMED.get(unit, unit) + anchor


def _simplest(step: Any) -> Any:
    """Return an offset of days, or of a fixed duration, that takes the same steps, if any."""
    if type(step) is pd.offsets.Week and step.weekday is None:
        return pd.offsets.Day(7 * step.n)
    if type(step) is not pd.DateOffset or step.normalize:
        return step
    arguments = step.kwds or {"days": 1}
    if not all(isinstance(value, int) for value in arguments.values()):
        return step
    if arguments.keys() <= DAYS.keys():
        days = sum(DAYS[name] * count for name, count in arguments.items())
        return pd.offsets.Day(days * step.n)
    if arguments.keys() <= DURATIONS:
        return to_offset(pd.Timedelta(**arguments) * step.n)
    return step


def _alias(step: Any) -> str | None:
    """Return the pandas alias of an offset, or None if the alias does not restore it."""
    try:
        alias = str(step.freqstr)
        restored = to_offset(alias)
    except (ValueError, NotImplementedError):
        return None
    is_same = (
        type(restored) is type(step)
        and restored == step
        and _business_days(restored) == _business_days(step)
    )
    return alias if is_same else None


def _business_days(step: Any) -> Any:
    """Return the open weekdays and the holidays of a custom business calendar, or None."""
    calendar = getattr(step, "calendar", None)
    if not isinstance(calendar, np.busdaycalendar):
        return None
    weekmask = "".join("1" if is_open else "0" for is_open in calendar.weekmask)
    return {"weekmask": weekmask, "holidays": np.datetime_as_string(calendar.holidays).tolist()}


def _spelled(step: Any, freq: Any) -> str:
    """Return the class of an offset and its arguments as JSON."""
    kind = type(step)
    is_known = SPELLED.get(kind.__name__) is kind
    is_western = step.kwds.get("method", 3) == 3  # of Easter
    if not is_known or not is_western or step.normalize or step.kwds.get("offset"):
        raise _unsupported(freq)
    arguments: dict[str, Any] = _date_arguments(step, freq) if kind is pd.DateOffset else {}
    arguments |= {name: days for name, days in (_business_days(step) or {}).items() if days}
    for name in ("start", "end"):
        if name in step.kwds:
            arguments[name] = [f"{time:%H:%M}" for time in step.kwds[name]]
    if step.n > 1:
        arguments["n"] = step.n
    return f"{kind.__name__} {json.dumps(arguments, sort_keys=True)}"


def _date_arguments(step: Any, freq: Any) -> dict[str, Any]:
    arguments = dict(step.kwds)
    whole = all(isinstance(value, int) for value in arguments.values())
    if not whole or not arguments.keys() <= {"years", "months", "month", "day"}:
        raise _unsupported(freq)
    return arguments


def _unsupported(freq: Any) -> ArgumentError:
    expected = "a frequency that can be saved in a file"
    fix = (
        "Use years and months, or days, or shorter durations, but no mixture of the three; or "
        "business days or hours, with holidays. normalize=, offset=, weekday= and offset classes "
        "of your own are not supported."
    )
    return bad_argument("freq", freq, expected, fix)


def _check_steps(step: Any, freq: Any, times: pd.DatetimeIndex) -> None:
    """Check that a step leads to a later timestamp, and that a step back undoes it."""
    first = times[0].tz_localize(None) + step
    second = first + step
    if not (times[0].tz_localize(None) < first < second and move_by(step, second, -1) == first):
        fix = "A frequency is the distance between two timestamps, such as pd.DateOffset(months=1)."
        raise bad_argument(
            "freq", freq, "a frequency whose steps lead forward in time and can be undone", fix
        )
    if type(step) is pd.DateOffset and "day" not in step.kwds and (times.day > 28).any():
        late = times[times.day > 28][0]
        fix = (
            f"Not every month has day {late.day}: pass pd.DateOffset(..., day={late.day}), which "
            "means the last day of shorter months, or 'ME' for the ends of months."
        )
        got = Description(f"freq={freq!r} with {late:%Y-%m-%d}")
        raise bad_argument(
            "freq", got, "an offset with day=, because some timestamps fall after day 28", fix
        )

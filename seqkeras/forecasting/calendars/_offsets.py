"""The step from one timestamp to the next: as text that gives it back, and its season."""

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

#: Offsets that are not given back by the word that pandas has for them, if it has any.
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

#: Arguments of `DateOffset` whose steps have a fixed duration, or the days of one.
TIMES = {"hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"}
DAYS = {"weeks": 7, "days": 1}

HOURS = (pd.offsets.BusinessHour, pd.offsets.CustomBusinessHour)

#: Timesteps of a year, by the rule of an offset without its anchor.
YEARLY = {
    "M": 12, "WOM": 12, "LWOM": 12, "CBM": 12, "SM": 24, "Q": 4, "REQ": 4, "HY": 2,
}  # fmt: skip

EXAMPLES = (
    "Use for example 'h', 'D', 'W-SUN', 'MS', 'ME', 'QS', 'YS', '15min', or an offset such as "
    "pd.DateOffset(months=1)."
)


def name_step(freq: Any, times: pd.DatetimeIndex) -> str:
    """Return the name of a frequency, from which `step_of` makes the same offset.

    That is the word of pandas, or else the class of the offset and its arguments.

    Args:
        freq: what the user passed: a word, an offset or a timedelta.
        times: the timestamps that follow each other at this frequency.

    Raises:
        ArgumentError: it is not a frequency, it does not lead from each timestamp to a later one
            and back, or it has arguments that cannot be written down.
    """
    try:
        step = to_offset(_renamed(freq))
    except (ValueError, TypeError) as error:
        raise bad_argument("freq", freq, "a pandas frequency", EXAMPLES) from error
    if step is None or isinstance(freq, Real) or step.n < 1:
        raise bad_argument("freq", freq, "a pandas frequency", EXAMPLES)
    step = _simplest(step)
    name = _word(step) or _spelled(step, freq)
    _check_steps(step_of(name), freq, times)
    return name


@lru_cache(maxsize=256)
def step_of(name: str) -> Any:
    """Return the offset with a name that `name_step` has returned."""
    kind, space, arguments = name.partition(" ")
    return SPELLED[kind](**json.loads(arguments)) if space else to_offset(name)


def describe(name: str) -> str:
    """Return what messages call a step with this name."""
    kind, space, arguments = name.partition(" ")
    if not space:
        return repr(name)
    listed = ", ".join(f"{key}={value!r}" for key, value in json.loads(arguments).items())
    return f"{kind}({textwrap.shorten(listed, 80, placeholder=' ...')})"


def is_fixed(step: Any) -> bool:
    """Return whether a step has the same duration everywhere."""
    # Days have no fixed duration where the clock changes.
    return isinstance(step, pd.offsets.Tick) and not isinstance(step, pd.offsets.Day)


def rule_of(step: Any) -> str:
    """Return the rule of an offset, such as `"W"` or `"QE"`; without the anchor, `""` if none."""
    try:
        return str(step.rule_code).split("-")[0]
    except NotImplementedError:
        return ""


def move_by(step: Any, times: Any, count: int) -> Any:
    """Return timestamps without a time zone, `count` steps on, or back if negative."""
    if not isinstance(step, HOURS):
        return times + count * step
    if any(start >= end for start, end in zip(step.start, step.end, strict=True)):
        # Over midnight, pandas takes single steps right, and several at once wrong.
        for _ in range(abs(count)):
            times = _move_hours(step, times, 1 if count > 0 else -1)
        return times
    return _move_hours(step, times, count)


def _move_hours(step: Any, times: Any, count: int) -> Any:
    if count < 0:
        # Back from an opening, pandas may stop at a closing; a step on leads to the opening again.
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
    if isinstance(step, HOURS):
        return _season_of_hours(step)
    if isinstance(step, pd.offsets.BusinessDay | pd.offsets.CustomBusinessDay):
        return _season_of_days(step.n, week=_days_of_week(step))
    return _whole(_steps_of_year(step), step.n)


def _season_of_duration(duration: pd.Timedelta) -> int:
    for season in ("1D", "1h", "1min"):
        count = pd.Timedelta(season) / duration
        if 1 < count <= 288 and count == int(count):
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
    """Return how many times `steps` go into a season; 1 if that is no whole number."""
    return int(season // steps) if steps and season >= steps and season % steps == 0 else 1


def _renamed(freq: Any) -> Any:
    """Return the alias of a frequency that both pandas 2.2 and 3 accept."""
    parts = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Z]+)?", freq) if isinstance(freq, str) else None
    if not parts:
        return freq
    count, unit, anchor = parts.groups(default="")
    return count + RENAMED.get(unit, unit) + anchor


def _simplest(step: Any) -> Any:
    """Return the offset of days or of a duration that takes the same steps, if there is one."""
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
    if arguments.keys() <= TIMES:
        return to_offset(pd.Timedelta(**arguments) * step.n)
    return step


def _word(step: Any) -> str | None:
    """Return the word of pandas for an offset, if the word gives it back."""
    try:
        word = str(step.freqstr)
        same = to_offset(word)
    except (ValueError, NotImplementedError):
        return None
    is_same = type(same) is type(step) and same == step and _days_off(same) == _days_off(step)
    return word if is_same else None


def _days_off(step: Any) -> Any:
    calendar = getattr(step, "calendar", None)
    if not isinstance(calendar, np.busdaycalendar):
        return None
    weekmask = "".join("1" if is_open else "0" for is_open in calendar.weekmask)
    return {"weekmask": weekmask, "holidays": np.datetime_as_string(calendar.holidays).tolist()}


def _spelled(step: Any, freq: Any) -> str:
    """Return the class of an offset and its arguments as JSON."""
    kind = type(step)
    if SPELLED.get(kind.__name__) is not kind or step.normalize:
        raise _not_kept(freq)
    arguments: dict[str, Any] = _date_arguments(step, freq) if kind is pd.DateOffset else {}
    if step.kwds.get("offset"):
        raise _not_kept(freq)
    if step.kwds.get("method", 3) != 3:  # of Easter; 3 is the western one
        raise _not_kept(freq)
    arguments |= {name: days for name, days in (_days_off(step) or {}).items() if days}
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
        raise _not_kept(freq)
    return arguments


def _not_kept(freq: Any) -> ArgumentError:
    expected = "a frequency that can be kept in a file"
    fix = (
        "Offsets of years and months, of days, or of shorter durations can be, each without the "
        "others; business days and hours with their holidays; not normalize=, offset=, weekday= "
        "or a class of your own."
    )
    return bad_argument("freq", freq, expected, fix)


def _check_steps(step: Any, freq: Any, times: pd.DatetimeIndex) -> None:
    """Check that steps lead to later timestamps, and back."""
    first = times[0].tz_localize(None) + step
    second = first + step
    if not (times[0].tz_localize(None) < first < second and move_by(step, second, -1) == first):
        fix = "A frequency is the distance between two timestamps, such as pd.DateOffset(months=1)."
        raise bad_argument("freq", freq, "steps that lead forward in time and back", fix)
    if type(step) is pd.DateOffset and "day" not in step.kwds and (times.day > 28).any():
        late = times[times.day > 28][0]
        fix = (
            f"Not every month has day {late.day}: pass pd.DateOffset(..., day={late.day}) for this "
            "day or the last of shorter months, or 'ME' for ends of months."
        )
        got = Description(f"freq={freq!r} with {late:%Y-%m-%d}")
        raise bad_argument("freq", got, "an offset with the day of the month", fix)

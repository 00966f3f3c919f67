"""Timestamps written as text: the formats that fit, and the dates that they give."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import product

import pandas as pd

ISO = (
    r"\d{4}-\d\d(?:-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?"
    r"(?P<offset> ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?))?)?)?"
)

QUARTER = r"(?:(\d{4})[ -]?Q([1-4])|Q([1-4])[ -/]?(\d{4}))"

#: Formats of whole dates, or of months. Where the day or the month may come first, both orders are
#: listed.
DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y/%m", "%YM%m", "%m/%Y", "%m.%Y", "%m-%Y"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m.%d.%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%Y %b", "%Y %B", "%Y-%b", "%b %Y", "%B %Y", "%b-%Y", "%d%b%Y", "%d-%b-%Y", "%d %b %Y"),
    *("%d %B %Y", "%d. %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%Y-%b-%d"),
)

#: Formats of dates written as integers, by their number of digits.
COUNTED_DATES = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}

#: Formats without the century.
SHORT_DATES = (
    *("%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d"),
    *("%d-%b-%y", "%d %b %y", "%b-%y", "%b %y", "%y-%b"),
)

TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p")


@dataclass(frozen=True)
class Reading:
    """One way to read texts as timestamps.

    Attributes:
        format: the format, as `pd.to_datetime` takes it; `"quarter"` for quarters.
        times: the timestamps, in UTC if the UTC offsets of the texts differ.
        local: the timestamps without their UTC offsets, if these differ; otherwise None.
    """

    format: str
    times: pd.Series
    local: pd.Series | None = None

    @property
    def is_month_first(self) -> bool:
        """Return whether the format begins with the month as a number, and also has the day."""
        return self.format.startswith("%m") and "%d" in self.format

    @property
    def has_local_days(self) -> bool:
        """Return whether all texts have the same local time of day, but different ones in UTC."""
        if self.local is None:
            return False
        of_day = [(times - times.dt.normalize()).nunique() for times in (self.local, self.times)]
        return of_day[0] == 1 < of_day[1]


def read_dates(text: pd.Series) -> list[Reading]:
    """Return each way to read texts as whole dates, all in one format.

    Args:
        text: the texts; missing ones stay missing.

    Returns:
        An empty list, one reading, or two if the day or the month could come first.
    """
    present = text.dropna()
    if present.str.fullmatch(ISO).all():
        return _read_iso(text)
    if present.str.fullmatch(QUARTER).all():
        return [Reading("quarter", _read_quarters(text))]
    if present.str.fullmatch(r"\d{6,14}").all():
        form = counted_format(present.astype("int64"))
        return [] if form is None else [Reading(form, read_as(text, form))]
    return _distinct_readings(text, _formats(present.iloc[0], DATES))


def read_short_dates(text: pd.Series) -> list[Reading]:
    """Return each way to read texts as dates whose year lacks the century."""
    return _distinct_readings(text, _formats(text.dropna().iloc[0], SHORT_DATES))


def counted_format(numbers: pd.Series) -> str | None:
    """Return the format of whole numbers that look like dates from 1800 to 2199, or None."""
    numbers = numbers.drop_duplicates()
    first, last = str(numbers.min()), str(numbers.max())
    form = COUNTED_DATES.get(len(first))
    if form is None or len(last) > len(first) or not "1800" <= first[:4] <= last[:4] < "2200":
        return None
    return None if read_as(numbers.astype(str), form).hasnans else form


def read_as(text: pd.Series, form: str) -> pd.Series:
    """Read texts in a format of `pd.to_datetime`; texts in another format become missing."""
    return pd.to_datetime(text, format=form, errors="coerce", utc="%z" in form)


def first_ambiguous(readings: list[Reading]) -> tuple[int, str]:
    """Return the first row in which two readings differ, and both dates in words."""
    times = [reading.times for reading in readings]
    row = int((times[0] != times[1]).to_numpy().argmax())
    dates = [f"{time.iloc[row].day} {time.iloc[row]:%B %Y}" for time in times]
    return row, f"{dates[0]} or {dates[1]}"


def first_unreadable(text: pd.Series) -> int:
    """Return the row of the first text in another format than the texts before it."""
    present = text.notna().to_numpy()
    first = int(present.argmax())
    start = re.fullmatch(ISO, text.iloc[first])
    if start:
        zoned = _offsets(text).notna() == (start["offset"] is not None)
        times = pd.to_datetime(_with_z(text), format="ISO8601", errors="coerce", utc=True)
        return int((~(zoned & times.notna()) & present).argmax())
    forms = _formats(text.iloc[first], DATES)
    rows = [int((read_as(text, form).isna() & present).argmax()) for form in forms]
    return max(rows, default=first)


def _read_iso(text: pd.Series) -> list[Reading]:
    plain = _with_z(text)
    offsets = _offsets(text)[text.notna()]
    if offsets.notna().any() and offsets.isna().any():
        return []  # some have a UTC offset and others do not
    differ = offsets.nunique() > 1
    times = pd.to_datetime(plain, format="ISO8601", errors="coerce", utc=differ)
    local = None
    if differ:
        wall = plain.str.replace(r" ?(?:Z|[+-]\d\d(?::?\d\d)?)$", "", regex=True)
        local = pd.to_datetime(wall, format="ISO8601", errors="coerce")
    return [Reading("ISO8601", times, local)] if _is_whole(times, text) else []


def _with_z(text: pd.Series) -> pd.Series:
    # With format="ISO8601", pandas does not read the offset "UTC".
    return text.str.replace(r" ?UTC$", "Z", regex=True)


def _offsets(text: pd.Series) -> pd.Series:
    return text.str.extract(f"^{ISO}$")["offset"].str.strip()


def _read_quarters(text: pd.Series) -> pd.Series:
    parts = text.str.extract(QUARTER)
    years = parts[0].fillna(parts[3])
    months = 3 * parts[1].fillna(parts[2]).astype("Int64") - 2
    return pd.to_datetime(years + "-" + months.astype("string") + "-1", format="%Y-%m-%d")


def _distinct_readings(text: pd.Series, forms: Iterable[str]) -> list[Reading]:
    """Return the readings of all texts in these formats, each distinct result once."""
    readings: list[Reading] = []
    for form in forms:
        times = read_as(text, form)
        known = any(times.equals(reading.times) for reading in readings)
        if _is_whole(times, text) and not known:
            readings.append(Reading(form, times))
    return readings


def _is_whole(times: pd.Series, text: pd.Series) -> bool:
    return bool((times.notna() | text.isna()).all())


def _formats(sample: str, dates: Iterable[str]) -> list[str]:
    """Return the formats that fit a text."""
    parts = re.fullmatch(r"(.+?)(?:(,? |T)(\d{1,2}:\d\d.*))?", sample)
    if parts is None:
        return []
    date, between, time = parts.groups(default="")
    date_forms = [form for form in dates if _fits(date, form)]
    time_forms = [form for form in TIMES if _fits(time, form)] if time else [""]
    return [first + between + second for first, second in product(date_forms, time_forms)]


def _fits(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True

"""The frequency of timestamps, the timestamps that follow them, and gaps between them."""

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from seqkeras._arrays import Booleans, Integers
from seqkeras._checks import bad_argument, bad_data, check_integer
from seqkeras.errors import DataError, FileFormatError
from seqkeras.forecasting.calendars._offsets import (
    describe,
    is_fixed,
    move_by,
    name_step,
    season_of,
    step_of,
)

#: Weeks, and different weekdays in them, from which on other weekdays seem not to exist.
_LEAST_WEEKS = 2
_LEAST_WEEKDAYS = 3


@dataclass(frozen=True)
class Calendar:
    """The frequency at which the timestamps of series follow each other.

    Attributes:
        dtype: the dtype of the time column, as pandas names it: `datetime64[us]`,
            `datetime64[ns, UTC]`, `period[M]` or `int64`.
        freq: the step, as `name_step` names it, or the difference of integer timestamps.
        clock: the earliest time of day of the timestamps, such as `0 days 00:00:00`, if they have a
            time zone and their steps have no fixed duration; otherwise None. On a day on which the
            clock skips this time, the timestamp is later; `on_wall` recognizes it by `clock`.
    """

    dtype: str
    freq: str
    clock: str | None = None

    @classmethod
    def of(
        cls,
        times: pd.Index,
        indptr: Integers,
        freq: Any = None,
        *,
        dtype: str | None = None,
    ) -> "Calendar":
        """Return the calendar of the timestamps of many series.

        Args:
            times: the timestamps, series after series.
            indptr: where the series begin and end.
            freq: the frequency; None infers it from the timestamps.
            dtype: the dtype of timestamps to return; default: that of `times`.

        Raises:
            ArgumentError: `freq` is not a frequency.
            DataError: no frequency can be inferred from the timestamps.
        """
        search = CalendarSearch(freq)
        search.add(times, indptr)
        return search.calendar(dtype or str(times.dtype))

    @property
    def step(self) -> Any:
        """Return what one step adds: an integer or a pandas offset."""
        if self.is_period:
            return pd.PeriodDtype(self.freq).freq
        return step_of(self.freq) if self.is_dated else int(self.freq)

    @property
    def season_length(self) -> int:
        """Return the timesteps of the season that the frequency suggests, or 1.

        The season of steps of five minutes or more is a day, that of shorter ones an hour or a
        minute; that of days is a week, and that of weeks, months and quarters a year. For business
        days and hours, the offset defines how many of them a week or a day has.
        """
        return season_of(self.step) if self.is_dated else 1

    @property
    def label(self) -> str:
        """Return the frequency as messages show it."""
        return repr(self.freq) if self.is_period or not self.is_dated else describe(self.freq)

    def move(self, times: pd.Index, steps: int) -> pd.Index:
        """Move all timestamps by the same number of steps, back if negative."""
        if steps == 0:
            return times
        return self.off_wall(self.ahead(self.on_wall(times), steps), times)

    def on_wall(self, times: pd.Index) -> pd.Index:
        """Convert timestamps to local time without a time zone, unless steps have a fixed duration.

        Days, longer steps and business hours follow the local clock, also across daylight saving
        time. A timestamp that was
        moved because the clock skipped its time of day gets the skipped time back. Timestamps with
        steps of a fixed duration or without a time zone are returned unchanged.
        """
        if not isinstance(times, pd.DatetimeIndex) or times.tz is None or is_fixed(self.step):
            return times
        wall = times.tz_localize(None)
        usual = wall.normalize() + pd.Timedelta(self.clock or 0)
        moved = (wall != usual) & (self.off_wall(usual, times) == times)
        return wall.where(~moved, usual) if moved.any() else wall

    def ahead(self, wall: pd.Index, steps: int) -> pd.Index:
        """Move timestamps from `on_wall` by the same number of steps."""
        if self._is_even:
            return wall + (steps if self.is_period else steps * self.step)
        # For some offsets pandas loops over the timestamps, so move those that series share once.
        codes, unique = pd.factorize(wall)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
            return move_by(self.step, unique, steps)[codes]

    def off_wall(self, local: pd.Index, like: pd.Index) -> pd.Index:
        """Undo `on_wall`: return timestamps in the time zone of `like`."""
        if not isinstance(like, pd.DatetimeIndex) or local.tz == like.tz:
            return local
        return local.tz_localize(
            like.tz, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward"
        )

    def ticks_of_step(self, times: pd.Index) -> int | None:
        """Return what one step adds to the integers of timestamps, or None if it varies."""
        if not self.is_dated:
            return int(self.step)
        if isinstance(times, pd.PeriodIndex):
            return int(self.step.n)
        if isinstance(self.step, pd.offsets.Day):
            duration = pd.Timedelta(days=self.step.n)
        elif isinstance(self.step, pd.offsets.Tick):
            duration = pd.Timedelta(self.step)
        else:
            return None
        return int(duration // pd.Timedelta(1, times.unit))

    def shift(self, times: pd.Index, steps: Integers) -> pd.Index:
        """Move each timestamp by its own number of steps, back if negative."""
        if not self.is_dated:
            return times + steps * self.step
        if isinstance(times, pd.PeriodIndex):
            return times + steps
        dtype = str(times.dtype)
        numbers = to_integers(times)
        if is_fixed(self.step):
            duration = pd.Timedelta(self.step).to_timedelta64()
            ticks = duration // np.timedelta64(1, times.unit)
            return from_integers(numbers + steps * ticks, dtype)
        # Other steps vary in length: move all timestamps with the same number of steps together.
        moved = np.empty_like(numbers)
        order = np.argsort(steps, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(steps[order])) + 1):
            if len(rows):
                together = self.move(times[rows], int(steps[rows[0]]))
                moved[rows] = to_integers(together.as_unit(times.unit))
        return from_integers(moved, dtype)

    def span(self, times: pd.Index, first: int, last: int) -> pd.Index:
        """Return the timestamps from `first` to `last` steps after each timestamp.

        Returns:
            `(len(times) * (last - first + 1),)`: all for the first timestamp, then all for the
            next.

        Raises:
            DataError: the dtype of integer timestamps is too small.
        """
        count = last - first + 1
        if self._is_even:
            steps = np.tile(np.arange(first, last + 1), len(times))
            moved = self.shift(times.repeat(count), steps)
        else:
            wall = self.on_wall(times)
            by_step = [self.ahead(wall, step) if step else wall for step in range(first, last + 1)]
            order = np.arange(len(times) * count).reshape(count, len(times)).T.ravel()
            moved = self.off_wall(by_step[0].append(by_step[1:])[order], times)
        converted = moved.astype(self.dtype)
        if not self.is_dated:
            # If int64 overflows, a later timestamp is below the one from which it is counted.
            rows = moved.to_numpy().reshape(-1, count)
            later = rows[:, max(0, 1 - first) :]
            overflows = (later < np.asarray(times)[:, np.newaxis]).any()
            if overflows or not np.array_equal(converted, moved):
                raise bad_data(
                    "Timestamps after the last",
                    "larger integers",
                    f"fit into {self.dtype}",
                    "Use smaller integers." if self.dtype == "int64" else "Convert them to int64.",
                )
        return converted

    def first_break(self, times: pd.Index, follows: Booleans) -> int | None:
        """Return the row of the first timestamp that is not one step after the previous one.

        Args:
            times: the timestamps, series after series.
            follows: `(rows - 1,)`, whether the next row belongs to the same series.
        """
        if len(times) < 2:
            return None
        wall = self.on_wall(times)
        broken = follows & np.asarray(self.ahead(wall[:-1], 1) != wall[1:])
        return int(np.argmax(broken)) + 1 if broken.any() else None

    @property
    def is_period(self) -> bool:
        """Return whether timestamps are periods, which have their own frequency."""
        return self.dtype.startswith("period")

    @property
    def is_fixed(self) -> bool:
        """Return whether every step has the same duration, as hours do and days do not."""
        return self.is_dated and is_fixed(self.step)

    @property
    def _is_even(self) -> bool:
        """Return whether a number of steps spans the same duration after any timestamp."""
        return not self.is_dated or self.is_period or is_fixed(self.step)

    @property
    def is_dated(self) -> bool:
        return self.dtype.startswith(("datetime64", "period"))


class CalendarSearch:
    """Finds the calendar of the timestamps of many series, which it reads in parts.

    Args:
        freq: the frequency; None infers it from the timestamps.
    """

    def __init__(self, freq: Any = None) -> None:
        self._freq = freq
        self._name: str | None = None  # of the frequency of periods, or of the one passed
        self._inferred: tuple[int, str] | None = None  # rows of a series, and its frequency
        self._steps: Counter[int] = Counter()
        self._clock: pd.Timedelta | None = None
        self._first: pd.Index = pd.Index([])
        self._longest = 0

    def add(self, times: pd.Index, indptr: Integers) -> None:
        """Read whole series.

        Args:
            times: the timestamps, series after series.
            indptr: where the series begin and end.

        Raises:
            ArgumentError: the frequency passed is none of these timestamps.
        """
        if not self._longest:
            self._first = times
        self._longest = max(self._longest, int(np.diff(indptr).max(initial=0)))
        if isinstance(times, pd.PeriodIndex):
            if self._freq is not None and self._freq not in (times.freqstr, times.freq):
                expected = f"{times.freqstr!r}, the frequency of the periods"
                raise bad_argument("freq", self._freq, expected)
            self._name = times.freqstr
            return
        if self._freq is not None:
            self._name = _named_step(self._freq, times)
        elif isinstance(times, pd.DatetimeIndex):
            self._infer(times, indptr)
        else:
            self._count(times, indptr)
        if getattr(times, "tz", None) is not None:
            wall = times.tz_localize(None)
            earliest = (wall - wall.normalize()).min()
            self._clock = earliest if self._clock is None else min(earliest, self._clock)

    def calendar(self, dtype: str) -> Calendar:
        """Return the calendar of all series.

        Args:
            dtype: the dtype of timestamps to return.

        Raises:
            DataError: no frequency can be inferred from the timestamps.
        """
        freq = self._name or self._inferred_name()
        clock = None
        if self._clock is not None and not is_fixed(step_of(freq)):
            clock = str(self._clock)
        return Calendar(dtype, freq, clock)

    def _infer(self, times: pd.DatetimeIndex, indptr: Integers) -> None:
        """Infer the frequency from the longest series from which pandas can infer one.

        A series with gaps has none as a whole, so stretches of eight rows are tried after it.
        """
        lengths = np.diff(indptr)
        for number in np.argsort(-lengths, kind="stable"):
            if self._inferred is not None and lengths[number] <= self._inferred[0]:
                return
            series = times[indptr[number] : indptr[number + 1]]
            starts = range(0, min(len(series), 400), 4)
            for stretch in [series, *(series[start : start + 8] for start in starts)]:
                freq = _infer(stretch) if len(stretch) >= 3 else None
                if freq is not None:
                    self._inferred = (len(series), freq)
                    return

    def _count(self, times: pd.Index, indptr: Integers) -> None:
        """Count the steps between integers."""
        steps = np.delete(np.diff(to_integers(times)), indptr[1:-1] - 1)
        values, first, counts = np.unique(steps, return_index=True, return_counts=True)
        for place in np.argsort(first):  # of equally frequent steps, the first counts
            self._steps[int(values[place])] += int(counts[place])

    def _inferred_name(self) -> str:
        if self._inferred is not None:
            return self._inferred[1]
        if self._steps:
            return str(self._steps.most_common(1)[0][0])
        if not isinstance(self._first, pd.DatetimeIndex):
            raise _no_frequency("a single row in each series")
        if self._longest < 3:
            raise _no_frequency("fewer than three rows in each series")
        first = ", ".join(str(time) for time in self._first[:4])
        raise _no_frequency(f"irregular timestamps, {first}, ...", advise_weekdays(self._first))


def to_integers(times: pd.Index) -> Integers:
    """Convert timestamps into integers that grow with time."""
    return np.asarray(times if times.dtype.kind in "iu" else times.asi8, dtype=np.int64)


def from_integers(numbers: Integers, dtype: str) -> pd.Index:
    """Convert the integers of `to_integers` back into timestamps of a dtype.

    Raises:
        FileFormatError: timestamps cannot have this dtype.
    """
    dated = re.fullmatch(r"datetime64\[(s|ms|us|ns)(?:, (.+))?\]", dtype)
    if dated:
        times = pd.DatetimeIndex(numbers.view(f"M8[{dated[1]}]"))
        return times.tz_localize("UTC").tz_convert(dated[2]) if dated[2] else times
    if dtype.startswith("period["):
        return pd.PeriodIndex.from_ordinals(numbers, freq=dtype[7:-1])
    if not re.fullmatch(r"u?int(8|16|32|64)", dtype):
        raise FileFormatError(f"{dtype!r} is not a dtype of timestamps.")
    return pd.Index(numbers.astype(dtype))


def _named_step(freq: Any, times: pd.Index) -> str:
    if isinstance(times, pd.DatetimeIndex):
        return name_step(freq, times)
    fix = "The timestamps are integers: pass their difference, such as freq=1."
    return str(check_integer("freq", freq, fix=fix))


def advise_weekdays(times: pd.Index) -> str:
    """Return how to name the weekdays of days, if some weekdays never occur; otherwise nothing.

    Returns:
        A sentence that begins with a space, or `""`.
    """
    if not isinstance(times, pd.DatetimeIndex) or not (times == times.normalize()).all():
        return ""
    weekdays = np.unique(times.day_of_week)
    weeks = (times.max() - times.min()).days // 7
    # Weeks, months and the like have few weekdays, or all.
    if weeks < _LEAST_WEEKS or not _LEAST_WEEKDAYS <= len(weekdays) < 7:
        return ""
    mask = " ".join(np.array(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])[weekdays])
    return (
        " If there are no other weekdays, pass "
        f"Columns(freq=pd.offsets.CustomBusinessDay(weekmask={mask!r}))."
    )


def _infer(times: pd.DatetimeIndex) -> str | None:
    with warnings.catch_warnings():
        # pandas 3 warns that it will return an offset instead of text; both work here.
        warnings.simplefilter("ignore", DeprecationWarning)
        freq = pd.infer_freq(times)
    return str(to_offset(freq).freqstr) if freq is not None else None


def _no_frequency(why: str, fix: str = "") -> DataError:
    return bad_data(
        "df",
        why,
        "have timestamps of one frequency",
        "Bring them to a regular grid, for example with df.resample, and pass "
        f"Columns(freq=...), such as freq='D' or freq=pd.DateOffset(months=1).{fix}",
    )

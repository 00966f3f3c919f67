"""The time stamps of series: their frequency, what comes next, and whether one is missing."""

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries.frequencies import to_offset

from seqkeras._checks import bad_argument, check_integer
from seqkeras.errors import DataError, FileFormatError

#: Aliases that pandas 2.2 renamed and pandas 3 no longer takes.
RENAMED = {
    "M": "ME", "BM": "BME", "SM": "SME", "CBM": "CBME", "Q": "QE", "BQ": "BQE",
    "A": "YE", "Y": "YE", "BA": "BYE", "BY": "BYE", "AS": "YS", "BAS": "BYS",
    "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns",
}  # fmt: skip

#: Timesteps of one season for frequencies that count in calendar units.
SEASONS = {"D": 7, "B": 5, "W": 52, "M": 12, "Q": 4, "Y": 1}


@dataclass(frozen=True)
class Calendar:
    """Which stamps follow each other: one step of a frequency at a time.

    Attributes:
        dtype: of the time column, as pandas names it: `datetime64[us]`, `datetime64[ns, UTC]`,
            `period[M]` or `int64`.
        freq: the step, as pandas names it, or the difference of integer stamps.
        clock: in a time zone, and where steps are days or longer, the earliest time of day of a
            stamp, such as `0 days 00:00:00`. It tells which stamps the clock has put off, in zones
            where it skips this time once a year. None elsewhere.
    """

    dtype: str
    freq: str
    clock: str | None = None

    @classmethod
    def of(
        cls,
        times: pd.Index,
        indptr: npt.NDArray[np.int64],
        freq: Any = None,
        *,
        dtype: str | None = None,
    ) -> "Calendar":
        """The calendar of the stamps of many series; `freq=None` reads it from the stamps.

        `dtype` is that of stamps to be given, where it is not the one of `times`.

        Raises:
            ArgumentError: `freq` is not a frequency.
            DataError: the stamps do not show one.
        """
        if isinstance(times, pd.PeriodIndex):
            if freq is not None and freq != times.freqstr:
                raise bad_argument("freq", freq, f"{times.freqstr!r}, as the periods have it")
            return cls(str(times.dtype), times.freqstr)
        infer = _infer_offset if isinstance(times, pd.DatetimeIndex) else _modal_step
        freq = infer(times, indptr) if freq is None else _parse(freq, times)
        return cls(dtype or str(times.dtype), freq, _clock(times, freq))

    @property
    def step(self) -> Any:
        """What one step adds: an integer or a pandas offset."""
        if self.is_period:
            return pd.PeriodDtype(self.freq).freq
        return to_offset(self.freq) if self.is_dated else int(self.freq)

    @property
    def season_length(self) -> int:
        """Timesteps of the season that the frequency suggests; 1 where it suggests none.

        A day for steps of five minutes or more, else an hour or a minute; a week for days, a year
        for weeks, months and quarters.
        """
        if not self.is_dated:
            return 1
        step = self.step
        if _is_fixed(step):
            for whole in ("1D", "1h", "1min"):
                count = pd.Timedelta(whole) / pd.Timedelta(step)
                if 1 < count <= 288 and count == int(count):
                    return int(count)
            return 1
        season = SEASONS.get(_unit(step), 1)
        return season // step.n if season % step.n == 0 else 1

    def move(self, times: pd.Index, steps: int) -> pd.Index:
        """Each stamp moved by a number of steps, back if negative."""
        return self.off_wall(self._ahead(self.on_wall(times), steps), times) if steps else times

    def on_wall(self, times: pd.Index) -> pd.Index:
        """Stamps as the clock on the wall shows them, where steps are counted by it.

        Days and longer are, whatever daylight saving does. A stamp of a time that the clock skipped
        is the first after it; here it is what the clock would have shown.
        """
        if not isinstance(times, pd.DatetimeIndex) or times.tz is None or _is_fixed(self.step):
            return times
        wall = times.tz_localize(None)
        usual = wall.normalize() + pd.Timedelta(self.clock or 0)
        put_off = (wall != usual) & (self.off_wall(usual, times) == times)
        return wall.where(~put_off, usual) if put_off.any() else wall

    def _ahead(self, wall: pd.Index, steps: int) -> pd.Index:
        return wall + steps if isinstance(wall, pd.PeriodIndex) else wall + steps * self.step

    def off_wall(self, local: pd.Index, like: pd.Index) -> pd.Index:
        """What `on_wall` was given, in the time zone of the stamps `like`."""
        if not isinstance(like, pd.DatetimeIndex) or local.tz == like.tz:
            return local
        return local.tz_localize(
            like.tz, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward"
        )

    def ticks_of_step(self, times: pd.Index) -> int | None:
        """What one step adds to the integers of such stamps; None where that varies."""
        if not self.is_dated:
            return int(self.step)
        if isinstance(times, pd.PeriodIndex):
            return int(self.step.n)
        if not isinstance(self.step, pd.offsets.Tick | pd.offsets.Day):
            return None
        span = (
            pd.Timedelta(days=self.step.n) if isinstance(self.step, pd.offsets.Day) else self.step
        )
        return int(pd.Timedelta(span) // pd.Timedelta(1, times.unit))

    def shift(self, times: pd.Index, steps: npt.NDArray[np.int64]) -> pd.Index:
        """Each stamp moved by its own number of steps, back if negative."""
        if not self.is_dated:
            return times + steps * self.step
        if isinstance(times, pd.PeriodIndex):
            return times + steps
        dtype, numbers = str(times.dtype), to_integers(times)
        if _is_fixed(self.step):
            duration = pd.Timedelta(self.step).to_timedelta64()
            return from_integers(
                numbers + steps * (duration // np.timedelta64(1, times.unit)), dtype
            )
        # Other frequencies are counted in calendars: at once for all stamps that move as far.
        moved = np.empty_like(numbers)
        order = np.argsort(steps, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(steps[order])) + 1):
            if len(rows):
                alike = self.move(times[rows], int(steps[rows[0]]))
                moved[rows] = to_integers(alike.as_unit(times.unit))
        return from_integers(moved, dtype)

    def span(self, times: pd.Index, first: int, last: int) -> pd.Index:
        """For each stamp, those from `first` to `last` steps away; one stamp after the other."""
        count = last - first + 1
        if self._is_even:
            steps = np.tile(np.arange(first, last + 1), len(times))
            together = self.shift(times.repeat(count), steps)
        else:
            wall = self.on_wall(times)
            moved = [self._ahead(wall, step) if step else wall for step in range(first, last + 1)]
            order = np.arange(len(times) * count).reshape(count, len(times)).T.ravel()
            together = self.off_wall(moved[0].append(moved[1:])[order], times)
        spread = together.astype(self.dtype)
        if not self.is_dated:
            # In int64 itself a stamp that is too large is below the one that it is counted from.
            rows = together.to_numpy().reshape(-1, count)
            wrapped = np.any((rows < np.asarray(times)[:, np.newaxis])[:, max(0, 1 - first) :])
            if wrapped or not np.array_equal(spread, together):
                fix = "Use smaller ones." if self.dtype == "int64" else "Use int64."
                raise DataError(f"The stamps after the last are beyond {self.dtype}. {fix}")
        return spread

    def first_break(self, times: pd.Index, follows: npt.NDArray[np.bool_]) -> int | None:
        """The number of the first stamp that is not one step after the stamp before it.

        `follows[i]` says that stamp `i + 1` belongs to the same series as stamp `i`.
        """
        if len(times) < 2:
            return None
        wall = self.on_wall(times)
        broken = follows & np.asarray(self._ahead(wall[:-1], 1) != wall[1:])
        return int(np.argmax(broken)) + 1 if broken.any() else None

    @property
    def is_period(self) -> bool:
        """Whether stamps are periods, which bring their own frequency."""
        return self.dtype.startswith("period")

    @property
    def is_fixed(self) -> bool:
        """Whether every step has the same duration, as hours have, and days have not."""
        return self.is_dated and _is_fixed(self.step)

    @property
    def _is_even(self) -> bool:
        """Whether a number of steps is the same distance from any stamp."""
        return not self.is_dated or self.is_period or _is_fixed(self.step)

    @property
    def is_dated(self) -> bool:
        return self.dtype.startswith(("datetime64", "period"))


def to_integers(times: pd.Index) -> npt.NDArray[np.int64]:
    """Stamps as integers that grow with time."""
    return np.asarray(times if times.dtype.kind in "iu" else times.asi8, dtype=np.int64)


def from_integers(numbers: npt.NDArray[np.int64], dtype: str) -> pd.Index:
    """Stamps of the given dtype from the integers of `to_integers`.

    Raises:
        FileFormatError: the dtype is not one that stamps have.
    """
    dated = re.fullmatch(r"datetime64\[(s|ms|us|ns)(?:, (.+))?\]", dtype)
    if dated:
        stamps = pd.DatetimeIndex(numbers.view(f"M8[{dated[1]}]"))
        return stamps.tz_localize("UTC").tz_convert(dated[2]) if dated[2] else stamps
    if dtype.startswith("period["):
        return pd.PeriodIndex.from_ordinals(numbers, freq=dtype[7:-1])
    if not re.fullmatch(r"u?int(8|16|32|64)", dtype):
        raise FileFormatError(f"{dtype!r} is not a dtype of time stamps.")
    return pd.Index(numbers.astype(dtype))


def _is_fixed(step: Any) -> bool:
    """Whether every step has the same duration; a day has not, where the clock changes."""
    return isinstance(step, pd.offsets.Tick) and not isinstance(step, pd.offsets.Day)


def _clock(times: pd.Index, freq: str) -> str | None:
    if not isinstance(times, pd.DatetimeIndex) or times.tz is None or _is_fixed(to_offset(freq)):
        return None
    wall = times.tz_localize(None)
    return str((wall - wall.normalize()).min())


def _unit(step: Any) -> str:
    """The calendar unit that an offset counts in: one of the keys of `SEASONS`, or another."""
    rule = str(step.rule_code).split("-")[0]
    if rule in SEASONS:
        return rule
    unit = re.fullmatch(r"B?(?P<unit>[MQY])[SE]", rule)
    return unit["unit"] if unit else rule


def _parse(freq: Any, times: pd.Index) -> str:
    if not isinstance(times, pd.DatetimeIndex):
        return str(check_integer("freq", freq, fix="The time stamps are integers."))
    fix = "For example 'h', 'D', 'W-SUN', 'MS', 'ME', 'QS', 'YS', '15min'."
    try:
        step = to_offset(_renamed(freq))
    except (ValueError, TypeError) as error:
        raise bad_argument("freq", freq, "a pandas frequency", fix) from error
    if step is None or isinstance(freq, Real) or step.n < 1:
        raise bad_argument("freq", freq, "a pandas frequency", fix)
    return str(step.freqstr)


def _renamed(freq: Any) -> Any:
    """The alias that pandas 2.2 and 3 both take for one of before."""
    parts = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Z]+)?", freq) if isinstance(freq, str) else None
    if not parts:
        return freq
    count, unit, anchor = parts.groups(default="")
    return count + RENAMED.get(unit, unit) + anchor


def _modal_step(times: pd.Index, indptr: npt.NDArray[np.int64]) -> str:
    steps = np.delete(np.diff(to_integers(times)), indptr[1:-1] - 1)
    if not len(steps):
        raise DataError(_no_frequency("a single row in each series"))
    return str(Counter(steps.tolist()).most_common(1)[0][0])


def _infer_offset(times: pd.DatetimeIndex, indptr: npt.NDArray[np.int64]) -> str:
    """The frequency of the first stretch of stamps that shows one, the longest series first."""
    for number in np.argsort(-np.diff(indptr), kind="stable"):
        series = times[indptr[number] : indptr[number + 1]]
        stretches = [series, *(series[i : i + 8] for i in range(0, min(len(series), 400), 4))]
        for stretch in stretches:
            freq = _infer(stretch) if len(stretch) >= 3 else None
            if freq is not None:
                return freq
    if np.all(np.diff(indptr) < 3):
        raise DataError(_no_frequency("fewer than three rows in each series"))
    shown = ", ".join(str(stamp) for stamp in times[:4])
    raise DataError(_no_frequency(f"irregular timestamps, {shown}, ..."))


def _infer(stamps: pd.DatetimeIndex) -> str | None:
    with warnings.catch_warnings():
        # pandas 3 announces an offset instead of a word; either is understood here.
        warnings.simplefilter("ignore", DeprecationWarning)
        freq = pd.infer_freq(stamps)
    return None if freq is None else str(to_offset(freq).freqstr)


def _no_frequency(why: str) -> str:
    return (
        f"df must have timestamps of one frequency. Got: {why}. Bring them to a regular grid, for "
        "example with df.resample, and pass Columns(freq=...), such as freq='D'."
    )

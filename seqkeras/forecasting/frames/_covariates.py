"""Covariates: columns beside the target, and how they become numbers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras.errors import DataError
from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.windows import GroupedArray

Floats = npt.NDArray[np.float64]
#: Says which series and stamp a row is of.
Where = Callable[[int], str]

#: Different words in a column of rows: each becomes a feature of the network.
MOST_WORDS = 64


@dataclass(frozen=True)
class Covariates:
    """Which covariates there are, and the words of those that are no numbers.

    A column of numbers or booleans is one feature of each timestep. One of text or categories has
    a feature for each word, 1 where it stands, and 0 in all of them for a word never seen.
    Static text, categories and booleans become integers instead, with 0 for what was never seen.

    Attributes:
        past: columns that are known up to the last row.
        future: columns that are known over the horizon as well.
        static: columns that do not change within a series.
        calendar: names of calendar features, which are known as far as anyone asks.
        words: for each column that is no numbers, its words.
    """

    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    words: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the frame that are read."""
        return self.past + self.future + self.static

    @property
    def past_width(self) -> int:
        """Features of each timestep that are known up to the last row alone."""
        return sum(self._width(name) for name in self.past)

    @property
    def future_width(self) -> int:
        """Features of each timestep that are known over the horizon."""
        return sum(self._width(name) for name in self.future) + self._calendar_width

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the vocabulary of each static column of words, with the slot 0."""
        return tuple(len(self.words[name]) + 1 for name in self.static if name in self.words)

    @property
    def is_number(self) -> npt.NDArray[np.bool_]:
        """For each feature of a timestep whether it is a column of numbers, which is scaled."""
        names = self.past + self.future
        flags = [name not in self.words for name in names for _ in range(self._width(name))]
        return np.array(flags + [False] * self._calendar_width, dtype=bool)

    def widths(self, names: tuple[str, ...]) -> list[tuple[str, int]]:
        """How many features of a timestep each of these past or future columns is."""
        return [(name, self._width(name)) for name in names]

    @property
    def calendar_widths(self) -> list[tuple[str, int]]:
        """How many features of a timestep each feature of the calendar is."""
        return [(name, _calendar_features.width([name])) for name in self.calendar]

    def learn(self, df: pd.DataFrame) -> "Covariates":
        """The same with the words that the columns of `df` hold.

        Raises:
            DataError: a column holds neither numbers nor words.
        """
        words = {}
        for name in self.columns:
            kind = df[name].dtype
            if not _is_words(kind, static=name in self.static):
                continue
            found = _words(df[name])
            if name not in self.static and len(found) > MOST_WORDS:
                raise DataError(
                    f"Column {name!r} has {len(found)} different values, each of which would be a "
                    f"feature; at most {MOST_WORDS}. Give it as numbers, or join rare values."
                )
            words[name] = found
        return replace(self, words=words)

    def rows(self, df: pd.DataFrame, times: pd.Index, where: Where, calendar: Calendar) -> Floats:
        """Features of each timestep, `(rows, past_width + future_width)`; past ones come first.

        Args:
            df: has the columns.
            times: the stamp of each row.
            where: names a row in errors.
            calendar: of the stamps.

        Raises:
            DataError: a value is missing, or not of the kind that it was in `fit`.
        """
        return self._encode(df, self.past + self.future, times, where, calendar)

    def ahead(self, df: pd.DataFrame, times: pd.Index, where: Where, calendar: Calendar) -> Floats:
        """Features that are known over the horizon, `(rows, future_width)`."""
        return self._encode(df, self.future, times, where, calendar)

    def of_series(self, df: pd.DataFrame, where: Where) -> tuple[Floats, npt.NDArray[np.int32]]:
        """Static numbers `(rows, numbers)` and words `(rows, words)`, from a row of each series."""
        numbers = [_numbers(df[name], where) for name in self.static if name not in self.words]
        words = [
            _codes(df[name], self.words[name], where) for name in self.static if name in self.words
        ]
        return _columns(numbers, len(df), np.float64), _columns(words, len(df), np.int32)

    def recode(self, known: "Known", other: "Covariates") -> "Known":
        """These covariates by the words of `other`, which has the same columns.

        A word that `other` does not have is none in a row, and 0 of a series.
        """
        if self.words == other.words:
            return known
        columns: list[int] = []
        first = 0
        for name, width in self.widths(self.past + self.future):
            places = _places(self.words[name], other.words[name]) if name in self.words else [0]
            columns += [-1 if place < 0 else first + place for place in places]
            first += width
        columns += range(first, first + self._calendar_width)
        rows = np.pad(known.rows.values, [(0, 0), (0, 1)])[:, columns]  # the last one is of zeros
        words = [name for name in self.static if name in self.words]
        tables = [
            np.array([0, *(1 + one for one in _places(other.words[name], self.words[name]))])
            for name in words
        ]
        codes = [table[known.categories[:, number]] for number, table in enumerate(tables)]
        categories = _columns(codes, len(known.categories), np.int32)
        return Known(GroupedArray(rows, known.rows.indptr), known.static, categories)

    def _width(self, name: str) -> int:
        return len(self.words[name]) if name in self.words else 1

    @property
    def _calendar_width(self) -> int:
        return sum(width for _, width in self.calendar_widths)

    def _encode(
        self,
        df: pd.DataFrame,
        names: Iterable[str],
        times: pd.Index,
        where: Where,
        calendar: Calendar,
    ) -> Floats:
        parts = [np.empty((len(times), 0))]
        for name in names:
            if name in self.words:
                codes = _codes(df[name], self.words[name], where)
                parts.append(codes[:, np.newaxis] == 1 + np.arange(len(self.words[name])))
            else:
                parts.append(_numbers(df[name], where)[:, np.newaxis])
        parts.append(_calendar_features.encode(self.calendar, times, calendar))
        return np.concatenate(parts, axis=1, dtype=np.float64)


@dataclass(frozen=True)
class Known:
    """The covariates of series as numbers.

    Attributes:
        rows: `(rows, features)`, not scaled.
        static: `(series, numbers)`, not scaled.
        categories: `(series, words)`, integers from 0.
    """

    rows: GroupedArray
    static: Floats
    categories: npt.NDArray[np.int32]

    @classmethod
    def nothing(cls, indptr: npt.NDArray[np.int64]) -> "Known":
        """No covariates of series with these bounds."""
        series = len(indptr) - 1
        rows = GroupedArray(np.empty((indptr[-1], 0)), indptr)
        return cls(rows, np.empty((series, 0)), np.empty((series, 0), np.int32))

    def select(self, start: npt.ArrayLike, stop: npt.ArrayLike) -> "Known":
        """Some rows of each series."""
        return replace(self, rows=self.rows.select(start, stop))

    def take(self, series: npt.NDArray[np.int64]) -> "Known":
        """Some of the series."""
        return Known(self.rows.take(series), self.static[series], self.categories[series])


def _is_words(dtype: Any, *, static: bool) -> bool:
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_object_dtype(dtype):
        return True
    is_bool = pd.api.types.is_bool_dtype(dtype)
    return bool(pd.api.types.is_string_dtype(dtype) or (static and is_bool))


def _words(column: pd.Series) -> tuple[Any, ...]:
    found = [plain(one) for one in column.dropna().unique()]
    for one in found:
        if not isinstance(one, (str, bool, Real)):
            raise DataError(
                f"Column {column.name!r} must hold numbers, text or categories. Got: {one!r} "
                f"({type(one).__name__}). Convert it: df[{column.name!r}].astype(str)."
            )
    return tuple(sorted(found, key=lambda one: (str(type(one)), one)))


def _places(words: tuple[Any, ...], wanted: tuple[Any, ...]) -> list[int]:
    """Where each wanted word stands among words; -1 if it does not."""
    places = {word: place for place, word in enumerate(words)}
    return [places.get(one, -1) for one in wanted]


def plain(value: Any) -> Any:
    """A number of NumPy as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def codes_of(found: Iterable[Any], words: tuple[Any, ...], label: str) -> npt.NDArray[np.int32]:
    """1 + the number of each word, 0 for what is not among `words`.

    Raises:
        DataError: what is found is of another type than the words.
    """
    given = [plain(one) for one in found]
    kinds = {isinstance(word, str) for word in words}
    strange = [one for one in given if kinds and isinstance(one, str) not in kinds]
    if strange:
        raise DataError(
            f"{label} held words such as {words[0]!r} in fit. Got: {strange[0]!r}, which is of "
            "another type, and would be taken for a word that was never seen. Convert it to the "
            "type that it had."
        )
    slots = {word: slot for slot, word in enumerate(words, start=1)}
    return np.array([slots.get(one, 0) for one in given], dtype=np.int32)


def _codes(column: pd.Series, words: tuple[Any, ...], where: Where) -> npt.NDArray[np.int32]:
    numbers, found = pd.factorize(column)
    _check_present(numbers >= 0, column, where)
    return codes_of(found, words, f"Column {column.name!r}")[numbers]


def _numbers(column: pd.Series, where: Where) -> Floats:
    kind = column.dtype
    if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind):
        raise DataError(
            f"Column {column.name!r} must hold numbers, as it did in fit, or text or categories "
            f"if it is to be words. Got: dtype {kind}. Convert it, for example with pd.to_numeric."
        )
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    _check_present(np.abs(values) < np.finfo(np.float32).max, column, where)
    return values


def _check_present(present: npt.NDArray[np.bool_], column: pd.Series, where: Where) -> None:
    if present.all():
        return
    row = int(np.argmin(present))
    raise DataError(
        f"Column {column.name!r} holds {plain(column.iloc[row])!r} for {where(row)} "
        f"({int((~present).sum())} such rows in all). Every covariate must have a finite value in "
        "every row: fill it in, or leave the column away."
    )


def _columns(parts: list[Any], rows: int, dtype: type) -> npt.NDArray[Any]:
    return np.stack(parts, axis=1).astype(dtype) if parts else np.empty((rows, 0), dtype)

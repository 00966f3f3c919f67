"""Covariates: columns other than the target, encoded as numbers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._arrays import Array, Booleans, Floats, Integers
from seqkeras._checks import bad_data
from seqkeras.forecasting.calendars import _calendar_features
from seqkeras.forecasting.calendars._calendar import Calendar
from seqkeras.forecasting.frames._advice import mend_numbers
from seqkeras.windows import GroupedArray

#: Describes a row in messages by its series and timestamp.
Where = Callable[[int], str]

#: Codes of categories: integers from 0.
Codes = npt.NDArray[np.int32]

#: Largest number of categories in a past or future column; each becomes a feature.
MAX_CATEGORIES = 64


@dataclass(frozen=True)
class Covariates:
    """The columns of covariates, and the categories of those that do not hold numbers.

    A past or future column of numbers or booleans is one feature of each timestep. A column of
    text or categories has one feature for each category: 1 where the row has it, 0 elsewhere. A
    category that `fit` has not seen is 0 in all of them. Static text, categories and booleans
    become integer codes instead, with 0 for a category that `fit` has not seen.

    Attributes:
        past: columns that are known up to the last row.
        future: columns that are also known over the horizon.
        static: columns that do not change within a series.
        calendar: names of calendar features, which are known for any timestamp.
        categories: the categories of each column that does not hold numbers.
    """

    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    categories: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of all columns."""
        return self.past + self.future + self.static

    @property
    def past_width(self) -> int:
        """Return the number of features of a timestep that are known up to the last row only."""
        return sum(self._width(name) for name in self.past)

    @property
    def future_width(self) -> int:
        """Return the number of features of a timestep that are known over the horizon."""
        return sum(self._width(name) for name in self.future) + self._calendar_width

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the number of codes of each static column of categories, including code 0."""
        return tuple(1 + len(self.categories[name]) for name in self._static_categories)

    @property
    def is_number(self) -> Booleans:
        """Return for each feature of a timestep whether it comes from a column of numbers."""
        flags = []
        for name, width in self.widths(self.past + self.future):
            flags += [name not in self.categories] * width
        return np.array(flags + [False] * self._calendar_width, dtype=bool)

    def widths(self, names: tuple[str, ...]) -> list[tuple[str, int]]:
        """Return the number of features of a timestep from each of these past or future columns."""
        return [(name, self._width(name)) for name in names]

    @property
    def calendar_widths(self) -> list[tuple[str, int]]:
        """Return the number of features of a timestep from each calendar feature."""
        return [(name, _calendar_features.width([name])) for name in self.calendar]

    def learn(self, df: pd.DataFrame) -> "Covariates":
        """Return these covariates with the categories in `df`.

        Raises:
            DataError: a column holds neither numbers nor categories, or too many categories.
        """
        learned = {}
        for name in self.columns:
            is_static = name in self.static
            if not is_categorical(df[name].dtype, static=is_static):
                continue
            learned[name] = _categories_in(df[name])
            count = len(learned[name])
            if count > MAX_CATEGORIES and not is_static:
                raise bad_data(
                    f"Column {name!r}",
                    f"{count} different values",
                    f"have at most {MAX_CATEGORIES} categories, because each becomes a feature",
                    "Convert it to numbers, or merge rare values.",
                )
        return replace(self, categories=learned)

    def rows(self, df: pd.DataFrame, times: pd.Index, where: Where, calendar: Calendar) -> Floats:
        """Encode the features of each timestep, past ones first.

        Args:
            df: the columns.
            times: the timestamp of each row.
            where: describes a row in messages.
            calendar: the calendar of the timestamps.

        Returns:
            `(rows, past_width + future_width)`.

        Raises:
            DataError: a value is missing, or of another kind than in `fit`.
        """
        return self._encode(df, self.past + self.future, times, where, calendar)

    def ahead(self, df: pd.DataFrame, times: pd.Index, where: Where, calendar: Calendar) -> Floats:
        """Encode the features that are known over the horizon, `(rows, future_width)`."""
        return self._encode(df, self.future, times, where, calendar)

    def of_series(self, df: pd.DataFrame, where: Where) -> tuple[Floats, Codes]:
        """Encode the static columns from one row of each series.

        Returns:
            Numbers `(series, numbers)` and codes of categories `(series, categories)`.
        """
        numbers = [_numbers(df[name], where) for name in self.static_numbers]
        codes = [_codes(df[name], self.categories[name], where) for name in self._static_categories]
        return _columns(numbers, len(df), np.float64), _columns(codes, len(df), np.int32)

    def recode(self, known: "Known", other: "Covariates") -> "Known":
        """Translate encoded covariates into the categories of `other`, which has the same columns.

        Categories unknown to `other` become all zeros in rows and code 0 in static columns.
        """
        if self.categories == other.categories:
            return known
        sources: list[int] = []  # the old feature for each new one, or -1 for zeros
        start = 0
        for name, width in self.widths(self.past + self.future):
            places = [0]
            if name in self.categories:
                places = _places(self.categories[name], other.categories[name])
            sources += [start + place if place >= 0 else -1 for place in places]
            start += width
        sources += range(start, start + self._calendar_width)
        zeros_last = np.pad(known.rows.values, [(0, 0), (0, 1)])
        codes = []
        for number, name in enumerate(self._static_categories):
            places = _places(other.categories[name], self.categories[name])
            new_codes = np.array([0, *(1 + place for place in places)])
            codes.append(new_codes[known.categories[:, number]])
        return Known(
            GroupedArray(zeros_last[:, sources], known.rows.indptr),
            known.static,
            _columns(codes, len(known.categories), np.int32),
        )

    @property
    def static_numbers(self) -> list[str]:
        """Return the static columns that hold numbers."""
        return [name for name in self.static if name not in self.categories]

    @property
    def _static_categories(self) -> list[str]:
        return [name for name in self.static if name in self.categories]

    def _width(self, name: str) -> int:
        return len(self.categories[name]) if name in self.categories else 1

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
        parts: list[Array] = [np.empty((len(times), 0))]
        for name in names:
            if name in self.categories:
                codes = _codes(df[name], self.categories[name], where)
                parts.append(codes[:, np.newaxis] == 1 + np.arange(len(self.categories[name])))
            else:
                parts.append(_numbers(df[name], where)[:, np.newaxis])
        parts.append(_calendar_features.encode(self.calendar, times, calendar))
        return np.concatenate(parts, axis=1, dtype=np.float64)


@dataclass(frozen=True)
class Known:
    """The encoded covariates of series.

    Attributes:
        rows: `(rows, features)`, not scaled.
        static: `(series, numbers)`, not scaled.
        categories: `(series, columns)`, codes of static categories.
    """

    rows: GroupedArray
    static: Floats
    categories: Codes

    @classmethod
    def nothing(cls, indptr: Integers) -> "Known":
        """Return empty covariates for series with these bounds."""
        series = len(indptr) - 1
        rows = GroupedArray(np.empty((indptr[-1], 0)), indptr)
        return cls(rows, np.empty((series, 0)), np.empty((series, 0), np.int32))

    def select(self, start: npt.ArrayLike, stop: npt.ArrayLike) -> "Known":
        """Return rows `start[i]:stop[i]` of each series `i`."""
        return replace(self, rows=self.rows.select(start, stop))

    def take(self, series: Integers) -> "Known":
        """Return the covariates of some of the series."""
        return Known(self.rows.take(series), self.static[series], self.categories[series])


def plain(value: Any) -> Any:
    """Convert a NumPy scalar into a Python object."""
    return value.item() if isinstance(value, np.generic) else value


def codes_of(values: Iterable[Any], categories: tuple[Any, ...], label: str) -> Codes:
    """Return the code of each value: 1 + its position in the categories, or 0 if it is not there.

    Args:
        values: the values.
        categories: the categories seen in `fit`.
        label: the name of the column in messages.

    Raises:
        DataError: a value is text and the categories are not, or the other way round.
    """
    values = [plain(value) for value in values]
    expects_text = {isinstance(category, str) for category in categories}
    for value in values:
        if expects_text and isinstance(value, str) not in expects_text:
            raise bad_data(
                label,
                f"{value!r}, which has another type and would count as an unseen category",
                f"hold categories such as {categories[0]!r}, as in fit",
                "Convert it to the same type.",
            )
    codes = {category: code for code, category in enumerate(categories, start=1)}
    return np.array([codes.get(value, 0) for value in values], dtype=np.int32)


def is_categorical(dtype: Any, *, static: bool) -> bool:
    """Return whether a column of this dtype holds categories, not numbers."""
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_object_dtype(dtype):
        return True
    is_bool = pd.api.types.is_bool_dtype(dtype)
    return bool(pd.api.types.is_string_dtype(dtype) or (static and is_bool))


def _categories_in(column: pd.Series) -> tuple[Any, ...]:
    values = [plain(value) for value in column.dropna().unique()]
    for value in values:
        if not isinstance(value, (str, bool, Real)):
            raise bad_data(
                f"Column {column.name!r}",
                f"{value!r} ({type(value).__name__})",
                "hold numbers, text or categories",
                f"Convert it: df[{column.name!r}].astype(str).",
            )
    return tuple(sorted(values, key=lambda value: (str(type(value)), value)))


def _places(categories: Sequence[Any], values: Sequence[Any]) -> list[int]:
    """Return the position of each value in the categories, or -1."""
    places = {category: place for place, category in enumerate(categories)}
    return [places.get(value, -1) for value in values]


def _codes(column: pd.Series, categories: tuple[Any, ...], where: Where) -> Codes:
    numbers, values = pd.factorize(column)
    _check_present(numbers >= 0, column, where)
    return codes_of(values, categories, f"Column {column.name!r}")[numbers]


def _numbers(column: pd.Series, where: Where) -> Floats:
    dtype = column.dtype
    if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
        fix = _advise_numbers(column)
        if pd.api.types.is_datetime64_any_dtype(dtype):
            name = f"df[{column.name!r}]"
            fix = f"Count the days: {name} = ({name} - {name}.min()).dt.days."
        raise bad_data(
            f"Column {column.name!r}",
            f"dtype {dtype}",
            "hold numbers, text or categories, of the same kind as in fit",
            fix,
        )
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    _check_present(np.abs(values) < np.finfo(np.float32).max, column, where)
    return values


def _advise_numbers(column: pd.Series) -> str:
    code = mend_numbers(column)
    if not code:
        return "Convert it to numbers."
    label = f"df[{column.name!r}]"
    return f"Convert it: {label} = {code.format(label)}."


def _check_present(present: Booleans, column: pd.Series, where: Where) -> None:
    if present.all():
        return
    row = int(np.argmin(present))
    value = plain(column.iloc[row])
    count = int((~present).sum())
    raise bad_data(
        f"Column {column.name!r}",
        f"{value!r} for {where(row)} ({count} such rows in all)",
        "have a finite value in every row",
        "Fill in missing values, or do not use this column.",
    )


def _columns(parts: list[Any], rows: int, dtype: type) -> Array:
    return np.stack(parts, axis=1).astype(dtype) if parts else np.empty((rows, 0), dtype)

"""Where forecasts begin inside known series, what they read there, and what came: arrays alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras.windows import GroupedArray

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Origins:
    """Forecasts that begin after a number of rows of a series.

    Attributes:
        series: `(origins,)`, the number of the series.
        rows: `(origins,)`, how many of its rows come before the forecast.
    """

    series: Integers
    rows: Integers

    @classmethod
    def rolling(
        cls, lengths: Integers, *, windows: npt.ArrayLike, step: int, horizon: int
    ) -> "Origins":
        """The last `windows` of each series, `step` rows apart; the last ends with the series."""
        counts = np.broadcast_to(np.asarray(windows, np.int64), lengths.shape)
        series = np.repeat(np.arange(len(lengths)), counts)
        after = (np.cumsum(counts)[series] - 1) - np.arange(len(series))
        return cls(series, lengths[series] - horizon - step * after)

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, chosen: Any) -> "Origins":
        return Origins(self.series[chosen], self.rows[chosen])

    def before(self, values: GroupedArray, rows: int) -> npt.NDArray[Any]:
        """The `rows` rows before each origin, `(origins, rows)`."""
        return values.values[self._first(values) + np.arange(-rows, 0)]

    def after(self, values: GroupedArray, rows: int) -> npt.NDArray[Any]:
        """The `rows` rows from each origin on, `(origins, rows)`."""
        return values.values[self._first(values) + np.arange(rows)]

    def season(self, values: GroupedArray, rows: int, season_length: int) -> npt.NDArray[Any]:
        """The last season before each origin, repeated; with 1 the last value."""
        length = np.minimum(season_length, self.rows)[:, np.newaxis]
        return values.values[self._first(values) - length + np.arange(rows) % length]

    def _first(self, values: GroupedArray) -> Integers:
        return (values.indptr[self.series] + self.rows)[:, np.newaxis]


def seasonal_scales(
    values: GroupedArray, rows: Integers, season_length: int
) -> npt.NDArray[np.float64]:
    """What MASE divides by, from the first `rows[i]` rows of each series; NaN where there is none.

    See `seqkeras.scoring.mase`. Missing values do not count.
    """
    history = values.select(0, rows)
    starts = history.indptr[:-1]
    place = np.arange(len(history.values)) - np.repeat(starts, history.lengths)
    known = np.flatnonzero(place >= season_length)
    changes = np.zeros(len(place))
    changes[known] = np.abs(history.values[known] - history.values[known - season_length])
    counts = np.add.reduceat((place >= season_length) & ~np.isnan(changes), starts, dtype=np.int64)
    sums = np.add.reduceat(np.nan_to_num(changes), starts)
    return np.where(sums > 0, sums, np.nan) / np.maximum(1, counts)

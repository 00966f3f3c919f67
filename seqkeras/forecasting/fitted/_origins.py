"""Origins of forecasts inside series, the rows around them, and frames of such forecasts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seqkeras._arrays import Array, Floats, Integers
from seqkeras._checks import bad_data
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.forecasting.networks._predict import Forecasts
from seqkeras.scoring import seasonal_scales
from seqkeras.windows import GroupedArray


@dataclass(frozen=True)
class Origins:
    """Points inside series from which forecasts start.

    Attributes:
        series: `(origins,)`, series index of each origin.
        rows: `(origins,)`, number of rows of that series before the origin.
    """

    series: Integers
    rows: Integers

    @classmethod
    def rolling(
        cls, lengths: Integers, *, windows: npt.ArrayLike, step: int, horizon: int
    ) -> "Origins":
        """Return `windows` origins per series, `step` rows apart; a horizon follows the last."""
        counts = np.broadcast_to(np.asarray(windows, np.int64), lengths.shape)
        series = np.repeat(np.arange(len(lengths)), counts)
        later = (np.cumsum(counts)[series] - 1) - np.arange(len(series))
        return cls(series, lengths[series] - horizon - step * later)

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, chosen: Any) -> "Origins":
        return Origins(self.series[chosen], self.rows[chosen])

    def before(self, values: GroupedArray, rows: int) -> Array:
        """Return the `rows` rows before each origin, `(origins, rows)`."""
        return values.values[self._first(values) + np.arange(-rows, 0)]

    def after(self, values: GroupedArray, rows: int) -> Array:
        """Return the `rows` rows from each origin on, `(origins, rows)`."""
        return values.values[self._first(values) + np.arange(rows)]

    def season(self, values: GroupedArray, rows: int, season_length: int) -> Array:
        """Repeat the last season before each origin over `rows` rows."""
        length = np.minimum(season_length, self.rows)[:, np.newaxis]
        return values.values[self._first(values) - length + np.arange(rows) % length]

    def _first(self, values: GroupedArray) -> Integers:
        return (values.indptr[self.series] + self.rows)[:, np.newaxis]


def scales_before(values: GroupedArray, rows: Integers, season_length: int) -> Floats:
    """Return the divisor of MASE from the first `rows[i]` rows of each series, or NaN."""
    history = values.select(0, rows)
    return seasonal_scales(history.values, history.indptr, season_length)


def origin_frame(
    panel: Panel, origins: Origins, forecasts: Forecasts, gap: int = 0
) -> pd.DataFrame:
    """Return a long frame of forecasts with their actual values.

    Args:
        panel: the series.
        origins: where the forecasts begin.
        forecasts: `(origins, horizon)` by name.
        gap: number of steps to omit at the beginning of each forecast.
    """
    horizon = forecasts["yhat"].shape[1]
    back = panel.values.lengths[origins.series] - origins.rows
    cutoff = panel.calendar.shift(panel.last[origins.series], -back)
    key = {panel.columns.id: panel.ids[origins.series]} if panel.columns.id is not None else {}
    repeated = key | {"cutoff": cutoff.astype(panel.calendar.dtype)}
    stepwise = {panel.columns.target: origins.after(panel.values, horizon), **forecasts}
    return pd.DataFrame(
        {name: values.repeat(horizon - gap) for name, values in repeated.items()}
        | {panel.columns.time: panel.calendar.span(cutoff, gap + 1, horizon)}
        | {name: values[:, gap:].ravel() for name, values in stepwise.items()}
    )


def check_names(panel: Panel) -> None:
    """Check that no column of the series has the name of a column of `origin_frame`.

    Raises:
        DataError: a column has such a name.
    """
    names = panel.columns
    if "cutoff" in (names.id, names.time, names.target) or str(names.target).startswith("yhat"):
        expected = "have other names than cutoff and yhat..., which are columns of the result"
        raise bad_data("The columns of df", str(names), expected, "Rename the column.")

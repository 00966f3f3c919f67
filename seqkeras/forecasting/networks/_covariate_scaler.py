"""Scaling of covariates, within the reach of what `fit` saw."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seqkeras._arrays import Array, Floats, Floats32
from seqkeras._warnings import warn
from seqkeras.errors import FarValueWarning
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.windows import GroupedArray, StandardScaler

#: A scale in which every number becomes 0; finite, because files must hold it.
ENDLESS = 1e300
#: How many times as far from the mean as any value in `fit` a value is read.
FAR = 3.0
#: Where files do not say how far the values in `fit` were from the mean: in deviations, more than
#: those of a million rows can be.
_UNKNOWN_REACH = 1e3


@dataclass(frozen=True)
class ColumnScaler:
    """Scales columns of numbers to mean 0 and deviation 1.

    A constant column becomes 0, whatever comes later: the network learned nothing about it, and
    would apply its random initial weights to a new value. For the same reason a value that is more
    than `FAR` times as far from the mean as any in `fit` is read as one at that distance.

    Attributes:
        names: of the columns.
        center: `(1, columns)`, the mean of each.
        scale: `(1, columns)`, its deviation.
        reach: `(1, columns)`, the distance of its farthest value in `fit` from the mean.
    """

    names: tuple[str, ...]
    center: Floats
    scale: Floats
    reach: Floats

    @classmethod
    def fit(cls, names: tuple[str, ...], values: Floats, is_number: Any = True) -> "ColumnScaler":
        """Return a scaler of `(rows, columns)`; columns that are not numbers stay as they are."""
        series = GroupedArray(values, [0, len(values)])
        scaler = StandardScaler().fit(series)
        lowest, highest = series.extremes()
        reach = np.maximum(highest - scaler.center_, scaler.center_ - lowest)
        return cls(
            names,
            np.where(is_number, scaler.center_, 0.0),
            np.where(is_number, np.where(scaler.constant_, ENDLESS, scaler.scale_), 1.0),
            np.where(is_number & ~scaler.constant_, reach, ENDLESS),
        )

    @classmethod
    def restore(
        cls, names: tuple[str, ...], center: Floats, scale: Floats, reach: Floats | None
    ) -> "ColumnScaler":
        """Return a scaler from the arrays of another; without `reach` from older ones."""
        if reach is None:
            reach = np.minimum(scale, ENDLESS / _UNKNOWN_REACH) * _UNKNOWN_REACH
        return cls(names, center, scale, reach)

    def transform(self, values: Floats) -> Floats:
        """Scale the last axis; of fewer columns than the scaler has, they are its last ones."""
        first = self._first(values)
        distance = values - self.center[0, first:]
        most = FAR * self.reach[0, first:]
        return np.asarray(np.clip(distance, -most, most) / self.scale[0, first:])

    def warn_of_far(self, values: Floats) -> None:
        """Warn if values are read as nearer ones.

        Warns:
            FarValueWarning: it names the first such column and its farthest value.
        """
        first = self._first(values)
        distance = np.abs(values - self.center[0, first:])
        is_far = distance > FAR * self.reach[0, first:]
        if not is_far.any():
            return
        column = int(np.argmax(is_far.reshape(-1, is_far.shape[-1]).any(axis=0)))
        farthest = values[..., column].ravel()[np.argmax(distance[..., column])]
        warn(
            self._message(first + column, float(farthest)),
            FarValueWarning,
        )

    def _message(self, column: int, value: float) -> str:
        center = self.center[0, column]
        reach = self.reach[0, column]
        nearer = center + np.copysign(FAR * reach, value - center)
        return (
            f"Column {self.names[column]!r} has {value:.8g}, far outside what fit saw: values at "
            f"most {reach:.3g} from their mean {center:.8g}. It is read as {nearer:.8g}, because "
            "the network has learned nothing about such values. If it is right, fit again on rows "
            "that have such values."
        )

    def _first(self, values: Floats) -> int:
        return self.center.shape[1] - values.shape[-1]


@dataclass(frozen=True)
class CovariateScaler:
    """Scales each numeric covariate, over all series together.

    Attributes:
        rows: scaler of the covariates of timesteps. Categories (0 or 1), sines and cosines are not
            scaled.
        static: scaler of the static numbers.
    """

    rows: ColumnScaler
    static: ColumnScaler

    @classmethod
    def fit(cls, panel: Panel) -> "CovariateScaler":
        """Return a scaler that was fitted on all rows of a panel."""
        covariates = panel.covariates
        rows, static = _names(covariates)
        return cls(
            ColumnScaler.fit(rows, panel.known.rows.values, covariates.is_number),
            ColumnScaler.fit(static, panel.known.static),
        )

    @classmethod
    def restore(cls, covariates: Covariates, arrays: dict[str, Array]) -> "CovariateScaler":
        """Return the scaler whose `arrays` these are; older ones lack the reach."""
        rows, static = _names(covariates)
        return cls(
            ColumnScaler.restore(
                rows, arrays["rows_center"], arrays["rows_scale"], arrays.get("rows_reach")
            ),
            ColumnScaler.restore(
                static, arrays["static_center"], arrays["static_scale"], arrays.get("static_reach")
            ),
        )

    @property
    def arrays(self) -> dict[str, Array]:
        """Return the arrays that `restore` needs."""
        return {
            f"{part}_{name}": getattr(getattr(self, part), name)
            for part in ("rows", "static")
            for name in ("center", "scale", "reach")
        }

    def transform(self, known: Known) -> Known:
        """Scale covariates."""
        rows = GroupedArray(self.rows.transform(known.rows.values), known.rows.indptr)
        return replace(known, rows=rows, static=self.static.transform(known.static))

    def transform_rows(self, rows: Floats) -> Floats32:
        """Scale covariates of timesteps, `(series, timesteps, features)`: all, or the last ones.

        Warns:
            FarValueWarning: a value is far outside what `fit` saw.
        """
        self.rows.warn_of_far(rows)
        return self.rows.transform(rows).astype(np.float32)

    def transform_static(self, static: Floats) -> Floats32:
        """Scale static numbers, `(series, numbers)`; warns as `transform_rows`."""
        self.static.warn_of_far(static)
        return self.static.transform(static).astype(np.float32)


def _names(covariates: Covariates) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the name of each feature of a timestep, and of each static number."""
    widths = covariates.widths(covariates.past + covariates.future) + covariates.calendar_widths
    rows = tuple(name for name, width in widths for _ in range(width))
    return rows, tuple(covariates.static_numbers)

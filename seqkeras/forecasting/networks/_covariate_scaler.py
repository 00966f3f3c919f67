"""Scale covariates, and clip values that are far outside those in `fit`."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Floats, Floats32
from seqkeras._warnings import warn
from seqkeras.errors import FarValueWarning
from seqkeras.forecasting.frames._covariates import Covariates, Known
from seqkeras.forecasting.frames._panel import Panel
from seqkeras.windows import GroupedArray, StandardScaler

#: Scale of a constant column, which turns every value into 0, and reach of a column that is not
#: clipped. Finite, because the arrays of a file must be.
ENDLESS = 1e300
#: Values are clipped at this many times the largest distance from the mean in `fit`.
FAR = 3.0
#: Reach in standard deviations, for files that do not record it. No value among a million rows can
#: be farther from their mean.
_UNKNOWN_REACH = 1e3


@dataclass(frozen=True)
class ColumnScaler:
    """Scales columns of numbers to mean 0 and standard deviation 1.

    A column that was constant in `fit` always becomes 0: the network learned nothing from it, and
    would apply its random initial weights to any other value. For the same reason values are
    clipped at `FAR` times the largest distance from the mean in `fit`.

    Attributes:
        names: names of the columns.
        center: `(1, columns)`, the means.
        scale: `(1, columns)`, the standard deviations; `ENDLESS` for constant columns.
        reach: `(1, columns)`, the largest distances from the mean in `fit`; `ENDLESS` for columns
            that are not clipped.
    """

    names: tuple[str, ...]
    center: Floats
    scale: Floats
    reach: Floats

    @classmethod
    def fit(
        cls, names: tuple[str, ...], series: GroupedArray, is_number: Any = True
    ) -> "ColumnScaler":
        """Return a scaler fitted to one series, `(rows, columns)`.

        It changes only columns with `is_number`.
        """
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
        """Return a scaler from saved arrays; `reach` is None for files of older versions."""
        if reach is None:
            reach = np.minimum(scale, ENDLESS / _UNKNOWN_REACH) * _UNKNOWN_REACH
        return cls(names, center, scale, reach)

    def transform(self, values: Floats) -> Floats:
        """Clip and scale values, whose last axis holds all columns, or only the last ones."""
        first = self._first(values)
        distance = values - self.center[0, first:]
        most = FAR * self.reach[0, first:]
        return np.asarray(np.clip(distance, -most, most) / self.scale[0, first:])

    def warn_of_far(self, values: Floats) -> None:
        """Warn if `transform` clips values.

        Warns:
            FarValueWarning: a value is clipped. The message names the first such column and its
                farthest value.
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
            f"most {reach:.3g} from their mean {center:.8g}. It is clipped to {nearer:.8g}, "
            "because the network has learned nothing about such values. If the value is correct, "
            "fit again on rows that contain such values."
        )

    def _first(self, values: Floats) -> int:
        return self.center.shape[1] - values.shape[-1]


@dataclass(frozen=True)
class CovariateScaler:
    """Scales each numeric covariate by its values in all series together.

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
            ColumnScaler.fit(rows, _as_one(panel.known.rows), covariates.is_number),
            ColumnScaler.fit(static, GroupedArray(panel.known.static, [0, len(panel.ids)])),
        )

    @classmethod
    def restore(cls, covariates: Covariates, arrays: dict[str, Array]) -> "CovariateScaler":
        """Return the scaler that was saved as `arrays`; those of older files lack the reach."""
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

    def transform(self, known: Known, *, dtype: npt.DTypeLike = np.float64) -> Known:
        """Scale covariates, and return those of timesteps with this dtype."""
        rows = known.rows.transformed(
            lambda values, block: self.rows.transform(values).astype(dtype, copy=False)
        )
        return replace(known, rows=rows, static=self.static.transform(known.static))

    def transform_rows(self, rows: Floats) -> Floats32:
        """Scale all covariates of timesteps or only the last ones, `(series, timesteps, features)`.

        Warns:
            FarValueWarning: a value is far outside what `fit` saw.
        """
        self.rows.warn_of_far(rows)
        return self.rows.transform(rows).astype(np.float32)

    def transform_static(self, static: Floats) -> Floats32:
        """Scale static numbers, `(series, numbers)`; warns like `transform_rows`."""
        self.static.warn_of_far(static)
        return self.static.transform(static).astype(np.float32)


def _as_one(series: GroupedArray) -> GroupedArray:
    return series.with_bounds([0, len(series.values)])


def _names(covariates: Covariates) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the name of each feature of a timestep, and of each static number."""
    widths = covariates.widths(covariates.past + covariates.future) + covariates.calendar_widths
    rows = tuple(name for name, width in widths for _ in range(width))
    return rows, tuple(covariates.static_numbers)

"""Scaling of each series by its own numbers."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.errors import NotFittedError
from seqkeras.windows._grouped import GroupedArray


class StandardScaler:
    """Brings every series to mean 0 and standard deviation 1, each by its own values.

    A constant series keeps its scale: it is only shifted to 0. Nothing says how far it would move
    if it did, and one unit of its own is the choice that neither blows up a later change, as a
    small number would, nor depends on the level, as a share of it would. Missing values (NaN) do
    not count and stay missing; a series of nothing else is left as it is.

    Attributes:
        center_: `(series, ...)`, the mean of each series, one number for each feature.
        scale_: `(series, ...)`, its standard deviation, or 1 for a constant series.

    Example:
        >>> series = GroupedArray.from_series([[1.0, 3.0], [10.0, 10.0, 10.0]])
        >>> scaler = StandardScaler().fit(series)
        >>> scaler.center_.tolist(), scaler.scale_.tolist()
        ([2.0, 10.0], [1.0, 1.0])
        >>> scaler.transform(series)[0].tolist()
        [-1.0, 1.0]
    """

    center_: npt.NDArray[np.float64]
    scale_: npt.NDArray[np.float64]

    @classmethod
    def from_state(cls, center: npt.ArrayLike, scale: npt.ArrayLike) -> "StandardScaler":
        """A fitted scaler from the arrays `center_` and `scale_` of another."""
        scaler = cls()
        scaler.center_ = np.asarray(center, dtype=np.float64)
        scaler.scale_ = np.asarray(scale, dtype=np.float64)
        return scaler

    def take(self, series: npt.ArrayLike) -> "StandardScaler":
        """The scaler of some of the series."""
        center, scale = self._state()
        return self.from_state(center[np.asarray(series)], scale[np.asarray(series)])

    def fit(self, series: GroupedArray) -> "StandardScaler":
        """Learns the mean and the standard deviation of each series.

        Raises:
            ArgumentError: a series has no rows.
        """
        if not np.all(series.lengths):
            empty = np.flatnonzero(series.lengths == 0)[:5].tolist()
            raise bad_argument("series", f"no rows in series {empty}", "series of one row or more")
        self.center_ = _mean(series.values, series)
        distance = np.abs(series.values - self._per_row(self.center_, series))
        farthest = np.nan_to_num(np.fmax.reduceat(distance, series.indptr[:-1], axis=0))
        # Rounding leaves a constant series with distances of about 1e-16 times its level.
        constant = farthest <= 1e-12 * np.abs(self.center_)
        # Squared in units of the farthest, so that no square is too large or too small.
        unit = np.where(constant, 1.0, farthest)
        spread = unit * _mean((distance / self._per_row(unit, series)) ** 2, series) ** 0.5
        self.scale_ = np.where(constant, 1.0, spread)
        return self

    def transform(self, series: GroupedArray) -> GroupedArray:
        """Scales the series that the scaler was fitted on, or others in the same order.

        Raises:
            ArgumentError: another number of series than the scaler was fitted on.
            NotFittedError: `fit` was not called.
        """
        center, scale = self._state()
        if len(series) != len(center):
            raise bad_argument(
                "series", f"{len(series)} series", f"{len(center)} series, as in fit"
            )
        values = series.values - self._per_row(center, series)
        return GroupedArray(values / self._per_row(scale, series), series.indptr)

    def transform_batch(
        self, values: npt.ArrayLike, *, series: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float64]:
        """Scales rows of equal length; `inverse_transform` brings them back.

        Args:
            values: `(batch, timesteps)` or `(batch, timesteps, features)`.
            series: `(batch,)`, the number of the series that each row of the batch belongs to.
                Default: row i belongs to series i.

        Raises:
            ArgumentError: another shape than the series had in `fit`.
            NotFittedError: `fit` was not called.
        """
        rows, shift, stretch = self._of_batch(values, series)
        return (rows - shift) / stretch

    def inverse_transform(
        self, values: npt.ArrayLike, *, series: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float64]:
        """Brings scaled rows back.

        Args:
            values: as for `transform_batch`, scaled.
            series: as for `transform_batch`.

        Raises:
            ArgumentError: another shape than the series had in `fit`.
            NotFittedError: `fit` was not called.
        """
        rows, shift, stretch = self._of_batch(values, series)
        return rows * stretch + shift

    def _of_batch(
        self, values: npt.ArrayLike, series: npt.ArrayLike | None
    ) -> tuple[Any, Any, Any]:
        """The rows, and what each is shifted and stretched by."""
        center, scale = self._state()
        chosen = slice(None) if series is None else np.asarray(series)
        rows, shift, stretch = np.asarray(values), center[chosen], scale[chosen]
        if rows.ndim != shift.ndim + 1 or len(rows) != len(shift):
            shape = ("batch", "timesteps", "features")[: shift.ndim + 1]
            expected = f"({', '.join(shape)}), with a batch of {len(shift)}"
            raise bad_argument("values", rows.shape, expected)
        return rows, shift[:, np.newaxis], stretch[:, np.newaxis]

    def _state(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        if not hasattr(self, "center_"):
            raise NotFittedError("This StandardScaler is not fitted. Call fit first.")
        return self.center_, self.scale_

    @staticmethod
    def _per_row(
        per_series: npt.NDArray[np.float64], series: GroupedArray
    ) -> npt.NDArray[np.float64]:
        return np.repeat(per_series, series.lengths, axis=0)


def _mean(values: npt.NDArray[Any], series: GroupedArray) -> npt.NDArray[np.float64]:
    """The mean of the values that there are; 0 where there are none."""
    starts = series.indptr[:-1]
    counts: Any = series.lengths.reshape(-1, *[1] * (values.ndim - 1))
    missing = np.isnan(values)
    if missing.any():
        counts = np.add.reduceat(~missing, starts, axis=0, dtype=np.int64)
        values = np.where(missing, 0, values)
    sums = np.add.reduceat(values, starts, axis=0, dtype=np.float64)
    return np.asarray(sums / np.maximum(counts, 1))

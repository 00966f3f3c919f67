"""Scaling of each series by its own mean and standard deviation."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Booleans, Floats, Integers, is_constant, without_mask
from seqkeras._checks import Description, bad_argument
from seqkeras.errors import NotFittedError
from seqkeras.windows._grouped import Block, GroupedArray, OfBlock


class StandardScaler:
    """Scales every series to mean 0 and standard deviation 1.

    A series whose values differ by no more than float32 rounding is constant. Its deviation is zero
    or a rounding error, which says nothing about the size of later changes. It is scaled by its
    level instead, so the result does not depend on the unit. Missing values (NaN) do not count and
    stay missing; a series with only missing values stays unchanged.

    Attributes:
        center_: `(series, ...)`, the mean of each series, by feature.
        scale_: `(series, ...)`, the standard deviation of each series; for a constant series, the
            absolute value of its mean, or 1 if its mean is 0.
        constant_: `(series, ...)`, whether each series is constant.

    Example:
        >>> series = GroupedArray.from_series([[1.0, 3.0], [10.0, 10.0, 10.0]])
        >>> scaler = StandardScaler().fit(series)
        >>> scaler.center_.tolist(), scaler.scale_.tolist()
        ([2.0, 10.0], [1.0, 10.0])
        >>> scaler.transform(series)[0].tolist()
        [-1.0, 1.0]
    """

    center_: Floats
    scale_: Floats
    constant_: Booleans

    @classmethod
    def from_state(
        cls, center: npt.ArrayLike, scale: npt.ArrayLike, constant: npt.ArrayLike | None = None
    ) -> "StandardScaler":
        """Create a fitted scaler from the arrays `center_`, `scale_` and `constant_` of another.

        Without `constant`, no series counts as constant.
        """
        scaler = cls()
        scaler.center_ = np.asarray(center, dtype=np.float64)
        scaler.scale_ = np.asarray(scale, dtype=np.float64)
        never = np.zeros(scaler.scale_.shape, dtype=bool)
        scaler.constant_ = np.asarray(constant, dtype=bool) if constant is not None else never
        return scaler

    def take(self, series: npt.ArrayLike) -> "StandardScaler":
        """Return the scaler of some of the series."""
        center, scale = self._state()
        numbers = np.asarray(series)
        return self.from_state(center[numbers], scale[numbers], self.constant_[numbers])

    def fit(self, series: GroupedArray) -> "StandardScaler":
        """Learn the mean and the standard deviation of each series.

        Raises:
            ArgumentError: it is no `GroupedArray`, or a series has no rows.
        """
        if not isinstance(series, GroupedArray):
            fix = "For a single array, use GroupedArray.from_series([array])."
            raise bad_argument("series", Description(type(series).__name__), "a GroupedArray", fix)
        if not np.all(series.lengths):
            empty = np.flatnonzero(series.lengths == 0)[:5].tolist()
            raise bad_argument(
                "series", Description(f"no rows in series {empty}"), "series with at least one row"
            )
        counts = series.reduced(np.add, lambda values, block: _present(values))
        self.center_ = _mean(series, counts, lambda values, block: values)

        def distance(values: Array, block: Block) -> Array:
            return np.abs(values - block.repeat(self.center_))

        farthest = np.nan_to_num(series.reduced(np.fmax, distance))
        self.constant_ = is_constant(*series.extremes())
        # Divide distances by the largest before squaring them, to avoid overflow and underflow.
        unit = np.where(farthest > 0, farthest, 1.0)

        def square(values: Array, block: Block) -> Array:
            return np.asarray((distance(values, block) / block.repeat(unit)) ** 2)

        spread = unit * _mean(series, counts, square) ** 0.5
        level = np.where(self.center_ != 0, np.abs(self.center_), 1.0)
        self.scale_ = np.where(self.constant_, level, spread)
        return self

    def transform(self, series: GroupedArray, *, dtype: npt.DTypeLike = np.float64) -> GroupedArray:
        """Scale the series that the scaler was fitted on, or others in the same order.

        Args:
            series: the series.
            dtype: dtype of the result, default float64, in which it is computed.

        Raises:
            ArgumentError: the number of series differs from that in `fit`.
            NotFittedError: `fit` was not called.
        """
        center, scale = self._state()
        if len(series) != len(center):
            raise bad_argument(
                "series", Description(f"{len(series)} series"), f"{len(center)} series, as in fit"
            )
        return series.transformed(
            lambda values, block: ((values - block.repeat(center)) / block.repeat(scale)).astype(
                dtype, copy=False
            )
        )

    def transform_batch(
        self, values: npt.ArrayLike, *, series: npt.ArrayLike | None = None
    ) -> Floats:
        """Scale a batch of rows of equal length. `inverse_transform` reverses the scaling.

        Args:
            values: `(batch, timesteps)` or `(batch, timesteps, features)`.
            series: `(batch,)`, the series of each row of the batch. None: row i belongs to
                series i.

        Raises:
            ArgumentError: the shape does not fit the series that the scaler was fitted on.
            NotFittedError: `fit` was not called.
        """
        rows, center, scale = self._of_batch(values, series)
        return (rows - center) / scale

    def inverse_transform(
        self, values: npt.ArrayLike, *, series: npt.ArrayLike | None = None
    ) -> Floats:
        """Return scaled rows to the units of the series.

        Args:
            values: as for `transform_batch`, scaled.
            series: as for `transform_batch`.

        Raises:
            ArgumentError: the shape does not fit the series that the scaler was fitted on.
            NotFittedError: `fit` was not called.
        """
        rows, center, scale = self._of_batch(values, series)
        return rows * scale + center

    def _of_batch(
        self, values: npt.ArrayLike, series: npt.ArrayLike | None
    ) -> tuple[Any, Any, Any]:
        """Return the rows, and the center and scale of each."""
        center, scale = self._state()
        rows = np.asarray(without_mask(values))
        if series is not None:
            center = center[np.asarray(series)]
            scale = scale[np.asarray(series)]
        if rows.ndim != center.ndim + 1 or len(rows) != len(center):
            axes = ("batch", "timesteps", "features")[: center.ndim + 1]
            expected = f"({', '.join(axes)}), with a batch of {len(center)}"
            raise bad_argument("values", rows.shape, expected)
        return rows, center[:, np.newaxis], scale[:, np.newaxis]

    def _state(self) -> tuple[Floats, Floats]:
        if not hasattr(self, "center_"):
            raise NotFittedError("This StandardScaler is not fitted. Call fit first.")
        return self.center_, self.scale_


def _present(values: Array) -> Integers:
    return (~np.isnan(values)).astype(np.int64)


def _mean(series: GroupedArray, counts: Integers, of: OfBlock) -> Floats:
    """Return the mean of what `of` computes, without missing values; 0 if all are missing.

    Args:
        series: the series.
        counts: number of values of each series that are not missing.
        of: computed from the rows of a block.
    """

    def known(values: Array, block: Block) -> Array:
        entries = of(values, block)
        missing = np.isnan(entries)
        return np.where(missing, 0, entries) if missing.any() else entries

    sums = series.reduced(np.add, known, dtype=np.float64)
    return np.asarray(sums / np.maximum(counts, 1))

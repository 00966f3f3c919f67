"""Prediction intervals from residuals on held-out data."""

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.errors import DataError

Floats = npt.NDArray[np.float64]


#: How intervals are measured, the value of `Forecaster(intervals=...)`.
KINDS = ("adaptive", "per_series", "split")
#: A width is at most so many times what was measured on the held-out rows, and at least 1 / that.
_MOST = 20.0


@dataclass(frozen=True)
class ConformalIntervals:
    """Split conformal intervals, one radius for each level and step of the horizon.

    The nonconformity score is `|residual| / spread of its lead` (normalised residuals, Lei et al.
    2018, arXiv 1604.04173), pooled over windows and leads, so that few windows are enough. The
    radius at a lead is the score's quantile times the lead's spread. Neighbouring windows overlap,
    so the guarantee for exchangeable data holds here only by approximation.

    The intervals of a series are `factor` times as wide: 1 at first, or what its own residuals say
    (`per_series`), or what became of its forecasts (`follow`).

    Attributes:
        levels: nominal coverage in percent.
        radius: `(levels, horizon)`, in the unit of the residuals.
        factor: `(series, levels)`.
        waiting: `(series,)`, rows behind the forecast that `follow` looks at next, fewer than the
            horizon; all 0 where nothing is followed.
        follows: whether what becomes of forecasts is followed.

    Example:
        >>> residuals = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 2.0, 3.0]
        >>> ConformalIntervals.fit(residuals, levels=(80,)).radius.round(1).tolist()
        [[1.2, 2.4, 3.9]]
    """

    levels: tuple[float, ...]
    radius: Floats
    factor: Floats
    waiting: npt.NDArray[np.int64]
    follows: bool = False

    @classmethod
    def fit(
        cls, residuals: Floats, *, levels: tuple[float, ...], series: int = 1
    ) -> "ConformalIntervals":
        """Learns the radii.

        Args:
            residuals: `(windows, horizon)`, from data that the model was not trained on; NaN where
                there was no value.
            levels: nominal coverage in percent, each between 0 and 100.
            series: how many there are.

        Raises:
            DataError: too few residuals for the highest level.
        """
        errors = np.abs(residuals)
        known = ~np.isnan(errors)
        check_enough(int(known.sum()), levels)
        if not known.any(axis=0).all():
            lead = int(np.argmin(known.any(axis=0))) + 1
            raise DataError(
                f"All held-out values are missing {lead} timesteps ahead: no interval can be "
                "measured. Hold out more rows with validation=..., or use levels=()."
            )
        spread = np.nanmean(errors, axis=0)
        # A lead without any error would divide by zero; its radius is zero either way.
        scores = np.sort((errors / np.where(spread > 0, spread, 1.0))[known])
        radius = np.array([_quantile(scores, level) for level in levels])[:, np.newaxis] * spread
        return cls(levels, radius, np.ones((series, len(levels))), np.zeros(series, np.int64))

    def per_series(self, residuals: Floats, numbers: npt.NDArray[np.int64]) -> "ConformalIntervals":
        """Intervals as wide as the residuals of each series by itself say.

        A series with too few residuals for a level keeps the width of all series there.

        Args:
            residuals: those of `fit`.
            numbers: `(windows,)`, the series of each, those of one series side by side.
        """
        factor = self.factor.copy()
        ends = np.flatnonzero(np.diff(numbers, append=-1)) + 1
        for own in np.split(np.arange(len(numbers)), ends[:-1]):
            for number, (level, radius) in enumerate(zip(self.levels, self.radius, strict=True)):
                scores = np.abs(residuals[own]) / np.where(radius > 0, radius, 1.0)
                known = scores[~np.isnan(scores)]
                if known.size >= needed((level,)):
                    found = _quantile(np.sort(known), level)
                    factor[numbers[own[0]], number] = np.clip(found, 1 / _MOST, _MOST)
        return replace(self, factor=factor)

    def follow(
        self, errors: Floats, numbers: npt.NDArray[np.int64]
    ) -> tuple["ConformalIntervals", Floats]:
        """Widens the intervals of series that lay outside too often, and narrows those of others.

        After each forecast whose whole horizon has come, the logarithm of the width grows by the
        share of values that lay outside, less the share that should have. In the long run as much
        is outside as was promised, however a series changes: the quantile tracking of conformal
        PID control (Angelopoulos et al. 2023, arXiv 2307.16895), here for a whole horizon at once
        and on a logarithmic scale.

        Args:
            errors: `(forecasts, horizon)` in the unit of the radius, NaN where there was no value;
                those of a series in order of time, one horizon apart.
            numbers: `(forecasts,)`, the series of each.

        Returns:
            The intervals after all of it, and the factors `(forecasts, levels)` at each forecast.
        """
        factor, before = self.factor.copy(), np.empty((len(numbers), len(self.levels)))
        turn = _turns(numbers)
        order = np.argsort(turn, kind="stable")
        for now in np.split(order, np.cumsum(np.bincount(turn))[:-1]) if len(turn) else ():
            series = numbers[now]
            before[now] = factor[series]
            moved = factor[series] * np.exp(self._too_often(errors[now], factor[series]))
            factor[series] = np.clip(moved, 1 / _MOST, _MOST)
        return replace(self, factor=factor), before

    def _too_often(self, errors: Floats, factor: Floats) -> Floats:
        """The share of each forecast that lay outside, less that which should: `(rows, levels)`."""
        known = ~np.isnan(errors)
        width = self.radius * factor[:, :, np.newaxis]
        outside = (np.abs(errors)[:, np.newaxis] > width).sum(axis=-1)
        share = outside / np.maximum(known.sum(axis=-1), 1)[:, np.newaxis]
        return np.where(
            known.any(axis=-1, keepdims=True), share - 1 + np.array(self.levels) / 100, 0.0
        )

    def widths(self, factor: Floats, steps: int) -> Floats:
        """`(series, levels, steps)`: a higher level is nowhere narrower than a lower one."""
        found = self.radius[:, :steps] * factor[:, :, np.newaxis]
        order = np.argsort(self.levels)
        nested = np.maximum.accumulate(found[:, order], axis=1)
        return nested[:, np.argsort(order)]


def _turns(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each forecast, how many of its series come before it."""
    order = np.argsort(numbers, kind="stable")
    counts = np.bincount(numbers)
    turn = np.empty(len(numbers), np.int64)
    turn[order] = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    return turn


def _quantile(ordered: Floats, level: float) -> float:
    """The conformal quantile of scores in order: the ceil((n + 1) level)-th smallest."""
    return float(ordered[math.ceil((ordered.size + 1) * level / 100) - 1])


def check_levels(levels: Any) -> None:
    """Raises where these are not levels of intervals."""
    is_list = isinstance(levels, (tuple, list))
    known = is_list and all(isinstance(one, Real) and 1 <= float(one) < 100 for one in levels)
    # Two that are printed alike would be one column of the forecast.
    if not known or len({f"{level:g}" for level in levels}) < len(levels):
        fix = "For example (80, 95); () for no intervals."
        raise bad_argument(
            "levels", levels, "a tuple of different numbers from 1 to below 100", fix
        )


def needed(levels: tuple[float, ...]) -> int:
    """How many residuals the highest level needs: ceil((n + 1) level) <= n."""
    share = max(levels, default=0.0) / 100
    return math.ceil(share / (1 - share) - 1e-9)


def check_enough(residuals: int, levels: tuple[float, ...]) -> None:
    """Raises where there are too few residuals for the highest level."""
    if residuals < needed(levels):
        raise DataError(
            f"{residuals} held-out residuals are too few for levels={levels}: "
            f"{max(levels):g} % needs {needed(levels)}. Hold out more rows with validation=..., "
            "or ask for lower levels."
        )

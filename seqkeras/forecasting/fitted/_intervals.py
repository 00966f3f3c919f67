"""Prediction intervals from residuals on held-out data."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from seqkeras._arrays import Floats, Integers, positions
from seqkeras._checks import bad_data

#: Largest factor of an interval width; the smallest is `1 / _MOST`.
_MOST = 20.0
#: How many independent errors one horizon of held-out rows is worth. The errors of one forecast
#: depend on each other: if its level is too low, all its leads are.
ERRORS_PER_HORIZON = 1.25


@dataclass(frozen=True)
class ConformalIntervals:
    """Split conformal intervals, one radius for each level and step of the horizon.

    The nonconformity score is `|residual| / spread of its lead` (normalized residuals, Lei et al.
    2018, arXiv 1604.04173), pooled over windows and leads, so few windows are enough. The radius at
    a lead is the score's quantile times the lead's spread. Neighboring windows overlap, so the
    guarantee for exchangeable data only holds approximately.

    Errors of a few horizons say little about the size of the next error. So quantiles are widened
    as those of Student's t are wider than the normal ones (Student 1908), with `ERRORS_PER_HORIZON`
    degrees of freedom for each horizon of held-out rows; and the spread of a lead is averaged with
    that of all leads, as if the latter were known from one more horizon.

    The `factor` of a series multiplies its interval widths. It is 1 at first, or is set from the
    residuals of the series (`per_series`) or from the errors of its forecasts (`follow`).

    Attributes:
        levels: nominal coverage in percent.
        radius: `(levels, horizon)`, in the unit of the residuals.
        factor: `(series, levels)`.
        waiting: `(series,)`, rows since the start of the forecast that `follow` judges next, fewer
            than the horizon; all 0 if intervals are not adaptive.
        follows: whether intervals are adaptive.

    Example:
        >>> residuals = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 2.0, 3.0]
        >>> ConformalIntervals.fit(residuals, levels=(80,)).radius.round(1).tolist()
        [[1.2, 2.4, 3.9]]
    """

    levels: tuple[float, ...]
    radius: Floats
    factor: Floats
    waiting: Integers
    follows: bool = False

    @classmethod
    def fit(
        cls,
        residuals: Floats,
        *,
        levels: tuple[float, ...],
        series: int = 1,
        horizons: float = math.inf,
    ) -> "ConformalIntervals":
        """Calibrate the radii.

        Args:
            residuals: `(windows, horizon)`, from data that the model was not trained on; NaN where
                the actual value is missing.
            levels: nominal coverage in percent, each between 0 and 100.
            series: number of series.
            horizons: how many horizons of rows the residuals are from, over all series. Default: so
                many that the widths need no allowance for chance.

        Raises:
            DataError: too few residuals for the highest level.
        """
        errors = np.abs(residuals)
        known = ~np.isnan(errors)
        check_enough(int(known.sum()), levels)
        if not known.any(axis=0).all():
            lead = int(np.argmin(known.any(axis=0))) + 1
            subject = f"Some held-out values {lead} timesteps ahead"
            fix = "Hold out more rows with Training(validation=...), or use intervals=()."
            raise bad_data(subject, "all are missing", "be known, to calibrate intervals", fix)
        spread = np.nanmean(errors, axis=0)
        spread += (spread.mean() - spread) / (1 + horizons)
        # Where a spread is 0, avoid dividing by 0: the radius is 0 in any case.
        scores = np.sort((errors / np.where(spread > 0, spread, 1.0))[known])
        quantiles = [_quantile(scores, level) * _allowance(level, horizons) for level in levels]
        radius = np.array(quantiles)[:, np.newaxis] * spread
        return cls(levels, radius, np.ones((series, len(levels))), np.zeros(series, np.int64))

    def per_series(self, residuals: Floats, numbers: Integers) -> "ConformalIntervals":
        """Return intervals whose widths are calibrated for each series separately.

        A series with too few residuals for a level keeps the common width for that level.

        Args:
            residuals: those on the held-out rows, without errors on earlier rows.
            numbers: `(windows,)`, series index of each window; windows of a series are adjacent.
        """
        factor = self.factor.copy()
        horizon = residuals.shape[1]
        ends = np.flatnonzero(np.diff(numbers, append=-1)) + 1
        for own in np.split(np.arange(len(numbers)), ends[:-1]):
            horizons = (len(own) + horizon - 1) / horizon
            for number, (level, radius) in enumerate(zip(self.levels, self.radius, strict=True)):
                scores = np.abs(residuals[own]) / np.where(radius > 0, radius, 1.0)
                known = scores[~np.isnan(scores)]
                if known.size >= needed((level,)):
                    width = _quantile(np.sort(known), level) * _allowance(level, horizons)
                    factor[numbers[own[0]], number] = np.clip(width, 1 / _MOST, _MOST)
        return replace(self, factor=factor)

    def follow(self, errors: Floats, numbers: Integers) -> tuple["ConformalIntervals", Floats]:
        """Widen the intervals of series whose values lay outside too often, and narrow the others.

        After each forecast, the logarithm of the width grows by the share of known values that lay
        outside, minus the nominal share. Long-run coverage converges to the nominal level, even if
        the series drifts: the quantile tracking of conformal PID control (Angelopoulos et al. 2023,
        arXiv 2307.16895), here for a whole horizon at once and on a logarithmic scale.

        Args:
            errors: `(forecasts, horizon)` in the unit of the radius, NaN where the actual value is
                missing. The forecasts of a series are in order of time, one horizon apart.
            numbers: `(forecasts,)`, series index of each forecast.

        Returns:
            The intervals after all forecasts, and the factors that applied to each forecast,
            `(forecasts, levels)`.
        """
        factor = self.factor.copy()
        before = np.empty((len(numbers), len(self.levels)))
        if not len(numbers):
            return replace(self, factor=factor), before
        turn = _turns(numbers)
        order = np.argsort(turn, kind="stable")
        for forecasts in np.split(order, np.cumsum(np.bincount(turn))[:-1]):
            series = numbers[forecasts]
            before[forecasts] = factor[series]
            growth = np.exp(self._excess(errors[forecasts], factor[series]))
            factor[series] = np.clip(factor[series] * growth, 1 / _MOST, _MOST)
        return replace(self, factor=factor), before

    def _excess(self, errors: Floats, factor: Floats) -> Floats:
        """Return the share of known values outside, minus the nominal share, `(rows, levels)`."""
        known = ~np.isnan(errors)
        width = self.radius * factor[:, :, np.newaxis]
        outside = (np.abs(errors)[:, np.newaxis] > width).sum(axis=-1)
        share = outside / np.maximum(known.sum(axis=-1), 1)[:, np.newaxis]
        return np.where(
            known.any(axis=-1, keepdims=True), share - 1 + np.array(self.levels) / 100, 0.0
        )

    def widths(self, factor: Floats, steps: int) -> Floats:
        """Return widths `(series, levels, steps)`; a higher level is at least as wide."""
        widths = self.radius[:, :steps] * factor[:, :, np.newaxis]
        order = np.argsort(self.levels)
        nested = np.maximum.accumulate(widths[:, order], axis=1)
        return nested[:, np.argsort(order)]


def _turns(numbers: Integers) -> Integers:
    """Return how many forecasts of the same series come before each forecast."""
    turn = np.empty(len(numbers), np.int64)
    turn[np.argsort(numbers, kind="stable")] = positions(np.bincount(numbers))
    return turn


def _quantile(ordered: Floats, level: float) -> float:
    """Return the conformal quantile of sorted scores: the ceil((n + 1) level)-th smallest."""
    return float(ordered[math.ceil((ordered.size + 1) * level / 100) - 1])


def _allowance(level: float, horizons: float) -> float:
    """Return how much wider a quantile of errors from few horizons must be.

    Example:
        >>> [round(_allowance(80, horizons), 2) for horizons in (1, 2, 10)]
        [1.95, 1.35, 1.06]
    """
    if math.isinf(horizons):
        return 1.0
    share = 0.5 + level / 200
    quantile = special.stdtrit(ERRORS_PER_HORIZON * horizons, share)
    return float(quantile / special.ndtri(share))


def needed(levels: tuple[float, ...]) -> int:
    """Return how many residuals the highest level needs: the least n >= ceil((n + 1) level)."""
    share = max(levels, default=0.0) / 100
    # Subtract 1e-9, because 0.8 / (1 - 0.8) is slightly above 4 in floating point.
    return math.ceil(share / (1 - share) - 1e-9)


def check_enough(residuals: int, levels: tuple[float, ...]) -> None:
    """Check that there are enough residuals for the highest level.

    Raises:
        DataError: there are too few.
    """
    if residuals < needed(levels):
        expected = f"be at least {needed(levels)}, for an interval of {max(levels):g} %"
        fix = "Hold out more rows with Training(validation=...), or use lower levels."
        raise bad_data("The held-out residuals", f"{residuals}", expected, fix)

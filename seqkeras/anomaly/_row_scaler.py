"""Robust scaling of features, and limits for what a network reads."""

from dataclasses import dataclass

import numpy as np

from seqkeras._arrays import Floats

#: Distance of the quantiles 0.25 and 0.75 of a normal distribution, in standard deviations.
_QUARTILES = 1.3489795003921634
#: The same of the quantiles 0.01 and 0.99.
_TAILS = 4.652695748081682
#: Networks read values at most this many spreads from the center.
LIMIT = 6.0


@dataclass(frozen=True)
class RowScaler:
    """Scales each feature by its median and a robust spread.

    The spread is the larger of two estimates of the standard deviation, from the quartiles and from
    the quantiles 0.01 and 0.99. So a few anomalies do not change it, but a feature that is mostly
    constant and at times active is scaled by its activity.

    Attributes:
        center: `(features,)`.
        spread: `(features,)`, 1 for a constant feature.
        limit: `(features,)`, largest distance from the center that networks read, in spreads.
    """

    center: Floats
    spread: Floats
    limit: Floats

    @classmethod
    def fit(cls, rows: Floats, *, clean: bool) -> "RowScaler":
        """Learn center, spread and limit of rows `(n, features)`.

        Args:
            rows: the training rows.
            clean: whether they hold no anomalies; the limit then includes all of them.
        """
        shares = [0.01, 0.25, 0.5, 0.75, 0.99]
        lowest, low, center, high, highest = np.quantile(rows, shares, axis=0)
        spread = np.maximum((high - low) / _QUARTILES, (highest - lowest) / _TAILS)
        deviation = rows.std(axis=0)
        # Rounding errors are no spread.
        spread = np.where(spread > 1e-9 * deviation, spread, deviation)
        level = np.abs(rows).max(axis=0)
        spread = np.where(spread > 1e-12 * level, spread, 1.0)
        limit = np.full(rows.shape[1], LIMIT)
        if clean:
            limit = np.maximum(limit, np.abs((rows - center) / spread).max(axis=0))
        return cls(center, spread, limit)

    def transform(self, rows: Floats) -> Floats:
        """Return scaled rows, without limits."""
        return (rows - self.center) / self.spread

    def clip(self, scaled: Floats) -> Floats:
        """Return scaled rows within the limits."""
        return np.clip(scaled, -self.limit, self.limit)

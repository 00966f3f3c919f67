"""Convert forecasts from network units back to the units of the series."""

from dataclasses import dataclass

import numpy as np

from seqkeras._arrays import ROUNDING, Array, Booleans, Floats, rounding
from seqkeras.forecasting.networks._inputs import fill_missing_targets
from seqkeras.likelihoods import Likelihood
from seqkeras.windows import GroupedArray, StandardScaler
from seqkeras.windows._grouped import Block


def scaler_for(
    series: GroupedArray, likelihood: Likelihood | None, season_length: int
) -> StandardScaler:
    """Return a scaler to mean 0 and standard deviation 1, or, for counts, one without effect.

    Its `constant_` marks constant series, and series of two or more seasons that never change from
    one season to the next. Their forecasts are exact, see `Units`. Their mean and deviation are
    those of the last season, which are the same in every window of one season.
    """
    if likelihood is not None and likelihood.counts:
        return StandardScaler.from_state(np.zeros(len(series)), np.ones(len(series)))
    scaler = StandardScaler().fit(series)
    has_two_seasons = series.lengths >= 2 * season_length
    exact = scaler.constant_ | has_two_seasons & _repeats(series, season_length)
    first = np.maximum(series.lengths - season_length, 0)
    season = StandardScaler().fit(series.select(first, series.lengths))
    return StandardScaler.from_state(
        np.where(exact, season.center_, scaler.center_),
        np.where(exact, season.scale_, scaler.scale_),
        exact,
    )


def _repeats(series: GroupedArray, season_length: int) -> Booleans:
    """Check which series change by no more than rounding from one season to the next."""

    def changes(values: Array, block: Block) -> Array:
        rows = np.arange(block.rows.start, block.rows.stop)
        before = series.values[np.maximum(rows - season_length, 0)]
        is_later = rows - block.repeat(series.indptr[:-1]) >= season_length
        return np.where(is_later, np.abs(values - before), np.nan)

    largest = series.reduced(np.fmax, changes)
    return np.asarray(largest <= rounding(*series.extremes()))


def scaler_of_windows(
    scaler: StandardScaler, windows: Floats, season_length: int
) -> StandardScaler:
    """Return the scaler for windows: that of `fit`, or of the window for series constant in `fit`.

    A series that was constant in `fit` may have a deviation of 0, which cannot scale its first
    changes.

    Args:
        scaler: scaler of the series of each window, from `scaler_for`.
        windows: `(windows, lookback)`, not scaled; NaN where a target is missing.
        season_length: timesteps of one season.
    """
    unchanged = scaler.constant_ & ~np.isnan(windows).all(axis=1)
    if not unchanged.any():
        return scaler
    rows, lookback = windows.shape
    series = GroupedArray(windows.ravel(), np.arange(rows + 1) * lookback)
    own = StandardScaler().fit(series)
    exact = own.constant_ | _repeats(series, season_length)
    # A single season does not show whether it changed: compare it with the season in `fit`.
    if lookback == season_length:
        same = rounding(*series.extremes())
        moved = np.maximum(np.abs(own.center_ - scaler.center_), np.abs(own.scale_ - scaler.scale_))
        exact |= moved <= same
    return StandardScaler.from_state(
        np.where(unchanged, own.center_, scaler.center_),
        np.where(unchanged, own.scale_, scaler.scale_),
        np.where(unchanged, exact, scaler.constant_),
    )


def _filled(windows: Floats, scaler: StandardScaler, season_length: int) -> Floats:
    """Return windows with missing targets filled as for a network, but not scaled."""
    missing = np.isnan(windows)
    if not missing.any():
        return windows
    filled = fill_missing_targets(windows, season_length)
    return np.where(missing.all(axis=1, keepdims=True), scaler.center_[:, np.newaxis], filled)


@dataclass(frozen=True)
class Units:
    """Converts forecasts for windows back to the units of their series.

    A network computes in float32, which cannot reproduce the values of a series exactly. So a
    forecast is the last season of its window, plus the difference that the network adds. It repeats
    the season exactly if the difference is within rounding, or if the series has never changed from
    one season to the next.

    Attributes:
        scaler: scaler of the windows.
        season: `(windows, steps)`, the last season of each window, repeated.
        rounding: `(windows, 1)`; differences up to it count as 0.
    """

    scaler: StandardScaler
    season: Floats
    rounding: Floats

    @classmethod
    def of(
        cls, scaler: StandardScaler, windows: Floats, *, season_length: int, steps: int
    ) -> "Units":
        """Return the units of windows.

        Args:
            scaler: scaler of the series of each window, from `scaler_for`.
            windows: `(windows, lookback)`, not scaled; NaN where a target is missing.
            season_length: timesteps of one season.
            steps: timesteps to forecast.
        """
        scaler = scaler_of_windows(scaler, windows, season_length)
        filled = _filled(windows, scaler, season_length)
        season = filled[:, -season_length:][:, np.arange(steps) % season_length]
        farthest = np.abs(filled - scaler.center_[:, np.newaxis]).max(axis=1)
        exact = rounding(filled.min(axis=1), filled.max(axis=1))
        same = np.where(scaler.constant_, exact, ROUNDING * farthest)
        return cls(scaler, season, same[:, np.newaxis])

    @property
    def scale(self) -> Floats:
        """Return one network unit in units of the series, `(windows, 1)`; 0 if constant."""
        return np.where(self.scaler.constant_, 0.0, self.scaler.scale_)[:, np.newaxis]

    def restore(self, values: Floats) -> Floats:
        """Convert outputs of a network, `(windows, steps)`, to the units of the series."""
        added = (values - self.scaler.transform_batch(self.season)) * self.scale
        return self.season + np.where(np.abs(added) > self.rounding, added, 0.0)

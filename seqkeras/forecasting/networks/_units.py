"""The way back from the numbers of a network to the units of the series."""

from dataclasses import dataclass

import numpy as np

from seqkeras._arrays import ROUNDING, Booleans, Floats, rounding
from seqkeras.forecasting.networks._inputs import fill_missing_targets
from seqkeras.likelihoods import Likelihood
from seqkeras.scoring._metrics import seasonal_changes
from seqkeras.windows import GroupedArray, StandardScaler


def scaler_for(
    series: GroupedArray, likelihood: Likelihood | None, season_length: int
) -> StandardScaler:
    """Return a scaler to mean 0 and deviation 1; for counts one that changes nothing.

    Its `constant_` are the series that have not changed from one season to the next, over two
    seasons or more. Their forecasts are exact, see `Units`; their mean and deviation are those of a
    season, which any window of a season shares.
    """
    if likelihood is not None and likelihood.counts:
        return StandardScaler.from_state(np.zeros(len(series)), np.ones(len(series)))
    scaler = StandardScaler().fit(series)
    shows = series.lengths >= 2 * season_length
    exact = scaler.constant_ | shows & _repeats(series, season_length)
    first = np.maximum(series.lengths - season_length, 0)
    season = StandardScaler().fit(series.select(first, series.lengths))
    return StandardScaler.from_state(
        np.where(exact, season.center_, scaler.center_),
        np.where(exact, season.scale_, scaler.scale_),
        exact,
    )


def _repeats(series: GroupedArray, season_length: int) -> Booleans:
    """Check which series change by no more than rounding from one season to the next."""
    changes = seasonal_changes(series.values, series.lengths, season_length)
    _, largest = GroupedArray(changes, series.indptr).extremes()
    return np.asarray(largest <= rounding(*series.extremes()))


def scaler_of_windows(
    scaler: StandardScaler, windows: Floats, season_length: int
) -> StandardScaler:
    """Return the scaler of windows; where a series did not change in `fit`, only of the window.

    Such a series may have no deviation by which its first changes could be scaled.

    Args:
        scaler: of the series of each window, from `scaler_for`.
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
    if lookback == season_length:  # a single season does not show by itself whether it changed
        same = rounding(*series.extremes())
        moved = np.maximum(np.abs(own.center_ - scaler.center_), np.abs(own.scale_ - scaler.scale_))
        exact |= moved <= same
    return StandardScaler.from_state(
        np.where(unchanged, own.center_, scaler.center_),
        np.where(unchanged, own.scale_, scaler.scale_),
        np.where(unchanged, exact, scaler.constant_),
    )


def _filled(windows: Floats, scaler: StandardScaler, season_length: int) -> Floats:
    """Return windows as a network reads them, not scaled."""
    missing = np.isnan(windows)
    if not missing.any():
        return windows
    filled = fill_missing_targets(windows, season_length)
    return np.where(missing.all(axis=1, keepdims=True), scaler.center_[:, np.newaxis], filled)


@dataclass(frozen=True)
class Units:
    """The units of the series of some windows.

    A network computes in float32, which cannot return the values of a series exactly. So a forecast
    is the last season of its window, plus what the network adds to it: it is exact where that is
    nothing but rounding, and where a series has not changed from one season to the next.

    Attributes:
        scaler: of the windows.
        season: `(windows, steps)`, the last season of each window, repeated.
        rounding: `(windows, 1)`, the difference that counts as none.
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
            scaler: of the series of each window.
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
        """Return the size of one unit of the network, `(windows, 1)`; 0 without any change."""
        return np.where(self.scaler.constant_, 0.0, self.scaler.scale_)[:, np.newaxis]

    def restore(self, values: Floats) -> Floats:
        """Return outputs of a network, `(windows, steps)`, in the units of the series."""
        added = (values - self.scaler.transform_batch(self.season)) * self.scale
        return self.season + np.where(np.abs(added) > self.rounding, added, 0.0)

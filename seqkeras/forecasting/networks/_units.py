"""The way back from the numbers of a network to the units of the series."""

from dataclasses import dataclass

import numpy as np

from seqkeras._arrays import ROUNDING, Floats
from seqkeras.forecasting.networks._inputs import fill_missing_targets
from seqkeras.windows import GroupedArray, StandardScaler


def scaler_of_windows(scaler: StandardScaler, windows: Floats) -> StandardScaler:
    """Return the scaler of windows; where a series never changed in `fit`, of the window alone.

    Such a series has no deviation by which its first changes could be scaled.

    Args:
        scaler: of the series of each window.
        windows: `(windows, lookback)`, not scaled; NaN where a target is missing.
    """
    alone = scaler.constant_ & ~np.isnan(windows).all(axis=1)
    if not alone.any():
        return scaler
    rows, lookback = windows.shape
    own = StandardScaler().fit(GroupedArray(windows.ravel(), np.arange(rows + 1) * lookback))
    return StandardScaler.from_state(
        np.where(alone, own.center_, scaler.center_),
        np.where(alone, own.scale_, scaler.scale_),
        np.where(alone, own.constant_, scaler.constant_),
    )


@dataclass(frozen=True)
class Units:
    """The units of the series of some windows.

    A network computes in float32, which cannot return the values of a series exactly. So a forecast
    is the last season of its window, plus what the network adds to it: it is exact where that is
    nothing but rounding, and where a series never changed.

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
        scaler = scaler_of_windows(scaler, windows)
        filled = fill_missing_targets(windows, season_length)
        unknown = np.isnan(windows).all(axis=1, keepdims=True)
        filled = np.where(unknown, scaler.center_[:, np.newaxis], filled)
        season = filled[:, -season_length:][:, np.arange(steps) % season_length]
        farthest = np.abs(filled - scaler.center_[:, np.newaxis]).max(axis=1)
        size = np.where(scaler.constant_, np.abs(scaler.center_), farthest)
        return cls(scaler, season, ROUNDING * size[:, np.newaxis])

    @property
    def scale(self) -> Floats:
        """Return the size of one unit of the network, `(windows, 1)`; 0 for constant series."""
        return np.where(self.scaler.constant_, 0.0, self.scaler.scale_)[:, np.newaxis]

    def restore(self, values: Floats) -> Floats:
        """Return outputs of a network, `(windows, steps)`, in the units of the series."""
        added = (values - self.scaler.transform_batch(self.season)) * self.scale
        return self.season + np.where(np.abs(added) > self.rounding, added, 0.0)

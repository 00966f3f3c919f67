"""The principal components of windows, in closed form: what an autoencoder then corrects."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from seqkeras._arrays import Floats
from seqkeras.windows import GroupedArray

#: Largest number of windows that the components are fitted on, evenly spaced.
_MOST_WINDOWS = 5_000
#: Share of the windows, those reconstructed worst, that the second fit leaves out.
_LEFT_OUT = 0.1


@dataclass(frozen=True)
class PrincipalWindows:
    """Reconstructs the windows of each feature from their principal components.

    Attributes:
        mean: `(features, lookback)`.
        components: `(features, lookback, latent)`, orthonormal.
    """

    mean: Floats
    components: Floats

    @classmethod
    def fit(
        cls, series: GroupedArray, *, lookback: int, latent: int, clean: bool
    ) -> "PrincipalWindows":
        """Fit the components of each feature.

        Args:
            series: scaled rows `(rows, features)` within their limits.
            lookback: rows of a window.
            latent: number of components, at most `lookback`.
            clean: whether all windows are usual. False: a tenth of the windows, those that a first
                fit reconstructs worst, are left out.
        """
        parts = []
        for feature in range(series.values.shape[1]):
            windows = _windows(series, feature, lookback)
            part = _components(windows, latent)
            if not clean:
                errors = np.abs(_leftover(windows, *part)).mean(axis=1)
                part = _components(windows[errors <= np.quantile(errors, 1 - _LEFT_OUT)], latent)
            parts.append(part)
        return cls(np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts]))

    @classmethod
    def nothing(cls, features: int, *, lookback: int) -> "PrincipalWindows":
        """Return the reconstruction of every window by the center."""
        return cls(np.zeros((features, lookback)), np.zeros((features, lookback, 0)))

    def reconstruct(self, windows: Floats) -> Floats:
        """Reconstruct windows `(n, lookback, features)`."""
        centered = windows - self.mean.T
        codes = np.einsum("nlf,flk->nfk", centered, self.components, optimize=True)
        return self.mean.T + np.einsum("nfk,flk->nlf", codes, self.components, optimize=True)


def _windows(series: GroupedArray, feature: int, lookback: int) -> Floats:
    total = int(np.maximum(series.lengths - lookback + 1, 0).sum())
    stride = -(-total // _MOST_WINDOWS)
    return np.concatenate(
        [
            sliding_window_view(np.asarray(rows)[:, feature], lookback)[::stride]
            for rows in series
            if len(rows) >= lookback
        ]
    )


def _components(windows: Floats, latent: int) -> tuple[Floats, Floats]:
    mean = windows.mean(axis=0)
    centered = windows - mean
    vectors = np.linalg.eigh(centered.T @ centered)[1]
    return mean, vectors[:, -latent:]


def _leftover(windows: Floats, mean: Floats, components: Floats) -> Floats:
    centered = windows - mean
    return centered - centered @ components @ components.T

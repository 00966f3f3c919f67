"""Detectors to compare with, as scores of all rows: `peer(fitted, values, lookback, seed)`."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest

from seqkeras.scoring import moving_z_scores, neighbor_scores, random_scores

#: Windows that a peer is fitted on, at most, evenly spaced.
_MOST_WINDOWS = 5_000
CLUSTERS = 20
#: Share of the variance that the components of PCA keep.
VARIANCE = 0.9
DEGREE = 4


def isolation_forest(fitted, values, lookback, seed):
    """100 trees on windows; a row has the mean score of the windows that cover it."""
    train, windows = _windows(fitted, values, lookback)
    forest = IsolationForest(random_state=seed).fit(train)
    return _to_rows(-forest.score_samples(windows), lookback)


def pca(fitted, values, lookback, seed):
    """Distance of windows from their reconstruction by the components of 90 % of the variance."""
    train, windows = _windows(fitted, values, lookback)
    model = PCA(VARIANCE, svd_solver="full").fit(train)
    left = windows - model.inverse_transform(model.transform(windows))
    return _to_rows(np.sqrt((left**2).mean(axis=1)), lookback)


def k_means(fitted, values, lookback, seed):
    """Distance of windows from the nearest of 20 centers."""
    train, windows = _windows(fitted, values, lookback)
    model = KMeans(CLUSTERS, n_init=1, random_state=seed).fit(train)
    return _to_rows(model.transform(windows).min(axis=1), lookback)


def polynomial(fitted, values, lookback, seed):
    """Distance from a polynomial of degree 4 through the rows around a block of `lookback` rows.

    It reads ten times as many rows as the block, and not those of the block; nothing is fitted
    beforehand. Of several features, the root mean square.
    """
    x = _scaled(values, values)
    expected = np.empty_like(x)
    for begin in range(0, len(x), lookback):
        end = min(begin + lookback, len(x))
        low, high = max(0, begin - 5 * lookback), min(len(x), end + 5 * lookback)
        rows = np.r_[low:begin, end:high]
        time = (np.arange(low, high) - low) / (high - low)
        powers = np.vander(time, DEGREE + 1)
        solved = np.linalg.lstsq(powers[rows - low], x[rows], rcond=None)[0]
        expected[begin:end] = powers[begin - low : end - low] @ solved
    return np.sqrt(((x - expected) ** 2).mean(axis=1))


def moving_z(fitted, values, lookback, seed):
    """Distance from the mean of the `lookback` rows before, in their standard deviations."""
    return moving_z_scores(values, window=lookback)


def neighbors(fitted, values, lookback, seed):
    """Nearest neighbors of five statistics of windows."""
    return neighbor_scores(values, window=lookback)


def at_random(fitted, values, lookback, seed):
    """Random scores."""
    return random_scores(len(values), seed=seed)


def all_ones(fitted, values, lookback, seed):
    """Flag every row."""
    return np.ones(len(values))


PEERS = {
    "isolation forest, windows": isolation_forest,
    "PCA, windows": pca,
    "k-means, windows": k_means,
    "polynomial (POLY-like)": polynomial,
}
REFERENCES = {
    "all ones": all_ones,
    "random": at_random,
    "moving z-score": moving_z,
    "neighbors of statistics": neighbors,
}


def _scaled(fitted, values):
    spread = fitted.std(axis=0)
    return (values - fitted.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _windows(fitted, values, lookback):
    """Return windows to fit on, and all windows, each one flat."""
    train, every = (
        sliding_window_view(_scaled(fitted, rows), lookback, axis=0) for rows in (fitted, values)
    )
    rows = np.linspace(0, len(train) - 1, min(len(train), _MOST_WINDOWS)).astype(int)
    return train[np.unique(rows)].reshape(-1, np.prod(train.shape[1:])), every.reshape(
        len(every), -1
    )


def _to_rows(scores, lookback):
    """Return the mean score of the windows that cover each row."""
    total = np.convolve(scores, np.ones(lookback))
    return total / np.convolve(np.ones(len(scores)), np.ones(lookback))

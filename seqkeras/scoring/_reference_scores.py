"""Simple anomaly scores that any detector has to beat."""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from seqkeras._arrays import Booleans, Floats, Integers, is_constant, without_mask
from seqkeras._checks import Description, bad_argument, check_integer

#: Windows that each window is compared with, at most; they are equally spaced over the series.
COMPARED_WINDOWS = 1_000
#: Distances in memory at the same time, about 8 MB.
CHUNK = 1_000_000
#: Values up to this size are used as they are.
LARGEST = 1e100


def random_scores(timesteps: int, *, seed: int = 0) -> Floats:
    """Draw independent scores between 0 and 1.

    Args:
        timesteps: how many.
        seed: the same seed gives the same scores, default 0.

    Returns:
        `(timesteps,)`.

    Example:
        >>> random_scores(3).round(3).tolist()
        [0.637, 0.27, 0.041]
    """
    count = check_integer("timesteps", timesteps)
    return np.random.default_rng(check_integer("seed", seed, minimum=0)).random(count)


def moving_z_scores(values: npt.ArrayLike, *, window: int) -> Floats:
    """Score each row by its distance from the mean of the rows before, in standard deviations.

    Args:
        values: `(timesteps,)` or `(timesteps, features)`, finite; the largest score over the
            features counts.
        window: how many rows before, at least 2.

    Returns:
        `(timesteps,)`; 0 for the first `window` rows. A change after rows that were all equal is
        measured in standard deviations of the whole series.

    Raises:
        ArgumentError: values are not finite or not of one of these shapes, or the window is not
            shorter than the series.

    Example:
        >>> moving_z_scores([1.0, 3.0, 1.0, 3.0, 8.0], window=4).tolist()
        [0.0, 0.0, 0.0, 0.0, 6.0]
    """
    series = _check_values(values)
    length = check_integer("window", window, minimum=2)
    _check_rows(series, length + 1)
    scores = np.zeros(len(series))
    spread = series.std(axis=0)
    rows = max(1, CHUNK // (length * series.shape[1]))
    for begin in range(length, len(series), rows):
        end = min(begin + rows, len(series))
        before = sliding_window_view(series[begin - length : end - 1], length, axis=0)
        deviation = before.std(axis=-1)
        # Rounding makes the deviation of equal rows tiny, not 0.
        deviation = np.where(deviation > 1e-9 * spread, deviation, spread)
        distance = np.abs(series[begin:end] - before.mean(axis=-1))
        scores[begin:end] = np.divide(
            distance, deviation, out=np.zeros_like(distance), where=deviation > 0
        ).max(axis=1)
    return scores


def neighbor_scores(values: npt.ArrayLike, *, window: int, neighbors: int = 5) -> Floats:
    """Score each row by how unusual the statistics of the window around it are.

    Five statistics describe a window: standard deviation, range, maximum, minimum and mean, each
    scaled by its standard deviation over all windows. The score is the mean distance to the nearest
    windows that do not overlap it, among at most 1,000 equally spaced windows of the series.

    Args:
        values: `(timesteps,)` or `(timesteps, features)`, finite.
        window: rows of a window, at most a third of the series.
        neighbors: how many nearest windows, default 5; fewer where there are not as many.

    Returns:
        `(timesteps,)`; the rows at both ends have the scores of the first and the last window.

    Raises:
        ArgumentError: values are not finite or not of one of these shapes, or the series is shorter
            than three windows.

    Example:
        >>> wave = np.sin(np.arange(200.0))
        >>> wave[100:104] = 0.3
        >>> highest = np.argmax(neighbor_scores(wave, window=8))
        >>> bool(96 <= highest < 108)
        True
    """
    series = _check_values(values)
    length = check_integer("window", window)
    count = check_integer("neighbors", neighbors)
    _check_rows(series, 3 * length)
    statistics = _statistics(series, length)
    compared = np.unique(
        np.linspace(0, len(statistics) - 1, COMPARED_WINDOWS).round().astype(np.int64)
    )
    windows = np.arange(len(statistics))

    def apart(chunk: Integers) -> Booleans:
        return np.asarray(np.abs(chunk[:, np.newaxis] - compared) >= length)

    rows = max(1, CHUNK // len(compared))
    chunks = [windows[begin : begin + rows] for begin in range(0, len(windows), rows)]
    scores = np.concatenate(
        [
            _nearest_distances(statistics[chunk], statistics[compared], apart(chunk), count)
            for chunk in chunks
        ]
    )
    return np.pad(scores, (length // 2, length - 1 - length // 2), mode="edge")


def _statistics(series: Floats, length: int) -> Floats:
    """Return `(windows, 5 * features)`, each with mean 0 and standard deviation 1."""
    parts = []
    rows = max(1, CHUNK // (length * series.shape[1]))
    for begin in range(0, len(series) - length + 1, rows):
        windows = sliding_window_view(series[begin : begin + rows + length - 1], length, axis=0)
        highest = windows.max(axis=-1)
        lowest = windows.min(axis=-1)
        parts.append(
            np.hstack(
                [windows.std(axis=-1), highest - lowest, highest, lowest, windows.mean(axis=-1)]
            )
        )
    statistics = np.concatenate(parts)
    constant = is_constant(statistics.min(axis=0), statistics.max(axis=0))
    spread = np.where(constant, np.inf, statistics.std(axis=0))
    return np.asarray((statistics - statistics.mean(axis=0)) / spread)


def _nearest_distances(windows: Floats, compared: Floats, apart: Booleans, count: int) -> Floats:
    """Return the mean distance of each window to the nearest of those that are apart from it."""
    distances = windows @ (-2 * compared.T)
    distances += np.sum(windows**2, axis=1)[:, np.newaxis]
    distances += np.sum(compared**2, axis=1)
    distances[~apart] = np.inf
    count = min(count, len(compared))
    nearest = np.partition(distances, count - 1, axis=1)[:, :count]
    available = np.isfinite(nearest)
    roots = np.sqrt(np.where(available, np.maximum(nearest, 0), 0))
    return np.asarray(roots.sum(axis=1) / np.maximum(1, available.sum(axis=1)))


def _check_values(values: npt.ArrayLike) -> Floats:
    series = np.asarray(without_mask(values), dtype=np.float64)
    if series.ndim not in (1, 2) or not series.size:
        expected = "(timesteps,) or (timesteps, features), and not empty"
        raise bad_argument("values", Description(f"shape {series.shape}"), expected)
    columns = series.reshape(len(series), -1)
    invalid = np.flatnonzero(~np.isfinite(columns).all(axis=1))
    if len(invalid):
        actual = Description(f"NaN or infinity in row {invalid[0]} ({len(invalid)} rows in all)")
        raise bad_argument("values", actual, "finite", "Fill the gaps first.")
    size = np.abs(columns).max(axis=0)
    # No score depends on the unit, and squares of larger values overflow.
    return np.asarray(columns / np.where(size > LARGEST, size, 1))


def _check_rows(series: Floats, minimum: int) -> None:
    if len(series) < minimum:
        actual = Description(f"{len(series)} rows")
        raise bad_argument(
            "values", actual, f"at least {minimum} rows long", "Use a smaller window."
        )

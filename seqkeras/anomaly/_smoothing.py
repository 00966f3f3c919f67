"""Smoothing of scores, so that single noisy timesteps do not raise an alarm."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Array, Floats
from seqkeras._checks import bad_argument, check_integer, check_positive
from seqkeras.anomaly._piece import Piece
from seqkeras.anomaly._score_rows import as_scores


@dataclass(eq=False)
class ExponentialSmoothing(Piece):
    """Average a score with the past scores, whose weights decay exponentially.

    Causal: a smoothed score does not depend on later ones. Weights are divided by their sum, so the
    first scores are not pulled towards 0. A missing score (NaN) stays NaN, and weights also decay
    while scores are missing. An infinite score stays infinite and is left out of the average.

    Args:
        halflife: timesteps after which a score counts half as much as the newest, default 2.

    Example:
        >>> ExponentialSmoothing(halflife=1).smooth([0.0, 3.0, float("nan"), 3.0])
        array([0.        , 2.        ,        nan, 2.72727273])
    """

    causal = True

    halflife: float = 2.0

    def smooth(self, scores: npt.ArrayLike) -> Floats:
        """Smooth scores `(n,)` in order of time.

        Raises:
            ArgumentError: `halflife` is not above 0, or scores have another shape.
        """
        rows = as_scores("scores", scores)[:, np.newaxis]
        decay = decay_of(check_positive("halflife", self.halflife))
        return decaying_means(rows, decay)[:, 0]

    def initial_state(self) -> Floats:
        """Return the state before the first score, `(2,)`: the weighted sum, and the weights."""
        return np.zeros(2)

    def step(self, score: float, state: Array) -> tuple[float, Floats]:
        """Smooth one score: `(score, state)` to `(smoothed score, state)`, as `smooth` does."""
        total, weight = state.tolist()
        decay = decay_of(self.halflife)
        total *= decay
        weight *= decay
        if not np.isfinite(score):
            return float(score), np.array((total, weight))
        total += score
        weight += 1.0
        return float(total / weight), np.array((total, weight))


@dataclass(eq=False)
class MovingAverage(Piece):
    """Average each score with its neighbors on both sides.

    Not causal: a smoothed score also depends on the `window // 2` scores after it, so it is of no
    use in a stream. Windows are shorter at both ends of the series. A missing score (NaN) stays NaN
    and is left out of the averages of others; so is an infinite score.

    Args:
        window: timesteps in the average, an odd number, default 5.

    Example:
        >>> MovingAverage(window=3).smooth([0.0, 3.0, 6.0, float("nan")])
        array([1.5, 3. , 4.5, nan])
    """

    causal = False

    window: int = 5

    def smooth(self, scores: npt.ArrayLike) -> Floats:
        """Smooth scores `(n,)` in order of time.

        Raises:
            ArgumentError: `window` is not an odd number, or scores have another shape.
        """
        window = check_odd("window", self.window)
        values = as_scores("scores", scores)[:, np.newaxis]
        means = centered_means(values, window)
        return np.where(np.isfinite(values), means, values)[:, 0]


def check_odd(name: str, value: object) -> int:
    """Return a window that has as many timesteps before its center as after it."""
    window = check_integer(name, value)
    if window % 2 == 0:
        raise bad_argument(name, value, "an odd number", f"For example {window + 1}.")
    return window


def decay_of(halflife: float) -> float:
    """Return the factor of a weight from one timestep to the next."""
    return float(0.5 ** (1.0 / halflife))


def decaying_means(rows: Floats, decay: float) -> Floats:
    """Return the exponentially weighted mean up to each row; rows that are not finite stay.

    Args:
        rows: `(n, features)`.
        decay: factor of a weight from one timestep to the next.
    """
    finite = np.isfinite(rows)
    totals = _decaying_sums(np.where(finite, rows, 0.0), decay)
    weights = _decaying_sums(finite.astype(np.float64), decay)
    return np.where(finite, totals / np.where(finite, weights, 1.0), rows)


def centered_means(rows: Floats, window: int) -> Floats:
    """Return the mean of the finite rows around each row, `(n, features)`; NaN if there are none.

    Sums are direct, not differences of running sums, which a huge value would spoil.
    """
    finite = np.isfinite(rows)
    counts = _windowed_sums(finite.astype(np.float64), window)
    totals = _windowed_sums(np.where(finite, rows, 0.0), window)
    return np.where(counts > 0.5, totals / np.maximum(counts, 1.0), np.nan)


def _decaying_sums(rows: Floats, decay: float) -> Floats:
    from scipy.signal import lfilter  # slow to import, and a stream does not need it

    return np.asarray(lfilter([1.0], [1.0, -decay], rows, axis=0)) if len(rows) else rows


def _windowed_sums(rows: Floats, window: int) -> Floats:
    half = window // 2
    sums = np.empty_like(rows)
    ones = np.ones(window)
    for number, column in enumerate(rows.T):
        if len(column):
            sums[:, number] = np.convolve(column, ones)[half : half + len(column)]
    return sums

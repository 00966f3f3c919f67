"""The surprise of a score: how rare scores of its size are, so that different scores compare."""

import math

import numpy as np

from seqkeras._arrays import Floats
from seqkeras._checks import bad_data
from seqkeras.anomaly._score_rows import check_finite

#: Quantiles at which the surprise is known; it is linear between them, and beyond the last.
_LEVELS = np.array([0.0, 0.5, 0.9, 0.98])
_SURPRISES = -np.log1p(-_LEVELS)
_LINE = tuple(_SURPRISES.tolist())


def fit_surprise(name: str, scores: Floats) -> Floats:
    """Return the quantiles of scores `(n,)` that `surprises` reads, and the scale of their tail.

    Args:
        name: what the scores are, for errors.
        scores: `(n,)`, NaN left out.

    Returns:
        `(5,)`: four quantiles, and the mean excess over the last. Without an excess (equal scores),
        the range of the scores stands for it, and without a range 1.

    Raises:
        DataError: no known score, or infinite ones.
    """
    check_finite(name, scores)
    known = scores[~np.isnan(scores)]
    if not known.size:
        raise bad_data(name, f"no known value in {len(scores)} rows", "have known values")
    quantiles = np.quantile(known, _LEVELS)
    above = known[known > quantiles[-1]]
    excess = float((above - quantiles[-1]).mean()) if above.size else 0.0
    return np.append(quantiles, excess or float(known.max() - known.min()) or 1.0)


def surprises(scores: Floats, fitted: Floats) -> Floats:
    """Return minus the logarithm of the probability that a score is exceeded, in nats.

    The probability is that in `fit_surprise`: linear between quantiles on the logarithmic scale,
    and exponential in the tail, so that it keeps growing beyond the largest score.
    """
    *quantiles, excess = fitted
    tail = np.maximum(scores - quantiles[-1], 0.0) / excess
    return np.asarray(np.interp(scores, quantiles, _SURPRISES) + tail)


def surprise_of(score: float, fitted: list[float]) -> float:
    """Return the same for a single score and `fitted.tolist()`, faster."""
    low, middle, high, last, excess = fitted
    if score > last:
        return _LINE[3] + (score - last) / excess
    if score >= high:
        return _between(score, high, last, 2)
    if score >= middle:
        return _between(score, middle, high, 1)
    if score >= low:
        return _between(score, low, middle, 0)
    return _LINE[0] if score < low else math.nan


def _between(score: float, low: float, high: float, number: int) -> float:
    if high == low:  # then the score is equal to both, and the next part is empty
        return _LINE[number + 1]
    share = (score - low) / (high - low)
    return _LINE[number] + share * (_LINE[number + 1] - _LINE[number])

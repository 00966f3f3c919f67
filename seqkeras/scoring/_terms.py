"""The terms of scores: the contribution of each value, as arrays."""

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Floats, without_mask
from seqkeras._checks import bad_argument


def percentages(actual: Floats, forecast: Floats) -> Floats:
    """Compute the terms of sMAPE, `200 |a - f| / (|a| + |f|)`, where 0 / 0 counts as 0."""
    size = np.abs(actual) + np.abs(forecast)
    error = np.abs(actual - forecast)
    return 200 * np.divide(error, size, out=np.zeros_like(size), where=size != 0)


def pinball(actual: Floats, quantile: Floats, probability: npt.ArrayLike) -> Floats:
    """Compute the quantile loss (Koenker & Bassett 1978), which the true quantile minimizes."""
    error = actual - quantile
    probability = np.asarray(probability)
    return np.maximum(probability * error, (probability - 1) * error)


def crps_terms(actual: Floats, quantiles: Floats, probabilities: Floats) -> Floats:
    """Compute the CRPS of each value: twice the integral of the pinball loss over the probability.

    Each quantile represents the probabilities that are closer to its own than to another.
    """
    edges = np.concatenate([[0.0], (probabilities[1:] + probabilities[:-1]) / 2, [1.0]])
    losses = pinball(actual[..., np.newaxis], quantiles, probabilities)
    return np.asarray(2 * losses @ np.diff(edges))


def interval_terms(actual: Floats, low: Floats, high: Floats, level: float) -> Floats:
    """Compute interval scores: the width, plus the distance outside times `2 / (1 - level / 100)`.

    `level` is in percent.
    """
    outside = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    return (high - low) + outside * 2 / (1 - level / 100)


def same_shape(
    actual: npt.ArrayLike, other: npt.ArrayLike, name: str = "forecast"
) -> tuple[Floats, Floats]:
    """Convert two arrays of the same shape to float64.

    Raises:
        ArgumentError: their shapes differ, or they are empty.
    """
    actual = np.asarray(without_mask(actual), dtype=np.float64)
    other = np.asarray(without_mask(other), dtype=np.float64)
    if actual.shape != other.shape or not actual.size:
        expected = f"an array with the shape of actual, {actual.shape}, and not empty"
        raise bad_argument(name, other.shape, expected)
    return actual, other

"""What each single value adds to a score: arrays in, an array of their shape out."""

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument

Floats = npt.NDArray[np.float64]


def percentages(actual: Floats, forecast: Floats) -> Floats:
    """The terms of sMAPE, `200 |a - f| / (|a| + |f|)`, where 0 / 0 counts as 0."""
    size = np.abs(actual) + np.abs(forecast)
    error = np.abs(actual - forecast)
    return 200 * np.divide(error, size, out=np.zeros_like(size), where=size != 0)


def pinball(actual: Floats, quantile: Floats, probability: npt.ArrayLike) -> Floats:
    """The quantile loss (Koenker & Bassett 1978): smallest where `quantile` is that quantile."""
    error = actual - quantile
    share = np.asarray(probability)
    return np.maximum(share * error, (share - 1) * error)


def crps_terms(actual: Floats, quantiles: Floats, probabilities: Floats) -> Floats:
    """The CRPS of each value: twice the integral of the pinball loss over the probability.

    Each quantile stands for the probabilities that are nearer to its own than to another.
    """
    edges = np.concatenate([[0.0], (probabilities[1:] + probabilities[:-1]) / 2, [1.0]])
    losses = pinball(actual[..., np.newaxis], quantiles, probabilities)
    return np.asarray(2 * losses @ np.diff(edges))


def interval_terms(actual: Floats, low: Floats, high: Floats, level: float) -> Floats:
    """Interval scores: the width, and what lies outside times `2 / (1 - level)`."""
    outside = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    return (high - low) + outside * 2 / (1 - level / 100)


def same_shape(
    actual: npt.ArrayLike, other: npt.ArrayLike, name: str = "forecast"
) -> tuple[Floats, Floats]:
    """Both as float64.

    Raises:
        ArgumentError: their shapes differ, or they are empty.
    """
    truth = np.asarray(actual, dtype=np.float64)
    guess = np.asarray(other, dtype=np.float64)
    if truth.shape != guess.shape or not truth.size:
        expected = f"an array of the shape of actual, {truth.shape}, and not empty"
        raise bad_argument(name, guess.shape, expected)
    return truth, guess

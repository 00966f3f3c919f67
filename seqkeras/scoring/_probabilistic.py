"""Metrics of quantiles and intervals."""

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Floats, without_mask
from seqkeras._checks import Description, bad_argument, is_level
from seqkeras.scoring._metrics import seasonal_scale
from seqkeras.scoring._terms import crps_terms, interval_terms, pinball, same_shape


def wql(actual: npt.ArrayLike, quantiles: npt.ArrayLike, *, probabilities: npt.ArrayLike) -> float:
    """Compute the weighted quantile loss: twice the pinball loss over the sum of absolute values.

    It is the mean over the probabilities, as reported for DeepAR as rho-risk (Salinas et al. 2020;
    Seeger et al. 2016). Long series and large values weigh more. For a point forecast, with 0.5 as
    the only probability, it is the sum of absolute errors over the sum of absolute values.

    Args:
        actual: actual values, `(...)`.
        quantiles: forecast quantiles, `(..., probabilities)`.
        probabilities: `(probabilities,)`, between 0 and 1, increasing.

    Raises:
        ArgumentError: shapes differ, the probabilities are invalid, or every value is 0.

    Example:
        >>> wql([4.0, 4.0], [[3.0], [5.0]], probabilities=[0.5])
        0.25
    """
    actual, quantiles, probabilities = _check_quantiles(actual, quantiles, probabilities)
    size = float(np.sum(np.abs(actual)))
    if size == 0:
        expected = "values that are not all 0, because wql divides by the sum of their sizes"
        raise bad_argument("actual", Description("only zeros"), expected)
    losses = 2 * pinball(actual[..., np.newaxis], quantiles, probabilities)
    return float(np.sum(losses) / len(probabilities) / size)


def crps(actual: npt.ArrayLike, quantiles: npt.ArrayLike, *, probabilities: npt.ArrayLike) -> float:
    """Compute the continuous ranked probability score from quantiles, in the unit of the series.

    It is twice the integral of the pinball loss over all probabilities (Laio & Tamea 2007;
    Gneiting & Ranjan 2011), where each quantile represents the probabilities nearest to its own.
    The true quantiles minimize it. For equally spaced quantiles, such as a sorted sample with
    probabilities `(i + 0.5) / n`, it is the CRPS of that sample; for a point forecast, with 0.5 as
    the only probability, it is the mean absolute error.

    Args:
        actual: actual values, `(...)`.
        quantiles: forecast quantiles, `(..., probabilities)`.
        probabilities: `(probabilities,)`, between 0 and 1, increasing.

    Raises:
        ArgumentError: shapes differ, or the probabilities are invalid.

    Example:
        >>> crps([3.0], [[5.0]], probabilities=[0.5])
        2.0
        >>> crps([0.0], [[-1.0, 1.0]], probabilities=[0.25, 0.75])
        0.5
    """
    return float(np.mean(crps_terms(*_check_quantiles(actual, quantiles, probabilities))))


def coverage(actual: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> float:
    """Compute the share of values inside their interval, bounds included; NaN if any is NaN.

    Example:
        >>> coverage([1.0, 5.0], [0.0, 0.0], [2.0, 2.0])
        0.5
    """
    actual, low, high = _bounds(actual, low, high)
    known = ~np.isnan(actual + low + high)
    return float(np.mean(np.where(known, (low <= actual) & (actual <= high), np.nan)))


def interval_score(
    actual: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, *, level: float
) -> float:
    """Compute Winkler's score of intervals, in the unit of the series (Winkler 1972).

    It is the mean width, plus `2 / (1 - level / 100)` times the distance of each outside value to
    its interval (Gneiting & Raftery 2007, section 6.2). It rewards narrow intervals that cover the
    actual values.

    Args:
        actual: actual values, of any shape.
        low: lower bounds.
        high: upper bounds.
        level: nominal coverage in percent.

    Raises:
        ArgumentError: shapes differ, or the level is not a percentage from 1 to below 100.

    Example:
        >>> interval_score([1.0, 5.0], [0.0, 0.0], [2.0, 4.0], level=80)
        8.0
    """
    actual, low, high = _bounds(actual, low, high)
    if not is_level(level):
        raise bad_argument("level", level, "a percentage from 1 to below 100", "For example 95.")
    return float(np.mean(interval_terms(actual, low, high, level)))


def msis(
    actual: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    *,
    level: float,
    history: npt.ArrayLike,
    season_length: int = 1,
) -> float:
    """Compute the mean scaled interval score of a series: the interval score, scaled as in `mase`.

    It is the score of intervals in the M4 competition, there at level 95 (Makridakis et al. 2020).

    Args:
        actual: actual values, `(timesteps,)`.
        low: lower bounds, `(timesteps,)`.
        high: upper bounds, `(timesteps,)`.
        level: nominal coverage in percent.
        history: the values before, `(rows,)`, with more rows than one season.
        season_length: timesteps of one season, default 1.

    Raises:
        ArgumentError: as in `interval_score` and `mase`.

    Example:
        >>> msis([1.0], [0.0], [2.0], level=95, history=[1.0, 2.0, 3.0])
        2.0
    """
    return interval_score(actual, low, high, level=level) / seasonal_scale(history, season_length)


def _bounds(
    actual: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    values, lower = same_shape(actual, low, "low")
    _, upper = same_shape(actual, high, "high")
    swapped = np.flatnonzero(lower > upper)
    if len(swapped):
        pair = f"{lower.flat[swapped[0]]} and {upper.flat[swapped[0]]} at {swapped[0]}"
        raise bad_argument("low", Description(f"{pair}, {len(swapped)} in all"), "at most high")
    return values, lower, upper


def _check_quantiles(
    actual: npt.ArrayLike, quantiles: npt.ArrayLike, probabilities: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    values = np.asarray(without_mask(actual), dtype=np.float64)
    forecasts = np.asarray(without_mask(quantiles), dtype=np.float64)
    shares = np.asarray(probabilities, dtype=np.float64)
    valid = shares.ndim == 1 and len(shares) and np.all((shares > 0) & (shares < 1))
    if not valid or np.any(np.diff(shares) <= 0):
        raise bad_argument("probabilities", probabilities, "increasing numbers between 0 and 1")
    expected_shape = (*values.shape, len(shares))
    if not values.size or forecasts.shape != expected_shape:
        expected = f"an array of shape {expected_shape}, and not empty"
        raise bad_argument("quantiles", forecasts.shape, expected)
    return values, forecasts, shares

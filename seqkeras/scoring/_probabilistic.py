"""Metrics of quantiles and of intervals: how far, how sharp, how honest."""

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.scoring._metrics import seasonal_scale
from seqkeras.scoring._terms import Floats, crps_terms, interval_terms, pinball, same_shape


def wql(actual: npt.ArrayLike, quantiles: npt.ArrayLike, *, probabilities: npt.ArrayLike) -> float:
    """Weighted quantile loss: twice the pinball losses over the sum of the absolute values.

    The mean over the probabilities, as it is reported for DeepAR as rho-risk (Salinas et al. 2020;
    Seeger et al. 2016). Long or large series weigh more. A point forecast, given for 0.5 alone, has
    the sum of its absolute errors over the sum of the absolute values.

    Args:
        actual: what came, `(...)`.
        quantiles: what was forecast, `(..., probabilities)`.
        probabilities: `(probabilities,)`, between 0 and 1, rising.

    Raises:
        ArgumentError: shapes differ, the probabilities cannot be such, or every value is 0.

    Example:
        >>> wql([4.0, 4.0], [[3.0], [5.0]], probabilities=[0.5])
        0.25
    """
    truth, guess, shares = _quantiles(actual, quantiles, probabilities)
    size = float(np.sum(np.abs(truth)))
    if size == 0:
        raise bad_argument("actual", "zeros alone", "values of which one is not 0, to weigh by")
    losses = 2 * pinball(truth[..., np.newaxis], guess, shares)
    return float(np.sum(losses) / len(shares) / size)


def crps(actual: npt.ArrayLike, quantiles: npt.ArrayLike, *, probabilities: npt.ArrayLike) -> float:
    """Continuous ranked probability score, in the unit of the series, from quantiles.

    Twice the integral of the pinball loss over all probabilities (Laio & Tamea 2007; Gneiting &
    Ranjan 2011), where each quantile stands for the probabilities nearest to its own. Every
    quantile does best by what is believed. Of equally spaced quantiles, such as a sorted sample
    with probabilities `(i + 0.5) / n`, it is the CRPS of that sample; a point forecast, given for
    0.5, has the mean absolute error.

    Args:
        actual: what came, `(...)`.
        quantiles: what was forecast, `(..., probabilities)`.
        probabilities: `(probabilities,)`, between 0 and 1, rising.

    Raises:
        ArgumentError: shapes differ, or the probabilities cannot be such.

    Example:
        >>> crps([3.0], [[5.0]], probabilities=[0.5])
        2.0
        >>> crps([0.0], [[-1.0, 1.0]], probabilities=[0.25, 0.75])
        0.5
    """
    return float(np.mean(crps_terms(*_quantiles(actual, quantiles, probabilities))))


def coverage(actual: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> float:
    """Share of values that lie inside their interval, borders included; NaN if one is NaN.

    Example:
        >>> coverage([1.0, 5.0], [0.0, 0.0], [2.0, 2.0])
        0.5
    """
    truth, lower = same_shape(actual, low, "low")
    _, upper = same_shape(actual, high, "high")
    known = ~np.isnan(truth + lower + upper)
    return float(np.mean(np.where(known, (lower <= truth) & (truth <= upper), np.nan)))


def interval_score(
    actual: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, *, level: float
) -> float:
    """Winkler's score of intervals, in the unit of the series (Winkler 1972).

    The mean width, and for each value outside its distance to the interval times `2 / (1 - level)`
    (Gneiting & Raftery 2007, section 6.2). Narrow is good, and so is to cover what comes.

    Args:
        actual: what came, of any shape.
        low: lower borders.
        high: upper borders.
        level: nominal coverage in percent.

    Raises:
        ArgumentError: shapes differ, or the level is not between 0 and 100.

    Example:
        >>> interval_score([1.0, 5.0], [0.0, 0.0], [2.0, 4.0], level=80)
        8.0
    """
    truth, lower = same_shape(actual, low, "low")
    _, upper = same_shape(actual, high, "high")
    if not 0 < level < 100:
        raise bad_argument("level", level, "a percentage between 0 and 100")
    return float(np.mean(interval_terms(truth, lower, upper, level)))


def msis(
    actual: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    *,
    level: float,
    history: npt.ArrayLike,
    season_length: int = 1,
) -> float:
    """Mean scaled interval score of one series: the interval score, scaled as `mase` is.

    The score of intervals in the M4 competition, there at level 95 (Makridakis et al. 2020).

    Args:
        actual: what came, `(timesteps,)`.
        low: lower borders, `(timesteps,)`.
        high: upper borders, `(timesteps,)`.
        level: nominal coverage in percent.
        history: the values before, `(rows,)`, with more rows than one season.
        season_length: timesteps of one season.

    Raises:
        ArgumentError: as `interval_score` and `mase`.

    Example:
        >>> msis([1.0], [0.0], [2.0], level=95, history=[1.0, 2.0, 3.0])
        2.0
    """
    return interval_score(actual, low, high, level=level) / seasonal_scale(history, season_length)


def _quantiles(
    actual: npt.ArrayLike, quantiles: npt.ArrayLike, probabilities: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    truth, guess, shares = (
        np.asarray(one, dtype=np.float64) for one in (actual, quantiles, probabilities)
    )
    known = shares.ndim == 1 and len(shares) and np.all((shares > 0) & (shares < 1))
    if not known or np.any(np.diff(shares) <= 0):
        raise bad_argument("probabilities", probabilities, "rising numbers between 0 and 1")
    if not truth.size or guess.shape != (*truth.shape, len(shares)):
        expected = f"an array of shape {(*truth.shape, len(shares))}, and not empty"
        raise bad_argument("quantiles", guess.shape, expected)
    return truth, guess, shares

"""Metrics of point forecasts and intervals, over arrays of any shape."""

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, check_integer


def mae(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Mean absolute error, in the unit of the series.

    Example:
        >>> mae([1.0, 2.0], [1.0, 4.0])
        1.0
    """
    truth, guess = _same_shape(actual, forecast)
    return float(np.mean(np.abs(truth - guess)))


def rmse(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the series.

    Example:
        >>> rmse([0.0, 0.0], [3.0, 3.0])
        3.0
    """
    truth, guess = _same_shape(actual, forecast)
    return float(np.sqrt(np.mean((truth - guess) ** 2)))


def smape(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Symmetric mean absolute percentage error, in percent: 0 to 200 (Makridakis 1993).

    The mean of `200 |a - f| / (|a| + |f|)`, where 0 / 0 counts as 0.

    Example:
        >>> smape([100.0], [300.0])
        100.0
    """
    truth, guess = _same_shape(actual, forecast)
    size = np.abs(truth) + np.abs(guess)
    error = np.abs(truth - guess)
    return float(200 * np.mean(np.divide(error, size, out=np.zeros_like(size), where=size != 0)))


def mase(
    actual: npt.ArrayLike,
    forecast: npt.ArrayLike,
    *,
    history: npt.ArrayLike,
    season_length: int = 1,
) -> float:
    """Mean absolute scaled error of one series (Hyndman & Koehler 2006, with seasons as in M4).

    The mean absolute error, divided by that of the seasonal naive forecast one season ahead
    inside the history: below 1 is better than that.

    Args:
        actual: what came, `(timesteps,)`.
        forecast: what was forecast, `(timesteps,)`.
        history: the values before, `(rows,)`, with more rows than one season.
        season_length: timesteps of one season; 1 compares with the naive forecast.

    Raises:
        ArgumentError: shapes differ, the history is not longer than a season, or it repeats
            itself exactly, so that there is nothing to scale by.

    Example:
        >>> mase([4.0, 5.0], [4.0, 4.0], history=[1.0, 2.0, 3.0])
        0.5
    """
    season = check_integer("season_length", season_length)
    past = np.asarray(history, dtype=np.float64)
    if past.ndim != 1 or len(past) <= season:
        raise bad_argument("history", past.shape, f"(rows,) with more than {season} rows")
    scale = float(np.mean(np.abs(past[season:] - past[:-season])))
    if scale == 0:
        expected = "a history with at least one change from season to season"
        raise bad_argument("history", f"all differences at lag {season} are 0", expected)
    return mae(actual, forecast) / scale


def coverage(actual: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> float:
    """Share of values that lie inside their interval, borders included; NaN if one is NaN.

    Example:
        >>> coverage([1.0, 5.0], [0.0, 0.0], [2.0, 2.0])
        0.5
    """
    truth, lower = _same_shape(actual, low, "low")
    _, upper = _same_shape(actual, high, "high")
    known = ~np.isnan(truth + lower + upper)
    return float(np.mean(np.where(known, (lower <= truth) & (truth <= upper), np.nan)))


def _same_shape(
    actual: npt.ArrayLike, other: npt.ArrayLike, name: str = "forecast"
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    truth = np.asarray(actual, dtype=np.float64)
    guess = np.asarray(other, dtype=np.float64)
    if truth.shape != guess.shape or not truth.size:
        expected = f"an array of the shape of actual, {truth.shape}, and not empty"
        raise bad_argument(name, guess.shape, expected)
    return truth, guess

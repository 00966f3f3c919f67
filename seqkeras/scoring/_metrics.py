"""Metrics of point forecasts, for arrays of any shape."""

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Floats, Integers, positions, rounding, without_mask
from seqkeras._checks import Description, bad_argument, check_integer, check_positive
from seqkeras.scoring._terms import percentages, same_shape


def mae(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Compute the mean absolute error, in the unit of the series.

    Example:
        >>> mae([1.0, 2.0], [1.0, 4.0])
        1.0
    """
    actual, forecast = same_shape(actual, forecast)
    return float(np.mean(np.abs(actual - forecast)))


def rmse(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Compute the root mean squared error, in the unit of the series.

    Example:
        >>> rmse([0.0, 0.0], [3.0, 3.0])
        3.0
    """
    actual, forecast = same_shape(actual, forecast)
    return float(np.sqrt(np.mean((actual - forecast) ** 2)))


def smape(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> float:
    """Compute the symmetric mean absolute percentage error, from 0 to 200 (Makridakis 1993).

    It is the mean of `200 |a - f| / (|a| + |f|)`, where 0 / 0 counts as 0.

    Example:
        >>> smape([100.0], [300.0])
        100.0
    """
    actual, forecast = same_shape(actual, forecast)
    return float(np.mean(percentages(actual, forecast)))


def mase(
    actual: npt.ArrayLike,
    forecast: npt.ArrayLike,
    *,
    history: npt.ArrayLike,
    season_length: int = 1,
) -> float:
    """Compute the mean absolute scaled error of a series (Hyndman & Koehler 2006, M4).

    It is the mean absolute error, divided by the error of the seasonal naive forecast one season
    ahead within the history (`seasonal_scales`). A value below 1 is better than the naive forecast.

    Args:
        actual: actual values, `(timesteps,)`.
        forecast: forecasts, `(timesteps,)`.
        history: the values before, `(rows,)`, with more rows than one season. Missing values (NaN)
            do not count.
        season_length: timesteps of one season, default 1: compare with the naive forecast.

    Raises:
        ArgumentError: shapes differ, the history is not longer than a season, or it never changes
            from one season to the next, so that the scale is 0.

    Example:
        >>> mase([4.0, 5.0], [4.0, 4.0], history=[1.0, 2.0, 3.0])
        0.5
    """
    return mae(actual, forecast) / seasonal_scale(history, season_length)


def owa(*, smape: float, mase: float, naive2_smape: float, naive2_mase: float) -> float:
    """Compute the overall weighted average of the M4 competition (Makridakis et al. 2020).

    It is the mean of sMAPE and MASE, each averaged over all series and then divided by the same
    score of the forecast `naive2`. 1 is as good as Naive2, below 1 is better.

    Args:
        smape: mean sMAPE over the series.
        mase: mean MASE over the series.
        naive2_smape: mean sMAPE of `naive2` over the same series.
        naive2_mase: mean MASE of `naive2` over the same series.

    Raises:
        ArgumentError: a score of Naive2 is not above 0.

    Example:
        >>> owa(smape=9.0, mase=1.5, naive2_smape=10.0, naive2_mase=2.0)
        0.825
    """
    relative_smape = smape / check_positive("naive2_smape", naive2_smape)
    relative_mase = mase / check_positive("naive2_mase", naive2_mase)
    return (relative_smape + relative_mase) / 2


def seasonal_scales(
    values: npt.ArrayLike, indptr: npt.ArrayLike, season_length: int
) -> npt.NDArray[np.float64]:
    """Compute the divisor of MASE for many series at once.

    It is the mean absolute change from one season to the next. Missing values (NaN) do not count.

    Args:
        values: `(rows,)`, the histories of all series, one after the other.
        indptr: `(series + 1,)`, the row where each series begins, followed by the number of rows.
        season_length: timesteps of one season.

    Returns:
        `(series,)`; NaN for a series without any change beyond float32 rounding, or with no pair of
        known values that are a season apart.

    Example:
        >>> seasonal_scales([1.0, 3.0, 4.0, 5.0, 5.0], [0, 3, 5], 1)
        array([1.5, nan])
    """
    values = np.asarray(without_mask(values), dtype=np.float64)
    indptr = np.asarray(indptr, dtype=np.int64)
    lengths = np.diff(indptr)
    changes = seasonal_changes(values, lengths, check_integer("season_length", season_length))
    known = ~np.isnan(changes)
    counts = np.zeros(len(lengths), dtype=np.int64)
    sums = np.zeros(len(lengths))
    changed = np.zeros(len(lengths), dtype=bool)
    filled = lengths > 0  # `reduceat` cannot sum an empty range
    starts = indptr[:-1][filled]
    if len(starts):
        counts[filled] = np.add.reduceat(known, starts, dtype=np.int64)
        sums[filled] = np.add.reduceat(np.where(known, changes, 0), starts)
        lowest = np.fmin.reduceat(values, starts)
        highest = np.fmax.reduceat(values, starts)
        changed[filled] = np.fmax.reduceat(changes, starts) > rounding(lowest, highest)
    return np.where(changed, sums, np.nan) / np.maximum(1, counts)


def seasonal_changes(values: Floats, lengths: Integers, season_length: int) -> Floats:
    """Return the absolute change of each row from one season before; NaN in the first season."""
    later = np.flatnonzero(positions(lengths) >= season_length)
    changes = np.full(len(values), np.nan)
    changes[later] = np.abs(values[later] - values[later - season_length])
    return changes


def seasonal_scale(history: npt.ArrayLike, season_length: int) -> float:
    """Compute the divisor of MASE for one series.

    Raises:
        ArgumentError: the history is not longer than a season, or never changes from one season
            to the next.
    """
    season = check_integer("season_length", season_length)
    past = np.asarray(without_mask(history), dtype=np.float64)
    if past.ndim != 1 or len(past) <= season:
        raise bad_argument("history", past.shape, f"(rows,) with more than {season} rows")
    (scale,) = seasonal_scales(past, [0, len(past)], season)
    if np.isnan(scale):
        expected = "a history with at least one change from season to season"
        raise bad_argument(
            "history", Description(f"all differences at lag {season} are 0 or missing"), expected
        )
    return float(scale)

"""Whether series have the season that their frequency suggests."""

import numpy as np

from seqkeras._arrays import DOUBLE_ROUNDING, Array, evenly_spaced
from seqkeras.scoring._baselines import seasonal_score
from seqkeras.windows import GroupedArray

#: Least score of a season, in standard errors. Seasons that just miss it hardly matter.
LEAST_SCORE = 1.0
#: Least and largest number of seasons that are read, and largest number of series.
_LEAST_SEASONS = 3
_MOST_SEASONS = 50
_MOST_SERIES = 200


def assumed_season(values: GroupedArray, suggested: int, lookback: int) -> int:
    """Return the season that the frequency suggests, or 1 if the series do not have it.

    Args:
        values: the series, `(rows,)` each; NaN where a value is missing.
        suggested: timesteps of the season of the frequency.
        lookback: timesteps that a forecast reads; a longer season is 1 as well.
    """
    return suggested if 1 < suggested <= lookback and has_season(values, suggested) else 1


def has_season(values: GroupedArray, season_length: int) -> bool:
    """Check whether the changes of series repeat after a season.

    The score of a series is the autocorrelation of its changes from one timestep to the next, at
    the lag of the season, in units of its standard error. Scores of several series are added, and
    divided by the square root of their number (Stouffer 1949).

    Args:
        values: the series, `(rows,)` each; NaN where a value is missing.
        season_length: timesteps of one season, above 1.

    Returns:
        Whether the score is at least `LEAST_SCORE`. True as well if no series both changes and has
        at least three seasons, so that nothing speaks against the season.

    Example:
        >>> week = np.tile([5.0, 6.0, 7.0, 6.0, 8.0, 2.0, 1.0], 8)
        >>> walk = np.random.default_rng(0).normal(size=56).cumsum()
        >>> [has_season(GroupedArray.from_series([series]), 7) for series in (week, walk)]
        [True, False]
    """
    chosen = values.take(evenly_spaced(len(values), _MOST_SERIES))
    recent = [series[-_MOST_SEASONS * season_length :] for series in chosen]
    scores = [score for series in recent if (score := _score(series, season_length)) is not None]
    return not scores or sum(scores) / len(scores) ** 0.5 >= LEAST_SCORE


def _score(series: Array, season_length: int) -> float | None:
    """Return the score of one series, or None if it has too few rows or does not change."""
    changes = np.diff(series)
    if len(series) < _LEAST_SEASONS * season_length or not np.isfinite(changes).any():
        return None
    changes = np.nan_to_num(changes - np.nanmean(changes))  # an unknown change is the mean change
    if np.abs(changes).max() <= DOUBLE_ROUNDING * np.nanmax(np.abs(series)):
        return None
    return seasonal_score(changes, season_length)

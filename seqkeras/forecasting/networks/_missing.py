"""What stands in the place of a missing target, where there must be a number."""

from typing import Any

import numpy as np
import numpy.typing as npt


def stand_in(target: npt.NDArray[Any], season_length: int) -> npt.NDArray[Any]:
    """Windows `(batch, lookback)` without NaN: the value one season before stands in its place.

    Where there is none, the last value before, else the first after, and 0 in a window of nothing.
    """
    filled = target.copy()
    for first in range(season_length, target.shape[1], season_length):
        now = filled[:, first : first + season_length]
        before = filled[:, first - season_length : first][:, : now.shape[1]]
        now[...] = np.where(np.isnan(now), before, now)
    for way in (filled, filled[:, ::-1]):
        steps = np.where(np.isnan(way), 0, np.arange(way.shape[1]))
        way[...] = np.take_along_axis(way, np.maximum.accumulate(steps, axis=1), axis=1)
    return np.nan_to_num(filled, copy=False)

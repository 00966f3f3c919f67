"""Shares of forecasts in a mean, by their errors."""

from typing import Any

import numpy as np

from seqkeras._arrays import Floats

#: A share is proportional to `error ** -power`.
POWER = 8
#: Smallest error, so that a forecast without any error has a finite share.
LEAST_ERROR = 1e-9


def shares(errors: Any, power: float = POWER) -> Floats:
    """Return the share of each forecast in a mean, which falls with its error; they sum to 1.

    Args:
        errors: `(..., forecasts)`.
        power: share of a forecast of half the error, as a power of 2.
    """
    errors = np.maximum(errors, LEAST_ERROR)
    weights = (errors.min(axis=-1, keepdims=True) / errors) ** power
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))

"""Prediction intervals from residuals on held-out data."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.errors import DataError


@dataclass(frozen=True)
class ConformalIntervals:
    """Split conformal intervals, one radius for each level and step of the horizon.

    The nonconformity score is `|residual| / spread of its lead` (normalised residuals, Lei et al.
    2018, arXiv 1604.04173), pooled over windows and leads, so that few windows are enough. The
    radius at a lead is the score's quantile times the lead's spread. Neighbouring windows overlap,
    so the guarantee for exchangeable data holds here only by approximation.

    Attributes:
        levels: nominal coverage in percent.
        radius: `(levels, horizon)`, in the unit of the residuals.

    Example:
        >>> residuals = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 2.0, 3.0]
        >>> ConformalIntervals.fit(residuals, levels=(80,)).radius.round(1).tolist()
        [[1.2, 2.4, 3.9]]
    """

    levels: tuple[float, ...]
    radius: npt.NDArray[np.float64]

    @classmethod
    def fit(
        cls, residuals: npt.NDArray[np.float64], *, levels: tuple[float, ...]
    ) -> "ConformalIntervals":
        """Learns the radii.

        Args:
            residuals: `(windows, horizon)`, from data that the model was not trained on; NaN where
                there was no value.
            levels: nominal coverage in percent, each between 0 and 100.

        Raises:
            DataError: too few residuals for the highest level.
        """
        errors = np.abs(residuals)
        known = ~np.isnan(errors)
        check_enough(int(known.sum()), levels)
        if not known.any(axis=0).all():
            lead = int(np.argmin(known.any(axis=0))) + 1
            raise DataError(
                f"All held-out values are missing {lead} timesteps ahead: no interval can be "
                "measured. Hold out more rows with validation=..., or use levels=()."
            )
        spread = np.nanmean(errors, axis=0)
        # A lead without any error would divide by zero; its radius is zero either way.
        scores = np.sort((errors / np.where(spread > 0, spread, 1.0))[known])
        ranks = [math.ceil((scores.size + 1) * level / 100) for level in levels]
        quantiles = np.array([scores[rank - 1] for rank in ranks])
        return cls(levels, quantiles[:, np.newaxis] * spread)


def check_levels(levels: Any) -> None:
    """Raises where these are not levels of intervals."""
    is_list = isinstance(levels, (tuple, list))
    known = is_list and all(isinstance(one, Real) and 1 <= float(one) < 100 for one in levels)
    # Two that are printed alike would be one column of the forecast.
    if not known or len({f"{level:g}" for level in levels}) < len(levels):
        fix = "For example (80, 95); () for no intervals."
        raise bad_argument(
            "levels", levels, "a tuple of different numbers from 1 to below 100", fix
        )


def needed(levels: tuple[float, ...]) -> int:
    """How many residuals the highest level needs: ceil((n + 1) level) <= n."""
    share = max(levels, default=0.0) / 100
    return math.ceil(share / (1 - share) - 1e-9)


def check_enough(residuals: int, levels: tuple[float, ...]) -> None:
    """Raises where there are too few residuals for the highest level."""
    if residuals < needed(levels):
        raise DataError(
            f"{residuals} held-out residuals are too few for levels={levels}: "
            f"{max(levels):g} % needs {needed(levels)}. Hold out more rows with validation=..., "
            "or ask for lower levels."
        )

"""The rolling origins of a backtest, and which of them share a fit."""

from dataclasses import dataclass

import numpy as np

from seqkeras._arrays import Integers
from seqkeras._checks import bad_argument, check_integer
from seqkeras.forecasting.fitted._origins import Origins


@dataclass(frozen=True)
class Schedule:
    """The rolling origins of a backtest, and which of them share a fit.

    Attributes:
        horizon: timesteps that the forecaster forecasts.
        windows: origins of each series.
        step: rows from one origin to the next.
        gap: rows after each cutoff that are not scored.
        refit: number of consecutive origins that share a fit.
    """

    horizon: int
    windows: int
    step: int
    gap: int
    refit: int

    @classmethod
    def parse(
        cls,
        horizon: int,
        *,
        windows: int = 1,
        step: int | None = None,
        gap: int = 0,
        refit: bool | int = False,
    ) -> "Schedule":
        """Check the arguments of `backtest`.

        Raises:
            ArgumentError: an argument is invalid.
        """
        windows = check_integer("windows", windows)
        gap = check_integer("gap", gap, minimum=0)
        if gap >= horizon:
            fix = "No row would be left to score: use a smaller gap or a longer horizon."
            raise bad_argument("gap", gap, f"below the horizon, {horizon}", fix)
        step = check_integer("step", step) if step is not None else horizon - gap
        if isinstance(refit, bool | np.bool_):
            return cls(horizon, windows, step, gap, 1 if refit else windows)
        fix = "True fits at every origin, False once, a number n at every n-th."
        return cls(horizon, windows, step, gap, check_integer("refit", refit, fix=fix))

    @property
    def rows(self) -> int:
        """Return the number of rows of each series after the first cutoff."""
        return self.rows_after(0)

    def rows_after(self, window: int) -> int:
        """Return the number of rows of each series after the cutoff of a window."""
        return self.horizon + self.step * (self.windows - 1 - window)

    def origins(self, lengths: Integers) -> Origins:
        """Return the origins in series of these lengths."""
        return Origins.rolling(lengths, windows=self.windows, step=self.step, horizon=self.horizon)

    def folds(self) -> list[range]:
        """Return the windows of each fit."""
        starts = range(0, self.windows, self.refit)
        return [range(first, min(first + self.refit, self.windows)) for first in starts]

"""The shape of a window, and the arithmetic of its rows."""

import operator
from dataclasses import KW_ONLY, dataclass

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Integers
from seqkeras._checks import bad_argument
from seqkeras.windows._numbers import check_size


@dataclass(frozen=True)
class WindowSpec:
    """The rows of a series that belong to a window.

    A window reads `lookback` timesteps and predicts the `horizon` timesteps that come `gap`
    timesteps after them. One timestep is `sampling_rate` rows; windows start every `stride` rows.
    With `lookback=3, horizon=2, gap=1, sampling_rate=2` window 0 takes these rows::

        row     0  1  2  3  4  5  6  7  8  9  10
                x     x     x     .     y     y

    Args:
        lookback: past timesteps in a window, at least 1.
        horizon: future timesteps to predict, default 1; 0 for windows without a future, for
            example to label or reconstruct the rows that a window reads.
        stride: rows between the starts of neighboring windows, default 1.
        sampling_rate: rows between neighboring timesteps of a window, default 1.
        gap: timesteps skipped between the lookback and the horizon, default 0; must be 0 without a
            horizon.

    Raises:
        ArgumentError: a number is not an integer, is too small or above 2**30, or there is a gap
            but no horizon.

    Example:
        >>> spec = WindowSpec(3, horizon=2, sampling_rate=2, gap=1)
        >>> spec.rows, spec.count(20)
        (11, 10)
        >>> spec.input_rows(0).tolist(), spec.target_rows(0).tolist()
        ([0, 2, 4], [8, 10])
    """

    lookback: int
    _: KW_ONLY
    horizon: int = 1
    stride: int = 1
    sampling_rate: int = 1
    gap: int = 0

    def __post_init__(self) -> None:
        for name in ("lookback", "stride", "sampling_rate"):
            object.__setattr__(self, name, check_size(name, getattr(self, name)))
        for name in ("horizon", "gap"):
            object.__setattr__(self, name, check_size(name, getattr(self, name), minimum=0))
        if self.gap and not self.horizon:
            raise bad_argument(
                "gap", self.gap, "0 if horizon=0", "Give a horizon, or remove the gap."
            )

    @property
    def rows(self) -> int:
        """Rows from the first input of a window to its last input or target, inclusive."""
        return self.target_offset + (self.horizon - 1) * self.sampling_rate + 1

    @property
    def target_offset(self) -> int:
        """Rows from the first input of a window to its first target."""
        return (self.lookback + self.gap) * self.sampling_rate

    def count(self, length: int) -> int:
        """Return the number of windows in a series of `length` rows."""
        return max(0, (operator.index(length) - self.rows) // self.stride + 1)

    def counts(self, lengths: npt.ArrayLike) -> Integers:
        """Return the number of windows in each of many series."""
        spare = np.asarray(lengths, dtype=np.int64) - self.rows
        return np.maximum(0, spare // self.stride + 1)

    def start(self, window: npt.ArrayLike) -> Integers:
        """Return the first row of each window, counted from the start of its series."""
        return np.asarray(window, dtype=np.int64) * self.stride

    def input_rows(self, window: int) -> Integers:
        """Return the rows that window number `window` reads."""
        return self.start(window) + np.arange(self.lookback) * self.sampling_rate

    def target_rows(self, window: int) -> Integers:
        """Return the rows that window number `window` predicts."""
        first = self.start(window) + self.target_offset
        return first + np.arange(self.horizon) * self.sampling_rate

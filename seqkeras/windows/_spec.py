"""The shape of a window, and all arithmetic on row numbers."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, check_integer


@dataclass(frozen=True)
class WindowSpec:
    """Which rows of a series belong to a window.

    A window reads `lookback` timesteps and predicts the `horizon` timesteps that come `gap`
    timesteps after them. One timestep is `sampling_rate` rows; windows start every `stride` rows.
    With `lookback=3, horizon=2, gap=1, sampling_rate=2` window 0 takes these rows::

        row     0  1  2  3  4  5  6  7  8  9  10
                x     x     x     .     y     y

    Args:
        lookback: past timesteps in a window, at least 1.
        horizon: future timesteps predicted; 0 for windows that predict none, as to label or to
            rebuild their own rows.
        stride: rows between the starts of neighbouring windows.
        sampling_rate: rows between neighbouring timesteps of one window.
        gap: timesteps left out between the lookback and the horizon; 0 where there is no horizon.

    Raises:
        ArgumentError: a number is not an integer or is too small, or a gap leads to no horizon.

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
            object.__setattr__(self, name, check_integer(name, getattr(self, name)))
        for name in ("horizon", "gap"):
            object.__setattr__(self, name, check_integer(name, getattr(self, name), minimum=0))
        if self.gap and not self.horizon:
            raise bad_argument("gap", self.gap, "0 where horizon=0", "Give a horizon, or no gap.")

    @property
    def rows(self) -> int:
        """Rows from the first input of a window to its last input or target, both counted."""
        return self.target_offset + (self.horizon - 1) * self.sampling_rate + 1

    @property
    def target_offset(self) -> int:
        """Rows from the first input of a window to its first target."""
        return (self.lookback + self.gap) * self.sampling_rate

    def count(self, length: int) -> int:
        """Number of windows in a series of `length` rows."""
        return max(0, (length - self.rows) // self.stride + 1)

    def counts(self, lengths: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Number of windows in each of many series."""
        spare = np.asarray(lengths, dtype=np.int64) - self.rows
        return np.maximum(0, spare // self.stride + 1)

    def start(self, window: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """First row of each window, counted from the start of its series."""
        return np.asarray(window, dtype=np.int64) * self.stride

    def input_rows(self, window: int) -> npt.NDArray[np.int64]:
        """Rows that window number `window` reads."""
        return self.start(window) + np.arange(self.lookback) * self.sampling_rate

    def target_rows(self, window: int) -> npt.NDArray[np.int64]:
        """Rows that window number `window` predicts."""
        first = self.start(window) + self.target_offset
        return first + np.arange(self.horizon) * self.sampling_rate

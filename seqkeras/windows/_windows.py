"""Batches of windows that go straight into `fit`, `evaluate` and `predict`."""

import math

from seqkeras._lazy import require

require("keras")

import keras
import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, check_flag, check_integer
from seqkeras.errors import DataError
from seqkeras.windows._gather import gather
from seqkeras.windows._grouped import GroupedArray
from seqkeras.windows._spec import WindowSpec

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class Windows(keras.utils.PyDataset):
    """All windows of one series or of many, in batches of float32.

    No window is built before its batch is asked for, and none crosses from one series to the next.

    Args:
        values: what a window reads: `(rows,)`, `(rows, features)` or a `GroupedArray`.
        spec: the shape of a window.
        targets: what a window predicts, `(rows,)`, `(rows, outputs)` or a `GroupedArray`, row for
            row beside `values`. Default: `values` themselves.
        batch_size: windows in a batch; the last batch may be smaller, none is dropped.
        shuffle: draw the windows in random order, a new one each epoch. Without it they come
            in order of series and time; `fit` keeps that order if it is told `shuffle=False`, and
            draws the order of batches otherwise.
        seed: of the shuffle. The same seed gives the same epochs.

    Attributes:
        count: number of windows.

    Indexing gives `(inputs, targets)`: inputs are `(batch, lookback, features)`, with 1 feature
    for one-dimensional values; targets are `(batch, horizon)` or `(batch, horizon, outputs)`, as
    the target array has one axis or two.

    Raises:
        ArgumentError: a bad size, or `targets` with another number of rows than `values`.
        DataError: no series is long enough for a single window.

    Example:
        >>> windows = Windows(np.arange(100.0), WindowSpec(8, horizon=2), batch_size=32)
        >>> windows.count, len(windows)
        (91, 3)
        >>> x, y = windows[0]
        >>> x.shape, y.shape, y[0].tolist()
        ((32, 8, 1), (32, 2), [8.0, 9.0])
    """

    def __init__(
        self,
        values: npt.ArrayLike | GroupedArray,
        spec: WindowSpec,
        *,
        targets: npt.ArrayLike | GroupedArray | None = None,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(spec, WindowSpec):
            raise bad_argument("spec", spec, "a WindowSpec", "For example WindowSpec(24).")
        grouped = values if isinstance(values, GroupedArray) else _one_series(values)
        self.spec = spec
        self.batch_size = check_integer("batch_size", batch_size)
        self.shuffle = check_flag("shuffle", shuffle)
        self._values = _check_numeric("values", grouped.values)
        if isinstance(targets, GroupedArray):
            if not np.array_equal(targets.indptr, grouped.indptr):
                raise bad_argument("targets", targets, "series of the lengths that values have")
            targets = targets.values
        self._targets = self._values if targets is None else _check_numeric("targets", targets)
        if len(self._targets) != len(self._values):
            expected = f"one row for each of the {len(self._values)} rows of values"
            raise bad_argument("targets", self._targets.shape, expected)

        counts = spec.counts(grouped.lengths)
        self._first_row = grouped.indptr[:-1]
        self._last_window = np.cumsum(counts)
        self._first_window = self._last_window - counts
        self.count = int(counts.sum())
        if not self.count:
            longest = int(grouped.lengths.max(initial=0))
            raise DataError(
                f"No window fits: {spec} spans {spec.rows} rows, the longest series has {longest}. "
                "Give a longer series, or a smaller lookback, horizon, gap or sampling_rate."
            )
        if seed is not None:
            check_integer("seed", seed, minimum=0)
        self._random = np.random.default_rng(seed)
        self._order = self._new_order()

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        first = index * self.batch_size
        last = min(first + self.batch_size, self.count)
        return self.take(np.arange(first, last) if self._order is None else self._order[first:last])

    def take(self, windows: npt.ArrayLike) -> Batch:
        """Inputs and targets of the windows with these numbers, counted over all series."""
        numbers = np.asarray(windows, dtype=np.int64)
        series = np.searchsorted(self._last_window, numbers, side="right")
        starts = self._first_row[series] + self.spec.start(numbers - self._first_window[series])
        rate = self.spec.sampling_rate
        inputs = gather(self._values, starts, timesteps=self.spec.lookback, sampling_rate=rate)
        targets = gather(
            self._targets,
            starts + self.spec.target_offset,
            timesteps=self.spec.horizon,
            sampling_rate=rate,
        )
        return inputs if inputs.ndim > 2 else inputs[..., np.newaxis], targets

    def on_epoch_end(self) -> None:
        """Draws the order of the next epoch."""
        self._order = self._new_order()

    def _new_order(self) -> npt.NDArray[np.int64] | None:
        return self._random.permutation(self.count) if self.shuffle else None


def _one_series(values: npt.ArrayLike) -> GroupedArray:
    array = _check_numeric("values", values)
    return GroupedArray(array, [0, len(array)])


def _check_numeric(name: str, values: npt.ArrayLike) -> npt.NDArray[np.generic]:
    expected = "numbers of shape (rows,) or (rows, features)"
    try:
        array = np.asanyarray(values)
    except ValueError as error:  # rows of different lengths
        fix = "Series of different lengths are a GroupedArray.from_series(...)."
        raise bad_argument(name, type(values).__name__, expected, fix) from error
    if array.ndim not in (1, 2) or array.dtype.kind not in "buif":
        raise bad_argument(name, f"{array.dtype} of shape {array.shape}", expected)
    return array

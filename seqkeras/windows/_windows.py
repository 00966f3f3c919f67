"""Batches of windows that go straight into `fit`, `evaluate` and `predict`."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument, check_flag, check_integer, check_one_of
from seqkeras.errors import DataError, SkippedSeriesWarning
from seqkeras.windows._batch import Inputs, open_targets
from seqkeras.windows._dataset import Epochs
from seqkeras.windows._feed import tf_dataset, torch_loader
from seqkeras.windows._layout import Layout
from seqkeras.windows._order import Balanced, InOrder, Shuffled
from seqkeras.windows._spec import WindowSpec


class Windows(Epochs):
    """All windows of one series or of many, in batches of float32.

    No window is built before its batch is asked for, and none crosses from one series to the next.

    Args:
        values: what a window reads over its lookback: `(rows,)`, `(rows, features)`, a
            `GroupedArray` of many series, a memory map, or pyarrow data, whose columns are the
            features and whose nulls are missing values. Or a dict of such arrays, row for row
            beside one another, by the names of a model's inputs.
        spec: the shape of a window.
        targets: what a window predicts, `(rows,)` or `(rows, outputs)` in any of these forms, row
            for row beside `values`; or a function that is given a `WindowIndex` and returns an
            array whose first axis is the batch. Default: `values` themselves, if they are one
            array and there is a horizon; without a horizon, none.
        target_rows: which rows of the targets a window takes. `"horizon"`: all timesteps of the
            horizon. `"point"`: the last of these alone. `"lookback"`: the rows of the inputs, for
            labels and autoencoders. `"next"`: the rows of the inputs, moved on by one timestep.
            Default: `"horizon"`; without a horizon `"lookback"`.
        future: inputs that are known ahead, read over the horizon; as `values`, row for row.
        static: inputs of each series, `(series,)` or `(series, features)`, or a dict of such.
        weights: `(rows,)`, the weight of each row as a target; or a function as for `targets`.
        missing: `"raise"`: NaN is an error. `"mask"`: NaN in inputs become 0, and beside each
            input of floats stands another, `NAME_mask`, True where there was a number; missing
            targets get weight 0. Infinite numbers are errors always.
        transform: a function from `(x, y)` of a batch to what replaces them, such as a scaling of
            each window by its own values. `y` is None without targets.
        batch_size: windows in a batch; the last batch may be smaller, none is dropped.
        shuffle: draw the windows in random order, a new one each epoch. Without it they come
            in order of series and time; `fit` keeps that order if it is told `shuffle=False`, and
            draws the order of batches otherwise.
        balanced: with `shuffle`, draw from every series equally often, in epochs as long as
            without. A window of a short series comes again once all windows of it have come.
        seed: of the shuffle. The same seed gives the same epochs. Default: a new one.

    Attributes:
        count: number of windows.
        epoch: number of the epoch that is read, from 0; the begin of the next one in `fit` moves it
            on. The order depends on it and the seed alone: set it to go on where another run
            stopped.
        seed: of the shuffle, also where it was drawn.
        skipped_series: number of series that are too short for a window.
        unused_rows: rows of these series, and rows behind the last window of the others.

    Indexing gives `(x, y)`, with weights `(x, y, weights)`, without targets `x` alone.

    - x is `(batch, lookback, features)`, with 1 feature for one-dimensional values. With a dict,
      `future`, `static` or `missing="mask"` it is a dict, in which plain arrays are called
      `"past"`, `"future"` and `"static"`. Future inputs are `(batch, horizon, features)`, static
      ones `(batch, features)`.
    - y is `(batch, timesteps, outputs)`, or `(batch, outputs)` for `"point"`. One-dimensional
      targets have 1 output, but over the horizon they are `(batch, horizon)`.
    - weights are those of y without its last axis. Keras weighs no parts of that axis: where one of
      several outputs is missing, all of them get weight 0.

    Numbers in memory are looked through once, when the object is made; what is read from a file,
    or from Arrow, is looked through in each batch.

    Raises:
        ArgumentError: a value that cannot work, or arrays that do not stand row for row.
        DataError: no series is long enough for a single window, a value is missing or infinite,
            or a mapped file has changed.

    Warns:
        SkippedSeriesWarning: some series have rows, but too few for a window.

    Example:
        >>> windows = Windows(np.arange(100.0), WindowSpec(8, horizon=2), batch_size=32)
        >>> windows
        Windows(91 windows of 1 series in 3 batches of 32; 0 series skipped, 0 rows unused)
        >>> x, y = windows[0]
        >>> x.shape, y.shape, y[0].tolist()
        ((32, 8, 1), (32, 2), [8.0, 9.0])
    """

    def __init__(
        self,
        values: Any,
        spec: WindowSpec,
        *,
        targets: Any = None,
        target_rows: str | None = None,
        future: Any = None,
        static: Any = None,
        weights: Any = None,
        missing: str = "raise",
        transform: Callable[[Any, Any], tuple[Any, Any]] | None = None,
        batch_size: int = 32,
        shuffle: bool = False,
        balanced: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        if not isinstance(spec, WindowSpec):
            raise bad_argument("spec", spec, "a WindowSpec", "For example WindowSpec(24).")
        self.spec = spec
        self.batch_size = check_integer("batch_size", batch_size)
        masks = check_one_of("missing", missing, ("raise", "mask")) == "mask"
        if transform is not None and not callable(transform):
            raise bad_argument("transform", transform, "a function from (x, y) to (x, y)")
        self._transform = transform
        self._inputs = Inputs(values, future, static, spec=spec, masks=masks)
        self._targets = open_targets(
            self._inputs, targets, target_rows, weights, spec=spec, masks=masks
        )
        self._layout = _check_layout(Layout(self._inputs.bounds, spec), spec)
        self.count = self._layout.count
        self._order = _order(check_flag("shuffle", shuffle), balanced, self._layout, self.seed)
        self.shuffle = shuffle

    @property
    def skipped_series(self) -> int:
        return int(self._layout.skipped.sum())

    @property
    def unused_rows(self) -> int:
        return self._layout.unused_rows

    def __repr__(self) -> str:
        series = len(self._layout.counts)
        return (
            f"Windows({self.count} windows of {series} series in {len(self)} batches of "
            f"{self.batch_size}; {self.skipped_series} series skipped, {self.unused_rows} rows "
            "unused)"
        )

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        self._ask(index)
        return self.batch(self.epoch, index)

    def batch(self, epoch: int, index: int) -> Any:
        """A batch of any epoch: `windows[index]` is `windows.batch(windows.epoch, index)`."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        first = index * self.batch_size
        last = min(first + self.batch_size, self.count)
        return self._gather(self._order(epoch, first, last))

    def take(self, windows: npt.ArrayLike) -> Any:
        """The batch of the windows with these numbers, counted over all series.

        Raises:
            IndexError: there is no window with one of the numbers.
        """
        numbers = np.asarray(windows, dtype=np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.count:
            raise IndexError(
                f"windows must be numbers from 0 to {self.count - 1}. "
                f"Got: {numbers.min()} to {numbers.max()}."
            )
        return self._gather(numbers)

    def to_tf_dataset(self) -> Any:
        """The batches as a `tf.data.Dataset`, with their shapes, dtypes and number.

        Each pass over it is the next epoch, and moves `epoch` on at its end.

        Raises:
            MissingDependencyError: TensorFlow is not installed.
        """
        return tf_dataset(self)

    def to_torch_loader(self, **options: Any) -> Any:
        """The batches as a `torch.utils.data.DataLoader` of tensors.

        Each pass over it is the next epoch, and moves `epoch` on.

        Args:
            **options: of the `DataLoader`, such as `num_workers` and `pin_memory`. What decides on
                batches and their order is decided here.

        Raises:
            ArgumentError: an option that decides on batches or their order.
            MissingDependencyError: PyTorch is not installed.
        """
        return torch_loader(self, options)

    def _gather(self, numbers: npt.NDArray[np.int64]) -> Any:
        index = self._layout(numbers)
        x: Any = self._inputs(index)
        y, weights = self._targets(index) if self._targets else (None, None)
        if self._transform is not None:
            x, y = _check_pair(self._transform(x, y))
        return x if y is None else (x, y) if weights is None else (x, y, weights)


def _check_layout(layout: Layout, spec: WindowSpec) -> Layout:
    if not layout.count:
        longest = int(np.diff(layout.indptr).max(initial=0))
        raise DataError(
            f"No window fits: {spec} spans {spec.rows} rows, the longest series has {longest}. "
            "Give a longer series, or a smaller lookback, horizon, gap or sampling_rate."
        )
    skipped = np.flatnonzero(layout.skipped)
    if len(skipped):
        warnings.warn(
            f"{len(skipped)} of {len(layout.counts)} series have fewer than the {spec.rows} rows "
            f"of a window and are left out, such as series {skipped[0]}.",
            SkippedSeriesWarning,
            stacklevel=3,
        )
    return layout


def _order(shuffle: bool, balanced: bool, layout: Layout, seed: int) -> InOrder | Shuffled:
    if check_flag("balanced", balanced):
        if not shuffle:
            raise bad_argument("balanced", True, "False where shuffle=False", "Add shuffle=True.")
        return Balanced(layout.counts, seed)
    return Shuffled(layout.count, seed) if shuffle else InOrder()


def _check_pair(answer: Any) -> tuple[Any, Any]:
    if not isinstance(answer, tuple) or len(answer) != 2:
        got = f"a function that gave a {type(answer).__name__}"
        raise bad_argument("transform", got, "a function that gives the two of (x, y)")
    return answer

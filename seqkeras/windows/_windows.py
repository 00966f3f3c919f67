"""Batches of windows for `fit`, `evaluate` and `predict`."""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Integers
from seqkeras._checks import (
    Description,
    bad_argument,
    bad_data,
    check_flag,
    check_integer,
    check_one_of,
)
from seqkeras._html import html_table
from seqkeras._warnings import warn
from seqkeras.errors import SkippedSeriesWarning
from seqkeras.windows._batch import InputReader, open_targets
from seqkeras.windows._dataset import Epochs
from seqkeras.windows._feed import tf_dataset, torch_loader
from seqkeras.windows._layout import WindowLayout
from seqkeras.windows._numbers import check_position, whole_numbers
from seqkeras.windows._order import Balanced, InOrder, Shuffled
from seqkeras.windows._spec import WindowSpec
from seqkeras.windows._targets import Advice


class Windows(Epochs):
    """All windows of one or many series, in batches of float32.

    Windows are copied when their batch is requested, and never cross from one series to the next.

    Args:
        values: inputs over the lookback: `(rows,)`, `(rows, features)`, a `GroupedArray` of many
            series, a memory map, or pyarrow data, whose columns are the features. Nulls of pyarrow
            and masked values of a masked array are missing values. Or a dict of these, by the names
            of a model's inputs, all with the same rows.
        spec: the shape of a window.
        targets: the values to predict, `(rows,)` or `(rows, outputs)` in any of these forms, with
            the same rows as `values`; or a function that takes a `WindowIndex` and returns an
            array whose first axis is the batch. Default: `values`, if they are a single array and
            there is a horizon; no targets without a horizon.
        target_rows: which rows of the targets a window takes. `"horizon"`: all timesteps of the
            horizon. `"point"`: only the last timestep of the horizon. `"lookback"`: the rows of the
            inputs, for labels and autoencoders. `"next"`: the rows one timestep after those of the
            inputs. Default: `"horizon"`, or `"lookback"` without a horizon.
        future: inputs that are known in advance, read over the horizon; in the same forms as
            `values`, with the same rows. None: no such inputs.
        static: inputs of each series, `(series,)` or `(series, features)`, or a dict of these.
            None: no such inputs.
        weights: `(rows,)`, the weight of each row as a target; or a function as for `targets`.
            None: no weights.
        missing: `"raise"`, the default: NaN is an error. `"mask"`: NaN in inputs becomes 0, and
            each input of floats gets a second input `NAME_mask`, True where there was a number;
            missing targets get weight 0. Infinite numbers are always errors.
        transform: a function that takes `(x, y)` of a batch and returns a new `(x, y)`, for example
            with each window scaled by its own values. `y` is None without targets. None: no
            transform.
        batch_size: windows in a batch, default 32. The last batch may be smaller; no window is
            dropped.
        shuffle: whether to draw the windows in a new random order each epoch. False, the default:
            in order of series and time. Keras' `fit` keeps this order only if it gets
            `shuffle=False` too; otherwise it shuffles the batches.
        balanced: whether to draw from every series equally often, in epochs of the same length;
            needs `shuffle`. A window of a short series is repeated only after all other windows of
            that series. Default: False.
        seed: seed of the shuffle. The same seed gives the same epochs. None: a random one.

    Attributes:
        count: number of windows.
        epoch: number of the epoch that is being read or is read next, from 0. `fit` advances it at
            the end of an epoch, and begins with its `initial_epoch` if that is larger, as when
            `keras.callbacks.BackupAndRestore` resumes. The order of the windows depends only on the
            epoch and the seed.
        seed: seed of the shuffle, even if none was passed.
        skipped_series: number of series that are too short for a window.
        unused_rows: number of rows in skipped series and after the last window of the others.

    Indexing returns `(x, y)`, or `(x, y, weights)` with weights, or only `x` without targets.

    - x is `(batch, lookback, features)`, with 1 feature for one-dimensional values. With a dict,
      `future`, `static` or `missing="mask"` it is a dict, in which plain arrays are named
      `"past"`, `"future"` and `"static"`. Future inputs are `(batch, horizon, features)`, static
      inputs `(batch, features)`.
    - y is `(batch, timesteps, outputs)`, or `(batch, outputs)` for `"point"`. One-dimensional
      targets have 1 output, except over the horizon, where y is `(batch, horizon)`.
    - weights have the shape of y without its last axis. Keras cannot weight parts of that axis: if
      one of several outputs is missing, all of them get weight 0.

    Numbers in memory are checked once, when the object is created; numbers from a mapped file or
    from Arrow data are checked in each batch.

    Raises:
        ArgumentError: an argument is invalid, or arrays do not have the same rows.
        DataError: no series is long enough for a window, a value is missing or infinite, float32
            cannot tell the values of a series apart, or a mapped file has changed.

    Warns:
        RoundedIntegersWarning: integers are too large for float32.
        SkippedSeriesWarning: some series have rows, but too few for a window.

    Example:
        >>> windows = Windows(np.arange(100.0), WindowSpec(8, horizon=2), batch_size=32)
        >>> windows
        Windows(91 windows of 1 series in 3 batches of 32; 0 series skipped, 0 rows unused)
        >>> x, y = windows[0]
        >>> x.shape, y.shape, y[0].tolist()
        ((32, 8, 1), (32, 2), [8.0, 9.0])
    """

    advice = Advice('target_rows="next", or "lookback" for labels', 'target_rows="point"')

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
        self._inputs = InputReader(values, future, static, spec=spec, masks=masks)
        self._targets = open_targets(
            self._inputs, targets, target_rows, weights, spec=spec, masks=masks
        )
        self._layout = _check_layout(WindowLayout(self._inputs.bounds, spec), spec)
        self.count = self._layout.count
        self.shuffle = check_flag("shuffle", shuffle)
        self._balanced = balanced
        self.take_seed(self.seed)

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

    def _repr_html_(self) -> str:
        rows = [
            ("windows", self.count),
            ("series", len(self._layout.counts)),
            ("batches", f"{len(self)} of {self.batch_size}"),
            ("lookback", self.spec.lookback),
            ("horizon", self.spec.horizon),
            ("order", "shuffled in each epoch" if self.shuffle else "in time"),
            ("series skipped", self.skipped_series),
            ("rows unused", self.unused_rows),
        ]
        return html_table("Windows", rows)

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        batch = self.batch(self.epoch, index)
        self._mark_requested(index)
        return batch

    def take_seed(self, seed: int) -> None:
        """Draw the epochs of another seed."""
        super().take_seed(seed)
        self._order = _order(self.shuffle, self._balanced, self._layout, seed)

    def first_batch(self) -> Any:
        """Return the first batch of the current epoch, without counting it as requested."""
        return self.batch(self.epoch, 0)

    def why_not_continuing(self) -> str | None:
        """Return why a state cannot be carried from batch to batch, or None if it can."""
        if self.shuffle:
            return "the windows are shuffled"
        if self.batch_size > 1:
            return "the rows of a batch are windows that follow each other"
        if self.spec.stride != self.spec.lookback * self.spec.sampling_rate:
            return "the windows overlap, or have gaps between them"
        return None

    def batch(self, epoch: int, index: int) -> Any:
        """Return a batch of any epoch; `windows[index]` returns one of the current epoch."""
        epoch = operator.index(epoch)
        index = check_position("batch", index, len(self))
        if index < 0:
            raise IndexError(f"batch index {index} is out of range for a length of {len(self)}")
        first = index * self.batch_size
        last = min(first + self.batch_size, self.count)
        return self._gather(self._order(epoch, first, last))

    def take(self, windows: npt.ArrayLike) -> Any:
        """Return a batch of the windows with these numbers, counted over all series.

        Raises:
            ArgumentError: the numbers are not integers.
            IndexError: a number is out of range.
        """
        numbers = whole_numbers("windows", windows)
        if numbers.ndim != 1:
            expected = "one-dimensional, such as [0, 5]"
            raise bad_argument("windows", Description(f"shape {numbers.shape}"), expected)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.count:
            raise IndexError(
                f"windows must be numbers from 0 to {self.count - 1}. "
                f"Got: {numbers.min()} to {numbers.max()}."
            )
        return self._gather(numbers.astype(np.int64))

    def to_tf_dataset(self) -> Any:
        """Return the batches as a `tf.data.Dataset`, with their shapes, dtypes and number.

        Each pass over it is one epoch, and advances `epoch` at its end.

        Raises:
            MissingDependencyError: TensorFlow is not installed.
        """
        return tf_dataset(self)

    def to_torch_loader(self, **options: Any) -> Any:
        """Return the batches as a `torch.utils.data.DataLoader` of tensors.

        Each pass over it is one epoch, and advances `epoch`.

        Args:
            **options: options of the `DataLoader`, such as `num_workers` and `pin_memory`, except
                those for batches and their order.

        Raises:
            ArgumentError: an option would change batches or their order.
            MissingDependencyError: PyTorch is not installed.
        """
        return torch_loader(self, options)

    def _gather(self, numbers: Integers) -> Any:
        index = self._layout(numbers)
        x: Any = self._inputs(index)
        y, weights = self._targets(index) if self._targets else (None, None)
        if self._transform is not None:
            x, y = _check_pair(self._transform(x, y))
        if y is None:
            return x
        return (x, y, weights) if weights is not None else (x, y)


def _check_layout(layout: WindowLayout, spec: WindowSpec) -> WindowLayout:
    if not layout.count:
        longest = int(np.diff(layout.indptr).max(initial=0))
        fix = "Give a longer series, or a smaller lookback, horizon, gap or sampling_rate."
        expected = f"have the {spec.rows} rows of a window of {spec}"
        raise bad_data("At least one series", f"at most {longest} rows", expected, fix)
    skipped = np.flatnonzero(layout.skipped)
    if len(skipped):
        warn(
            f"{len(skipped)} of {len(layout.counts)} series have fewer than the {spec.rows} rows "
            f"of a window and are skipped, such as series {skipped[0]}.",
            SkippedSeriesWarning,
        )
    return layout


def _order(shuffle: bool, balanced: bool, layout: WindowLayout, seed: int) -> InOrder | Shuffled:
    if check_flag("balanced", balanced):
        if not shuffle:
            raise bad_argument("balanced", True, "False if shuffle=False", "Add shuffle=True.")
        return Balanced(layout.counts, seed)
    return Shuffled(layout.count, seed) if shuffle else InOrder()


def _check_pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        actual = f"a function that returned a {type(result).__name__}"
        raise bad_argument(
            "transform", Description(actual), "a function that returns a tuple (x, y)"
        )
    return result

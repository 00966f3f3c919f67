"""Batches in which each row continues where it ended in the batch before."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Integers
from seqkeras._checks import Description, bad_argument, check_flag, check_one_of
from seqkeras._html import html_table
from seqkeras._warnings import warn
from seqkeras.errors import DataError, SkippedSeriesWarning
from seqkeras.windows._continued import ContinuedBatches
from seqkeras.windows._grouped import GroupedArray
from seqkeras.windows._numbers import check_size
from seqkeras.windows._readers import RowReader, open_rows, series_bounds
from seqkeras.windows._sources import Source
from seqkeras.windows._stream import Stream, Stretches, cut
from seqkeras.windows._targets import Advice

#: Limit for the timesteps of a batch, which become arrays in memory.
MAX_TIMESTEPS = 2**28

Series: TypeAlias = npt.ArrayLike | Sequence[npt.ArrayLike] | GroupedArray

#: Inputs, with or without reset flags, targets, mask.
StatefulBatch: TypeAlias = tuple[Any, npt.NDArray[np.float32], npt.NDArray[np.float32]]


class StatefulBatches(ContinuedBatches):
    """Batches for stateful training: row `i` of a batch continues row `i` of the batch before.

    One array is cut into `batch_size` stretches of the same length, one for each row. With many
    series, each row reads one series after another: when a series ends, the next one in line takes
    its row, and a flag tells the model to clear the state of that row. No timestep is dropped, and
    a row is padded only when no series is left for it.

    `seqkeras.training.fit_stateful` trains any stateful model on these batches. For Keras' own
    `fit`, `evaluate` and `predict`, set `reset_input`.

    Args:
        series: one array `(rows,)` or `(rows, features)`, which may be a memory map or pyarrow
            data; or a list of arrays, a `GroupedArray`, or an array `(series, rows, features)`.
        batch_size: rows of a batch, the `batch_size` of the stateful model.
        bptt_steps: timesteps of a batch, and so the timesteps that a gradient can cross.
        horizon: number of future timesteps to predict at each timestep, default 1. With 0 the
            target is at the timestep itself, and `targets` is required.
        targets: values to predict, in the same form as `series` and with the same rows. Default:
            the series themselves. For labels of the timesteps, also pass `horizon=0`: otherwise the
            target of a timestep is the label of the next one.
        target_rows: which timesteps of a batch have a target. `"all"`, the default: each of them,
            for models with an output at each timestep. `"last"`: only the last of each row, for
            models with one output after the last timestep, such as `many_to_one`. A row whose last
            timestep is padding then has weight 0.
        pack: let a series begin right after the previous series of its row, even in the middle of a
            batch, default True. Otherwise it begins with the next batch, and the rest of the row is
            padded.
        idle_rows: allow fewer series than rows, default False; the remaining rows are padded.
        reset_input: whether the inputs of a batch include the flags: True for models with a `reset`
            input, False for models that take an array (see `seqkeras.training.ResetStates`).
            Default: `fit_stateful` decides, and nothing else can read the batches.
        shuffle: draw a new order of the series in each epoch, default False. Keras' `fit` still
            needs its own `shuffle=False`, so that it keeps the order of the batches.
        seed: seed of the shuffle. The same seed gives the same epochs.

    Indexing returns `(inputs, targets, mask)`. The inputs are `{"sequence": x, "reset": flags}`
    with `reset_input=True`, as a builder's model with a `reset` input takes them, and `x` with
    `reset_input=False`:

    - x `(batch, bptt_steps, features)`, with 1 feature for one-dimensional series;
    - flags, True where the state is cleared before a timestep: `(batch, 1)`, or
      `(batch, bptt_steps)` if any series begins within a batch;
    - targets `(batch, bptt_steps, horizon)` for one-dimensional series; for other series
      `(batch, bptt_steps, outputs)`, or `(batch, bptt_steps, horizon, outputs)` with a horizon
      above 1;
    - mask `(batch, bptt_steps)`, 1 for a timestep and 0 for padding: Keras' sample weights.

    With `target_rows="last"` targets and mask have no time axis: `(batch, horizon)` or
    `(batch, outputs)`, and `(batch,)`.

    Raises:
        ArgumentError: a size is invalid, targets do not have the rows of the series, there are
            fewer series than rows, `fit` requests batches out of order, or batches are read while
            `reset_input` is not set.
        DataError: values are NaN or infinite, there are too few to fill a batch, or float32 cannot
            tell the values of a series apart.

    Warns:
        RoundedIntegersWarning: integers are too large for float32.
        SkippedSeriesWarning: some series are too short for a timestep and its target.

    Example:
        >>> batches = StatefulBatches([np.arange(9.0), np.arange(4.0), np.arange(6.0)],
        ...                           batch_size=2, bptt_steps=4, reset_input=True)
        >>> len(batches), batches.steps, batches.padding
        (2, 16, 0.0)
        >>> inputs, targets, mask = batches[1]
        >>> inputs["sequence"][1, :, 0].tolist(), inputs["reset"][1].tolist()
        ([4.0, 0.0, 1.0, 2.0], [False, True, False, False])
    """

    advice = Advice('target_rows="all"', 'target_rows="last"')

    def __init__(
        self,
        series: Series,
        *,
        batch_size: int,
        bptt_steps: int,
        horizon: int = 1,
        targets: Series | None = None,
        target_rows: str = "all",
        pack: bool = True,
        idle_rows: bool = False,
        reset_input: bool | None = None,
        shuffle: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self.batch_size = check_size("batch_size", batch_size)
        self.bptt_steps = check_size("bptt_steps", bptt_steps)
        self.horizon = check_size("horizon", horizon, minimum=0)
        if self.batch_size * self.bptt_steps > MAX_TIMESTEPS:
            actual = f"{self.batch_size} rows of {self.bptt_steps} timesteps"
            expected = f"so small that a batch has at most {MAX_TIMESTEPS} timesteps"
            raise bad_argument("batch_size", Description(actual), expected)
        if reset_input is not None:
            check_flag("reset_input", reset_input)
        self.reset_input = reset_input
        self.target_rows = check_one_of("target_rows", target_rows, ("all", "last"))
        self.shuffle = check_flag("shuffle", shuffle)
        opened, bounds = _open("series", series)
        self._inputs = RowReader(opened, 1)
        self._series = len(bounds) - 1
        if targets is not None:
            opened, _ = _open("targets", targets, bounds)
        elif not self.horizon:
            fix = "Without targets=, a timestep would be its own target."
            raise bad_argument("targets", None, "given where horizon=0", fix)
        self._targets = RowReader(opened, max(self.horizon, 1))
        check_flag("idle_rows", idle_rows)
        if _is_one_array(series):
            self._stretches = self._rows_of_one(int(bounds[-1]))
        else:
            self._stretches = _whole(bounds, self.horizon)
            self._check_rows(idle_rows)
        self._laid_out = Stream.lay_out(
            self._stretches,
            rows=self.batch_size,
            bptt_steps=self.bptt_steps,
            pack=check_flag("pack", pack),
        )
        self._new_pass()
        if self.bptt_steps > self._stream.longest:
            expected = f"at most the {self._stream.longest} timesteps of the longest row"
            fix = "Otherwise every row of the only batch would be padded."
            raise bad_argument("bptt_steps", self.bptt_steps, expected, fix)
        if self.target_rows == "last" and not self._stream.filled:
            actual = Description("series that all end before the last timestep of a batch")
            fix = "Use a smaller bptt_steps."
            raise bad_argument("series", actual, "longer for target_rows='last'", fix)

    def __len__(self) -> int:
        return self._stream.batches

    def __repr__(self) -> str:
        return (
            f"StatefulBatches({len(self)} batches of {self.batch_size} rows and {self.bptt_steps} "
            f"timesteps; {self.steps} timesteps of {self._series} series, "
            f"{self.padding:.1%} padding)"
        )

    def _repr_html_(self) -> str:
        rows = [
            ("batches", len(self)),
            ("rows of a batch, each with its state", self.batch_size),
            ("timesteps of a batch", self.bptt_steps),
            ("series", self._series),
            ("timesteps with a target", self.steps),
            ("padding", f"{self.padding:.1%}"),
            ("order of the series", "shuffled in each epoch" if self.shuffle else "fixed"),
        ]
        return html_table("StatefulBatches", rows)

    @property
    def steps(self) -> int:
        """Count the timesteps of all series that have a target."""
        return int(self._stretches.steps.sum())

    @property
    def padding(self) -> float:
        """Return the share of padding among the timesteps of all batches."""
        return 1 - self.steps / (self.batch_size * self._stream.length)

    def resets(self, index: int) -> npt.NDArray[np.bool_]:
        """Return the flags of batch `index`: `(batch, 1)`, or `(batch, bptt_steps)`."""
        _, _, begins = self._stream.read(index)
        return self._flags(begins)

    def in_order(self) -> Iterator[StatefulBatch]:
        """Yield all batches in the order before any shuffle, with flags."""
        batches = copy.copy(self)
        batches._stream = self._laid_out
        for index in range(len(batches)):
            yield batches._read(index, True)

    def to_series(self, outputs: npt.ArrayLike) -> list[npt.NDArray[Any]]:
        """Reassemble the outputs of a model for these batches into one array for each series.

        Args:
            outputs: `(batches * batch_size, bptt_steps, ...)`, as `model.predict(batches)` returns.

        Returns:
            An array `(steps, ...)` for each series, in the order of `series`, with an output for
            each timestep that has a target.

        Raises:
            ArgumentError: the outputs have another shape.
        """
        array = np.asarray(outputs)
        rows = len(self) * self.batch_size
        if array.shape[:2] != (rows, self.bptt_steps):
            expected = f"of shape ({rows}, {self.bptt_steps}, ...)"
            raise bad_argument("outputs", array.shape, expected)
        by_batch = array.reshape(len(self), self.batch_size, *array.shape[1:])
        by_row = by_batch.swapaxes(0, 1).reshape(self.batch_size, -1, *array.shape[2:])
        return self._stream.collect(by_row, self._series)

    def _new_pass(self) -> None:
        super()._new_pass()
        self._stream = self._laid_out
        if self.shuffle:
            self._stream = self._laid_out.shuffled(np.random.default_rng([self.seed, self.epoch]))

    def _flags(self, begins: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return begins if self._stream.begins_within else begins[:, :1]

    def _read(self, index: int, reset_input: bool) -> StatefulBatch:
        rows, used, begins = self._stream.read(index)
        x = self._inputs.at(rows.ravel()).reshape(*rows.shape, -1)
        x[~used] = 0
        inputs = {"sequence": x, "reset": self._flags(begins)} if reset_input else x
        if self.target_rows == "last":
            rows, used = rows[:, -1:], used[:, -1:]
            return inputs, self._targets_of(rows, used)[:, 0], used[:, 0].astype(np.float32)
        return inputs, self._targets_of(rows, used), used.astype(np.float32)

    def _targets_of(
        self, rows: npt.NDArray[np.int64], used: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        # With a horizon, the first target is one row later. Padding reads row 0, which has targets.
        targets = self._targets.at(rows.ravel() + min(self.horizon, 1))
        targets = targets.reshape(*rows.shape, *targets.shape[1:])
        targets[~used] = 0
        return targets[:, :, 0] if targets.ndim > 3 and self.horizon < 2 else targets

    def _rows_of_one(self, rows: int) -> Stretches:
        steps = rows - self.horizon
        if self.shuffle:
            fix = "All rows read their parts of the array at the same time, so no order can change."
            raise bad_argument("shuffle", True, "False where series is one array", fix)
        if steps < self.batch_size:
            raise DataError(
                f"series must have at least {self.batch_size} timesteps with a target, one for "
                f"each row of a batch. Got: {max(steps, 0)}. Use a smaller batch_size or horizon."
            )
        return cut(steps, self.batch_size)

    def _check_rows(self, idle_rows: bool) -> None:
        if len(self._stretches) < self.batch_size and not idle_rows:
            expected = f"at most the number of series, {len(self._stretches)}"
            fix = "Use idle_rows=True to pad the remaining rows."
            raise bad_argument("batch_size", self.batch_size, expected, fix)


def _is_one_array(series: Any) -> bool:
    """Return whether `series` is one array of rows, and not several series."""
    if isinstance(series, GroupedArray):
        return False
    if isinstance(series, (list, tuple)):
        return not series or not (isinstance(series[0], (list, tuple)) or np.ndim(series[0]))
    return np.ndim(series) != 3


def _open(name: str, series: Any, bounds: Integers | None = None) -> tuple[Source, Integers]:
    """Return the rows of all series, and the bounds between them."""
    if not isinstance(series, GroupedArray) and not _is_one_array(series):
        series = GroupedArray.from_series(series)
    if bounds is None:
        bounds = series_bounds([series])
    return open_rows(name, series, bounds, nan_allowed=False, beside="series")


def _whole(bounds: Integers, horizon: int) -> Stretches:
    """Return each series as one stretch, and warn about series too short for a target."""
    steps = np.diff(bounds) - horizon
    usable = np.flatnonzero(steps > 0)
    too_short = np.flatnonzero(steps <= 0)
    needed = f"rows for one timestep and its target: {horizon + 1}"
    if not len(usable):
        raise DataError(f"None of the {len(steps)} series has {needed}. Use a smaller horizon.")
    if len(too_short):
        examples = ", ".join(map(str, too_short[:5])) + (", ..." if len(too_short) > 5 else "")
        warn(
            f"{len(too_short)} of {len(steps)} series are skipped (numbers [{examples}]): they "
            f"lack the {needed}.",
            SkippedSeriesWarning,
        )
    return Stretches(usable, bounds[:-1][usable], steps[usable])

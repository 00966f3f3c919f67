"""Batches in which each row continues where it ended in the batch before."""

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Integers
from seqkeras._checks import bad_argument, check_flag, check_integer
from seqkeras.errors import ArgumentError, DataError, SkippedSeriesWarning
from seqkeras.windows._dataset import Epochs
from seqkeras.windows._grouped import GroupedArray
from seqkeras.windows._readers import RowReader, open_rows, series_bounds
from seqkeras.windows._sources import Source
from seqkeras.windows._stream import Stream, Stretches, cut

Series: TypeAlias = npt.ArrayLike | Sequence[npt.ArrayLike] | GroupedArray

#: Inputs and reset flags, targets, mask.
StatefulBatch: TypeAlias = tuple[Any, npt.NDArray[np.float32], npt.NDArray[np.float32]]


class StatefulBatches(Epochs):
    """Batches for stateful training: row `i` of a batch continues row `i` of the batch before.

    One array is cut into `batch_size` stretches of the same length, one for each row. Of many
    series, each row reads one after the other: when a series ends, the next one that waits takes
    its row, and a flag tells the model to clear the state of that row alone. No timestep is
    dropped, and rows are padded only where no series is left for them.

    Args:
        series: one array `(rows,)` or `(rows, features)`, which may be a memory map or pyarrow
            data; or a list of arrays, a `GroupedArray`, or an array `(series, rows, features)`.
        batch_size: rows of a batch, the `batch_size` of the stateful model.
        bptt_steps: timesteps of a batch, which a gradient crosses.
        horizon: future timesteps that are the target of each timestep; 0 for targets of the very
            timestep, which must then be given.
        targets: what is predicted, in the form that `series` has and row for row beside it.
            Default: the series themselves.
        pack: let a series begin right after the one before it in its row, also within a batch.
            Without, it begins with the next batch, and the rest of the row is padded.
        idle_rows: allow fewer series than rows; the rows left over are padded.
        reset_input: give the flags to the model. Without, its inputs are the array alone, as a
            model of stock Keras layers takes it; see `seqkeras.training.ResetStates`.
        shuffle: draw the order of the series, a new one each epoch. `fit` must be told
            `shuffle=False` all the same: it would draw the order of the batches.
        seed: of the shuffle. The same seed gives the same epochs.

    Indexing gives `({"inputs": x, "reset": flags}, targets, mask)`, as a stateful model of the
    builders takes it:

    - inputs `(batch, bptt_steps, features)`, with 1 feature for one-dimensional series;
    - flags, True where the state is cleared before a timestep: `(batch, 1)`, or
      `(batch, bptt_steps)` if any series begins within a batch;
    - targets `(batch, bptt_steps, horizon)` of one-dimensional series; of others
      `(batch, bptt_steps, outputs)`, and `(batch, bptt_steps, horizon, outputs)` for a horizon
      above 1;
    - mask `(batch, bptt_steps)`, 1 for a timestep and 0 for padding: Keras' sample weights.

    Raises:
        ArgumentError: a bad size, targets unlike the series, fewer series than rows, or batches
            that `fit` asked for out of order.
        DataError: values are NaN or infinite, or too few to fill a batch.

    Warns:
        SkippedSeriesWarning: some series are too short for a timestep and its target.

    Example:
        >>> batches = StatefulBatches([np.arange(9.0), np.arange(4.0), np.arange(6.0)],
        ...                           batch_size=2, bptt_steps=4)
        >>> len(batches), batches.steps, batches.padding
        (2, 16, 0.0)
        >>> inputs, targets, mask = batches[1]
        >>> inputs["inputs"][1, :, 0].tolist(), inputs["reset"][1].tolist()
        ([4.0, 0.0, 1.0, 2.0], [False, True, False, False])
    """

    def __init__(
        self,
        series: Series,
        *,
        batch_size: int,
        bptt_steps: int,
        horizon: int = 1,
        targets: Series | None = None,
        pack: bool = True,
        idle_rows: bool = False,
        reset_input: bool = True,
        shuffle: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self.batch_size = check_integer("batch_size", batch_size)
        self.bptt_steps = check_integer("bptt_steps", bptt_steps)
        self.horizon = check_integer("horizon", horizon, minimum=0)
        self.reset_input = check_flag("reset_input", reset_input)
        self._shuffle = check_flag("shuffle", shuffle)
        opened, bounds = _open("series", series)
        self._inputs, self._series = RowReader(opened, 1), len(bounds) - 1
        if targets is not None:
            opened, _ = _open("targets", targets, bounds)
        elif not self.horizon:
            fix = "With horizon=0 a timestep would be its own target."
            raise bad_argument("targets", None, "given where horizon=0", fix)
        self._targets = RowReader(opened, max(self.horizon, 1))
        check_flag("idle_rows", idle_rows)
        if _is_one(series):
            self._stretches = self._rows_of_one(int(bounds[-1]))
        else:
            self._stretches = _whole(bounds, self.horizon)
            self._check_rows(idle_rows)
        self._laid_out = Stream.lay_out(
            self._stretches,
            rows=self.batch_size,
            bptt_steps=bptt_steps,
            pack=check_flag("pack", pack),
        )
        self._new_pass()
        if self.bptt_steps > self._stream.longest:
            expected = f"at most the {self._stream.longest} timesteps of the longest row"
            fix = "Every row of the only batch would be padded."
            raise bad_argument("bptt_steps", self.bptt_steps, expected, fix)

    def __len__(self) -> int:
        return self._stream.batches

    def __getitem__(self, index: int) -> StatefulBatch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        if self._in_epoch:
            self._check_order(index)
        self._ask(index)
        rows, used, begins = self._stream.read(index)
        inputs = self._inputs.at(rows.ravel()).reshape(*rows.shape, -1)
        inputs[~used] = 0
        x = {"inputs": inputs, "reset": self._flags(begins)} if self.reset_input else inputs
        return x, self._targets_of(rows, used), used.astype(np.float32)

    def __repr__(self) -> str:
        return (
            f"StatefulBatches({len(self)} batches of {self.batch_size} rows and {self.bptt_steps} "
            f"timesteps; {self.steps} timesteps of {self._series} series, "
            f"{self.padding:.1%} padding)"
        )

    @property
    def steps(self) -> int:
        """Timesteps of all series that have a target."""
        return int(self._stretches.steps.sum())

    @property
    def padding(self) -> float:
        """Share of the timesteps in all batches that is padded."""
        return 1 - self.steps / (self.batch_size * self._stream.length)

    def resets(self, index: int) -> npt.NDArray[np.bool_]:
        """The flags of batch `index`: `(batch, 1)`, or `(batch, bptt_steps)`."""
        _, _, begins = self._stream.read(index)
        return self._flags(begins)

    def to_series(self, outputs: npt.ArrayLike) -> list[npt.NDArray[Any]]:
        """What a model gave for these batches, put together again series by series.

        Args:
            outputs: `(batches * batch_size, bptt_steps, ...)`, as `model.predict(batches)` gives.

        Returns:
            For each series, in the order they came in, `(steps, ...)`: an output for each timestep
            that has a target.

        Raises:
            ArgumentError: outputs of another shape.
        """
        given = np.asarray(outputs)
        rows = len(self) * self.batch_size
        if given.shape[:2] != (rows, self.bptt_steps):
            expected = f"of shape ({rows}, {self.bptt_steps}, ...)"
            raise bad_argument("outputs", given.shape, expected)
        by_batch = given.reshape(len(self), self.batch_size, *given.shape[1:])
        by_row = by_batch.swapaxes(0, 1).reshape(self.batch_size, -1, *given.shape[2:])
        return self._stream.collect(by_row, self._series)

    def on_epoch_begin(self) -> None:
        """Moves on to the next epoch, if this one was read to its end; Keras calls this."""
        super().on_epoch_begin()
        self._in_epoch = True

    def on_epoch_end(self) -> None:
        """Lets batches be asked for in any order again; Keras calls this."""
        self._in_epoch = False

    def _new_pass(self) -> None:
        self._stream = self._laid_out
        if self._shuffle:
            self._stream = self._laid_out.shuffled(np.random.default_rng([self.seed, self.epoch]))
        self._in_epoch = False

    def _flags(self, begins: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return begins if self._stream.begins_within else begins[:, :1]

    def _check_order(self, index: int) -> None:
        if index and self._asked and not self._asked[index - 1]:
            raise ArgumentError(
                f"Batch {index} was asked for before batch {index - 1}, which it continues. Give "
                "fit(..., shuffle=False): Keras draws the order of batches otherwise."
            )

    def _targets_of(
        self, rows: npt.NDArray[np.int64], used: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        # The first target follows its timestep; padding reads row 0, which has targets as well.
        targets = self._targets.at(rows.ravel() + min(self.horizon, 1))
        targets = targets.reshape(*rows.shape, *targets.shape[1:])
        targets[~used] = 0
        return targets[:, :, 0] if targets.ndim > 3 and self.horizon < 2 else targets

    def _rows_of_one(self, rows: int) -> Stretches:
        steps = rows - self.horizon
        if self._shuffle:
            fix = "Its stretches are read at the same time, one in each row."
            raise bad_argument("shuffle", True, "False where series is one array", fix)
        if steps < self.batch_size:
            raise DataError(
                f"series has {max(steps, 0)} timesteps with a target, fewer than the "
                f"{self.batch_size} rows of a batch. Use a smaller batch_size or horizon."
            )
        return cut(steps, self.batch_size)

    def _check_rows(self, idle_rows: bool) -> None:
        if len(self._stretches) < self.batch_size and not idle_rows:
            expected = f"at most the {len(self._stretches)} series that there are"
            fix = "idle_rows=True pads the rows that are left over."
            raise bad_argument("batch_size", self.batch_size, expected, fix)


def _is_one(series: Any) -> bool:
    """Whether these are the rows of one array, and not several series."""
    if isinstance(series, GroupedArray):
        return False
    if isinstance(series, (list, tuple)):
        return not len(series) or not np.ndim(series[0])
    return np.ndim(series) != 3


def _open(name: str, given: Any, bounds: Integers | None = None) -> tuple[Source, Integers]:
    """The rows of all series, and the bounds between them."""
    if not isinstance(given, GroupedArray) and not _is_one(given):
        given = GroupedArray.from_series(given)
    if bounds is None:
        bounds = series_bounds([given])
    return open_rows(name, given, bounds, nan_allowed=False)


def _whole(bounds: Integers, horizon: int) -> Stretches:
    """Each series as one stretch; those without a target are left out, and counted."""
    steps = np.diff(bounds) - horizon
    kept = np.flatnonzero(steps > 0)
    left_out = np.flatnonzero(steps <= 0)
    needed = f"rows for one timestep and its target: {horizon + 1}"
    if not len(kept):
        raise DataError(f"None of the {len(steps)} series has {needed}. Use a smaller horizon.")
    if len(left_out):
        warnings.warn(
            f"{len(left_out)} of {len(steps)} series are left out (numbers "
            f"{left_out[:5].tolist()}{', ...' if len(left_out) > 5 else ''}): they lack the "
            f"{needed}.",
            SkippedSeriesWarning,
            stacklevel=3,
        )
    return Stretches(kept, bounds[:-1][kept], steps[kept])

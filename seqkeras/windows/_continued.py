"""The base class of batches in which each row continues where it ended in the batch before."""

import copy
from collections.abc import Iterator
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt

from seqkeras._checks import Description, bad_argument, check_flag
from seqkeras.errors import ArgumentError
from seqkeras.windows._dataset import Epochs
from seqkeras.windows._targets import find_reader


class ContinuedBatches(Epochs):
    """A data set for `fit` and `fit_stateful`: row `i` of a batch continues that of the one before.

    Attributes:
        batch_size: rows of a batch.
        bptt_steps: timesteps of a batch.
        reset_input: whether the inputs of a batch include the flags, as `{"sequence": x, "reset":
            flags}`. None: not decided yet, so only `fit_stateful` can read the batches.
        continues: whether the rows do continue. False for batches of single sequences.
        shuffle: whether each epoch has an order, or a start, of its own.
        steps: number of timesteps with a target in an epoch.
    """

    batch_size: int
    bptt_steps: int
    reset_input: bool | None
    shuffle: bool
    continues = True
    _in_epoch = False

    @property
    def steps(self) -> int:
        raise NotImplementedError

    def resets(self, index: int) -> npt.NDArray[np.bool_]:
        """Return the flags of batch `index`: `(batch, 1)`, or `(batch, bptt_steps)`."""
        raise NotImplementedError

    def in_order(self) -> Iterator[Any]:
        """Yield batches of all data, in an order that is the same for each epoch and seed."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Any:
        index = self._requested_index(index)
        if self.reset_input is None:
            expected = "True or False to read batches outside of fit_stateful"
            fix = "Use True for a model built with reset_input=True, and False for other models."
            raise bad_argument("reset_input", None, expected, fix)
        if self._in_epoch:
            self._check_order(index)
        self._mark_requested(index)
        return self._read(index, self.reset_input)

    def first_batch(self) -> Any:
        """Return the first batch of the current epoch, without counting it as requested."""
        return self._read(0, bool(self.reset_input))

    def why_not_continuing(self) -> str | None:
        """Return why a state cannot be carried from batch to batch, or None if it can."""
        if self.continues or self.reset_input:
            return None
        return "each row of a batch is another sequence"

    def with_reset_input(self, reset_input: bool) -> Self:
        """Return these batches in the same order and epoch, with or without flags.

        Args:
            reset_input: see the class.

        Example:
            >>> from seqkeras import StatefulBatches
            >>> batches = StatefulBatches(np.arange(9.0), batch_size=2, bptt_steps=4)
            >>> x, targets, mask = batches.with_reset_input(False)[0]
            >>> x.shape
            (2, 4, 1)
        """
        batches = copy.copy(self)
        batches.reset_input = check_flag("reset_input", reset_input)
        return batches

    def on_epoch_begin(self) -> None:
        """Begin the next pass, unless the current one is unfinished. Keras calls this.

        Raises:
            ArgumentError: the model that reads the batches does not take them.
        """
        reader = find_reader()
        if reader is not None:
            self._check_reset_input(reader.model)
        super().on_epoch_begin()
        self._in_epoch = self.continues

    def on_epoch_end(self) -> None:
        """Move on to the next pass, and allow batches in any order again. Keras calls this."""
        super().on_epoch_end()
        self._in_epoch = False

    def _needs_order(self, model: keras.Model) -> bool:
        return self.continues

    def _read(self, index: int, reset_input: bool) -> Any:
        """Return batch `index` of the current epoch, with or without flags."""
        raise NotImplementedError

    def _new_pass(self) -> None:
        """Prepare the order of the next pass, and allow batches in any order again."""
        self._in_epoch = False

    def _check_order(self, index: int) -> None:
        if index and self._requested and not self._requested[index - 1]:
            raise ArgumentError(
                f"Batch {index} was read before batch {index - 1}, which it continues. Call "
                "fit(..., shuffle=False): by default, Keras changes the order of the batches."
            )

    def _check_reset_input(self, model: keras.Model) -> None:
        inputs = getattr(model, "inputs", None)
        if not inputs or self.reset_input is None:
            return
        names = [tensor.name for tensor in inputs]
        if ("reset" in names) != self.reset_input:
            actual = Description(f"reset_input={self.reset_input} for a model with inputs {names}")
            fix = (
                "Keras would ignore the flags, and never clear a state. Build the model with "
                "reset_input=True, or train it with fit_stateful, which takes both."
                if self.reset_input
                else "Use True, or train the model with fit_stateful, which takes both."
            )
            expected = "True exactly if the model has an input named 'reset'"
            raise bad_argument("reset_input", actual, expected, fix)

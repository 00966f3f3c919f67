"""The base class of the data sets for `fit`: it counts the passes over the data."""

from seqkeras._lazy import require

require("keras")

from typing import Any

import keras
import numpy as np

from seqkeras._checks import bad_argument, check_integer
from seqkeras.windows._numbers import check_position
from seqkeras.windows._targets import Advice, check_once, find_reader, is_stateful


class Epochs(keras.utils.PyDataset):
    """A `keras.utils.PyDataset` that counts its passes over the data.

    The order of a pass depends only on the seed and on its index, so a resumed training reads the
    same batches as an uninterrupted one.

    Attributes:
        advice: how to fix targets that do not fit a model.
    """

    advice: Advice

    def __init__(self, seed: int | None) -> None:
        # One worker: Keras then requests the batches in sequence.
        super().__init__(workers=1)
        #: Whether no seed was passed; a resumed training then restores that of the original run.
        self.draws_seed = seed is None
        if seed is None:
            seed = int(np.random.default_rng().integers(2**63))
        self.seed = check_integer("seed", seed, minimum=0)
        self._epoch = 0
        self._requested: bytearray | None = None  # 1 for each batch that this pass has returned

    @property
    def epoch(self) -> int:
        """Return the index of the current pass over the data, from 0.

        Set it to resume where another run stopped. With `steps_per_epoch`, a pass can span several
        epochs of Keras.
        """
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = check_integer("epoch", epoch, minimum=0)
        self._requested = None
        self._new_pass()

    def take_seed(self, seed: int) -> None:
        """Draw the epochs of another seed."""
        self.seed = seed
        self._new_pass()

    def on_epoch_begin(self) -> None:
        """Begin the next pass, unless the current one is unfinished. Keras calls this.

        Raises:
            ArgumentError: inputs, targets or the order of batches do not fit the model that reads
                them.
        """
        reader = find_reader()
        if reader is not None:
            check_once(self, reader.model)
            if reader.shuffles and len(self) > 1 and self._needs_order(reader.model):
                fix = "Call fit(..., shuffle=False): by default, Keras changes their order."
                expected = "False for batches that continue each other"
                raise bad_argument("shuffle", True, expected, fix)
            if isinstance(reader.validation, Epochs):  # or it would be checked after an epoch
                check_once(reader.validation, reader.model)
            self._resume(reader.first_epoch)
        # With `steps_per_epoch`, or after an interruption, an epoch begins in the middle of a pass.
        if self._requested is None:
            self._requested = bytearray(len(self))
            self._new_pass()

    def on_epoch_end(self) -> None:
        """Move on to the next pass if this one was read to its end. Keras calls this.

        Keras also calls it before the first epoch, after it has read a few batches to build the
        model; those do not end a pass.
        """
        # No batch is requested in this process if other processes read them.
        if self._requested is None or 0 < self._requested.count(1) < len(self):
            return
        if self._requested.count(1) or self.use_multiprocessing:
            self._epoch += 1
            self._requested = None

    def first_batch(self) -> Any:
        """Return the first batch of the current pass, without counting it as requested."""
        raise NotImplementedError

    def why_not_continuing(self) -> str | None:
        """Return why a state cannot be carried from batch to batch, or None if it can."""
        return None

    def _needs_order(self, model: keras.Model) -> bool:
        """Return whether each batch continues the one before, if this model reads them."""
        return is_stateful(model)

    def _resume(self, first_epoch: int) -> None:
        """Skip the epochs that were completed before a training was resumed in a new process."""
        if first_epoch > self._epoch:
            self.epoch = first_epoch

    def _requested_index(self, index: Any) -> int:
        """Return the position of a batch that is requested by its index.

        Raises:
            IndexError: there is no such batch.
        """
        index = check_position("batch", index, len(self))
        if index < 0:
            raise IndexError(f"batch index {index} is out of range for a length of {len(self)}")
        return index

    def _mark_requested(self, index: int) -> None:
        """Record that a batch was requested."""
        # A counter would be wrong: Keras reads some batches in advance, and then again.
        if self._requested is not None:
            self._requested[index] = 1

    def _new_pass(self) -> None:
        """Prepare the order of the next pass, in subclasses that draw it in advance."""

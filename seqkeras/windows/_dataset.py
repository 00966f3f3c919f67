"""The base of the data sets for `fit`, which know the current epoch."""

from seqkeras._lazy import require

require("keras")

from typing import Any

import keras
import numpy as np

from seqkeras._checks import check_integer
from seqkeras.windows._targets import Advice, check_once, find_reader


class Epochs(keras.utils.PyDataset):
    """A `keras.utils.PyDataset` that knows the number of its epoch.

    The order of an epoch depends only on the seed and on this number, so a training that is
    resumed sees the batches that it would have seen without the break.

    Attributes:
        advice: what to change where the targets do not fit a model.
    """

    advice: Advice

    def __init__(self, seed: int | None) -> None:
        # One worker: Keras then requests the batches in sequence.
        super().__init__(workers=1)
        #: Whether the seed was drawn here: a training that is resumed then takes its first one.
        self.draws_seed = seed is None
        if seed is None:
            seed = int(np.random.default_rng().integers(2**63))
        self.seed = check_integer("seed", seed, minimum=0)
        self._epoch = 0
        self._asked: bytearray | None = None  # 1 for each batch requested in this pass

    @property
    def epoch(self) -> int:
        """Number of the current epoch, from 0. Set it to resume where another run stopped."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = check_integer("epoch", epoch, minimum=0)
        self._asked = None
        self._new_pass()

    def on_epoch_begin(self) -> None:
        """Begin the next pass, unless one is unfinished. Keras calls this.

        Raises:
            ArgumentError: inputs or targets do not fit the model that reads them.
        """
        reader = find_reader()
        if reader is not None:
            check_once(self, reader.model)
            self._resume(reader.first_epoch)
        # An epoch of `steps_per_epoch` batches is a part of a pass, and so is an interrupted one.
        if self._asked is None:
            self._asked = bytearray(len(self))
            self._new_pass()

    def on_epoch_end(self) -> None:
        """Move on to the next epoch if this one was read to its end. Keras calls this.

        It also does so before the first epoch, of which it has read the first batches then.
        """
        # If other processes read the batches, none were requested here.
        if self._asked is None or 0 < self._asked.count(1) < len(self):
            return
        if self._asked.count(1) or self.use_multiprocessing:
            self._epoch += 1
            self._asked = None

    def first_batch(self) -> Any:
        """Return the first batch of the current epoch, which does not count as requested."""
        raise NotImplementedError

    def _resume(self, first_epoch: int) -> None:
        """Skip the epochs that a training has done before it was resumed, in another process."""
        if first_epoch > self._epoch:
            self.epoch = first_epoch

    def _ask(self, index: int) -> None:
        """Record that a batch was requested."""
        # Not a count: Keras reads some batches in advance, and then again.
        if self._asked is not None:
            self._asked[index] = 1

    def _new_pass(self) -> None:
        """Prepare the order of the next pass, in subclasses that draw it in advance."""

"""What the data sets for `fit` share: they know which epoch it is."""

from seqkeras._lazy import require

require("keras")

import keras
import numpy as np

from seqkeras._checks import check_integer


class Epochs(keras.utils.PyDataset):
    """A `keras.utils.PyDataset` with the number of its epoch.

    The order of an epoch is a function of the seed and of this number alone, so that a run which
    goes on after a break sees what it would have seen.
    """

    def __init__(self, seed: int | None) -> None:
        # One worker: Keras then asks for the batches one after the other.
        super().__init__(workers=1)
        drawn = np.random.default_rng().integers(2**63)
        self.seed = check_integer("seed", drawn if seed is None else seed, minimum=0)
        self._epoch = 0
        self._asked: bytearray | None = None  # 1 for each batch asked for in this pass

    @property
    def epoch(self) -> int:
        """Number of the epoch that is read, from 0; set it to go on where another run stopped."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch, self._asked = check_integer("epoch", epoch, minimum=0), None
        self._new_pass()

    def on_epoch_begin(self) -> None:
        """Moves on to the next epoch, if this one was read to its end; Keras calls this."""
        # Not in on_epoch_end, which Keras also calls before the first epoch. An epoch of
        # `steps_per_epoch` batches is a part of a pass, as is one that was interrupted. Where
        # other processes read the batches, none were asked for here.
        begun = self._asked is not None
        if self._asked and 0 < self._asked.count(1) < len(self):
            return
        self._epoch += begun
        self._asked = bytearray(len(self))
        self._new_pass()

    def _ask(self, index: int) -> None:
        """Takes note of a batch that is asked for."""
        # Not a count: Keras looks at some batches beforehand, and reads them again.
        if self._asked is not None:
            self._asked[index] = 1

    def _new_pass(self) -> None:
        """What an order drawn beforehand needs at the start of each pass."""

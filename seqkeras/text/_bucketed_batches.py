"""The base class of batches of padded sequences."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from seqkeras._arrays import Integers
from seqkeras._checks import check_flag
from seqkeras.text._length_buckets import into_buckets
from seqkeras.text._model_ids import check_reader
from seqkeras.windows._dataset import Epochs
from seqkeras.windows._numbers import check_size
from seqkeras.windows._targets import Advice


class BucketedBatches(Epochs):
    """A data set for `fit` with sequences of similar lengths in each batch.

    The lengths of batches have few different values, because TensorFlow and JAX compile a model
    again for each new shape. All batches but one have `batch_size` sequences: a batch that a bucket
    cannot fill takes sequences from the next longer one.

    Args:
        lengths: `(sequences, columns)`.
        batch_size: sequences in a batch.
        buckets: largest number of different shapes.
        shuffle: whether each epoch has batches and an order of its own.
        seed: seed of the shuffle. None: a random one.

    Attributes:
        count: number of sequences, or of pairs.
        shapes: `(batches, columns)`, the lengths of the batches in their order before the shuffle,
            from the shortest to the longest.
    """

    advice = Advice("a model with an output at each timestep", "a label for each sequence")

    def __init__(
        self, lengths: Integers, *, batch_size: int, buckets: int, shuffle: bool, seed: int | None
    ) -> None:
        super().__init__(seed)
        self.batch_size = check_size("batch_size", batch_size)
        self.shuffle = check_flag("shuffle", shuffle)
        self.count = len(lengths)
        sorted_into = into_buckets(lengths, check_size("buckets", buckets))
        self._bucket = sorted_into.number
        self._used = int(lengths.sum())
        # A batch is as long as its last sequence needs: buckets follow each other in a batch.
        last = np.minimum(np.arange(1, len(self) + 1) * self.batch_size, self.count) - 1
        self.shapes = sorted_into.shapes[np.sort(self._bucket)[last]]
        self._new_pass()

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        index = self._requested_index(index)
        self._mark_requested(index)
        return self._batch(index)

    @property
    def padding(self) -> float:
        """Return the share of padding among the timesteps of all batches."""
        sizes = np.full(len(self), self.batch_size)
        sizes[-1] = self.count - (len(self) - 1) * self.batch_size
        return 1 - self._used / int((sizes * self.shapes.sum(axis=1)).sum())

    def first_batch(self) -> Any:
        """Return the first batch of the current pass, without counting it as requested."""
        return self._batch(0)

    def why_not_continuing(self) -> str | None:
        """Return why a state cannot be carried from batch to batch."""
        return "each row of a batch is another sequence"

    def order(self, index: int) -> Integers:
        """Return the numbers of the sequences in batch `index` of the current pass, `(batch,)`."""
        first = int(self._turns[index]) * self.batch_size
        return self._numbers[first : first + self.batch_size]

    def on_epoch_begin(self) -> None:
        """Begin the next pass, unless the current one is unfinished. Keras calls this."""
        check_reader(*self._largest())
        super().on_epoch_begin()

    def _new_pass(self) -> None:
        random = np.random.default_rng([self.seed, self.epoch])
        numbers = random.permutation(self.count) if self.shuffle else np.arange(self.count)
        self._numbers = numbers[np.argsort(self._bucket[numbers], kind="stable")]
        turns = random.permutation(len(self)) if self.shuffle else np.arange(len(self))
        self._turns = self._with_all_lengths_first(turns)

    def _with_all_lengths_first(self, turns: Integers) -> Integers:
        """Move a batch of the longest sequences to the front, and then one of the shortest.

        Keras on TensorFlow takes the lengths that the first two batches share to be those of all
        batches. And a batch that does not fit into memory should fail at once.
        """
        long = turns[np.argmax(self.shapes[turns].sum(axis=1))]
        short = turns[np.argmin(self.shapes[turns].sum(axis=1))]
        first = [long] if long == short else [long, short]
        return np.concatenate([first, turns[~np.isin(turns, first)]])

    def _batch(self, index: int) -> Any:
        return self._assemble(self.order(index), self.shapes[self._turns[index]])

    def _assemble(self, numbers: Integers, lengths: Integers) -> Any:
        """Return the batch of these sequences, padded to these lengths."""
        raise NotImplementedError

    def _largest(self) -> tuple[Mapping[str, int], int | None]:
        """Return the largest id of each input, and of the targets if they are ids."""
        raise NotImplementedError

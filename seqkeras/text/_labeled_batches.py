"""Batches of padded sequences with labels, for classifiers and taggers."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Floats32, Integers
from seqkeras._checks import Description, bad_argument, bad_data
from seqkeras.text._bucketed_batches import BucketedBatches
from seqkeras.text._pad import Ids, Sequences, join, refuse_empty

LabeledBatch: TypeAlias = tuple[Ids, Ids] | tuple[Ids, Ids, Floats32]


class LabeledBatches(BucketedBatches):
    """Batches of sequences of ids with labels: one for each sequence, or one for each token.

    Sequences are padded with the id 0 at their ends.

    Args:
        sequences: sequences of ids.
        labels: the numbers of the classes: an integer for each sequence, for a classifier; or a
            sequence of integers for each, of the same length, for a tagger.
        batch_size: sequences in a batch.
        buckets: largest number of different lengths of batches, default 8. More lengths need less
            padding, but TensorFlow and JAX compile a model for each.
        shuffle: whether to draw a new order of the sequences in each epoch, default True. Each
            epoch has each sequence once. Its first batches are one of the longest sequences, so
            that a batch that does not fit into memory fails at once, and one of the shortest.
        seed: seed of the shuffle, default 0. None: a random one.

    Attributes:
        count: number of sequences.
        padding: share of padding among the timesteps of all batches.
        shapes: `(batches, 1)`, the lengths of the batches, from the shortest to the longest.

    Indexing returns `(x, y)` for a label for each sequence: ids `(batch, timesteps)` and labels
    `(batch,)`, both int32. For a label for each token it returns `(x, y, weights)`: labels
    `(batch, timesteps)`, and weights of the same shape, float32, 0 for padding and 1 for all
    others.

    Raises:
        ArgumentError: labels do not fit the sequences, or `fit` has a model with too few ids.
        DataError: a sequence is empty or has the id 0, or a label is negative.

    Example:
        >>> batches = LabeledBatches(
        ...     [[4, 5], [4], [6]], [[0, 1], [0], [2]], batch_size=2, shuffle=False
        ... )
        >>> for x, y, weights in batches:
        ...     print(x.tolist(), y.tolist(), weights.tolist())
        [[4, 5]] [[0, 1]] [[1.0, 1.0]]
        [[4], [6]] [[0], [2]] [[1.0], [1.0]]
    """

    def __init__(
        self,
        sequences: Sequence[Any],
        labels: Sequence[Any] | npt.ArrayLike,
        *,
        batch_size: int,
        buckets: int = 8,
        shuffle: bool = True,
        seed: int | None = 0,
    ) -> None:
        self._sequences = join("sequences", sequences, lowest=1)
        refuse_empty("", self._sequences, "sequence")
        self._labels = _check_labels(labels, self._sequences)
        super().__init__(
            self._sequences.lengths[:, np.newaxis],
            batch_size=batch_size,
            buckets=buckets,
            shuffle=shuffle,
            seed=seed,
        )

    def __repr__(self) -> str:
        return (
            f"LabeledBatches({self.count} sequences in {len(self)} batches of {self.batch_size}; "
            f"{len(np.unique(self.shapes))} lengths, {self.padding:.1%} padding)"
        )

    def _assemble(self, numbers: Integers, lengths: Integers) -> LabeledBatch:
        timesteps = int(lengths[0])
        x = self._sequences.padded(numbers, timesteps)
        if not isinstance(self._labels, Sequences):
            return x, self._labels[numbers]
        weights = self._labels.used(numbers, timesteps).astype(np.float32)
        return x, self._labels.padded(numbers, timesteps), weights

    def _largest(self) -> tuple[Mapping[str, int], int | None]:
        labels = self._labels.ids if isinstance(self._labels, Sequences) else self._labels
        return {"sequence": int(self._sequences.ids.max())}, int(labels.max())


def _check_labels(labels: Any, sequences: Sequences) -> Sequences | Ids:
    count = len(sequences.lengths)
    if not hasattr(labels, "__len__") or len(labels) != count:
        actual = Description(
            f"{len(labels)} labels" if hasattr(labels, "__len__") else repr(labels)
        )
        expected = f"a label, or a sequence of labels, for each of the {count} sequences"
        raise bad_argument("labels", actual, expected)
    if np.ndim(labels[0]) == 0:
        return join("labels", [labels], lowest=0).ids
    joined = join("labels", labels, lowest=0)
    wrong = np.flatnonzero(joined.lengths != sequences.lengths)
    if len(wrong):
        labels_text = f"{joined.lengths[wrong[0]]} labels"
        expected = f"have a label for each of its {sequences.lengths[wrong[0]]} ids"
        raise bad_data(f"Sequence {wrong[0]}", labels_text, expected)
    return joined

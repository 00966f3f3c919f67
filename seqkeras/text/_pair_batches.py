"""Batches of pairs of sequences for encoder-decoders."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from seqkeras._arrays import Floats32, Integers
from seqkeras._checks import Description, bad_argument, bad_data
from seqkeras.text._bucketed_batches import BucketedBatches
from seqkeras.text._pad import Ids, Sequences, check_special, join, refuse_empty

#: Inputs, labels, weights.
PairBatch: TypeAlias = tuple[dict[str, Ids], Ids, Floats32]


class PairBatches(BucketedBatches):
    """Batches of pairs of a source and a target, such as sentences in two languages.

    The decoder of a model reads the target with the start token before it, and its labels are the
    target with the end token after it. So at each timestep it reads the previous token and learns
    the next one. Sequences are padded with the id 0 at their ends.

    Args:
        sources: a sequence of ids for each pair.
        targets: the same, without the start and end tokens.
        start_id: id of the start token, such as `vocabulary.start_id`.
        end_id: id of the end token, such as `vocabulary.end_id`.
        source_end_id: id of a token to add to each source. None, the default: none is added.
        batch_size: pairs in a batch.
        buckets: largest number of different shapes of batches, default 8. A shape is a length of
            the sources and one of the targets. More shapes need less padding, but TensorFlow and
            JAX compile a model for each.
        shuffle: whether to draw a new order of the pairs in each epoch, default True. Each epoch
            has each pair once. Its first batches are one of the longest pairs, so that a batch that
            does not fit into memory fails at once, and one of the shortest.
        seed: seed of the shuffle, default 0. None: a random one.

    Attributes:
        count: number of pairs.
        padding: share of padding among the timesteps of all batches.
        shapes: `(batches, 2)`, the lengths of sources and targets, from the shortest to the longest
            batch.

    Indexing returns `(inputs, labels, weights)`:

    - inputs: `{"source": (batch, source timesteps), "target": (batch, target timesteps)}`, int32;
    - labels `(batch, target timesteps)`, int32;
    - weights `(batch, target timesteps)`, float32: 0 for padding and 1 for all others.

    Raises:
        ArgumentError: there are not as many sources as targets, or a special token is missing, or
            `fit` has a model with too few ids.
        DataError: a sequence is empty, has the id 0, or a target has the start or the end token.

    Example:
        >>> pairs = PairBatches([[5, 6, 7], [5]], [[8, 9], [8]], start_id=2, end_id=3, batch_size=2)
        >>> inputs, labels, weights = pairs[0]
        >>> inputs["source"].tolist(), inputs["target"].tolist()
        ([[5, 0, 0], [5, 6, 7]], [[2, 8, 0], [2, 8, 9]])
        >>> labels.tolist(), weights.tolist()
        ([[8, 3, 0], [8, 9, 3]], [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    """

    def __init__(
        self,
        sources: Sequence[Any],
        targets: Sequence[Any],
        *,
        start_id: int,
        end_id: int,
        source_end_id: int | None = None,
        batch_size: int,
        buckets: int = 8,
        shuffle: bool = True,
        seed: int | None = 0,
    ) -> None:
        start_id = check_special("start_id", start_id, "start")
        end_id = check_special("end_id", end_id, "end")
        self._sources = _full("sources", sources)
        self._labels = _full("targets", targets)
        pairs = len(self._sources.lengths)
        if len(self._labels.lengths) != pairs:
            actual = Description(f"{len(self._labels.lengths)} targets for {pairs} sources")
            raise bad_argument("targets", actual, "as many as sources, one for each")
        _refuse(self._labels, {start_id: "start", end_id: "end"})
        if source_end_id is not None:
            source_end_id = check_special("source_end_id", source_end_id, "end")
            self._sources = self._sources.with_token(source_end_id, "after")
        self._targets = self._labels.with_token(start_id, "before")
        self._labels = self._labels.with_token(end_id, "after")
        super().__init__(
            np.stack([self._sources.lengths, self._labels.lengths], axis=1),
            batch_size=batch_size,
            buckets=buckets,
            shuffle=shuffle,
            seed=seed,
        )

    def __repr__(self) -> str:
        return (
            f"PairBatches({self.count} pairs in {len(self)} batches of {self.batch_size}; "
            f"{len(np.unique(self.shapes, axis=0))} shapes, {self.padding:.1%} padding)"
        )

    def _assemble(self, numbers: Integers, lengths: Integers) -> PairBatch:
        source, target = map(int, lengths)
        inputs = {
            "source": self._sources.padded(numbers, source),
            "target": self._targets.padded(numbers, target),
        }
        weights = self._labels.used(numbers, target).astype(np.float32)
        return inputs, self._labels.padded(numbers, target), weights

    def _largest(self) -> tuple[Mapping[str, int], int | None]:
        source, target, label = (
            int(part.ids.max()) for part in (self._sources, self._targets, self._labels)
        )
        return {"source": source, "target": target}, label


def _full(name: str, sequences: Sequence[Any]) -> Sequences:
    """Join sequences, and refuse empty ones."""
    joined = join(name, sequences, lowest=1)
    refuse_empty(f"of {name}", joined, "pair")
    return joined


def _refuse(targets: Sequences, tokens: Mapping[int, str]) -> None:
    """Raise an error if a target already has a special token."""
    wrong = np.flatnonzero(np.isin(targets.ids, list(tokens)))
    if len(wrong):
        number = int(np.searchsorted(targets.starts, wrong[0], side="right")) - 1
        token = int(targets.ids[wrong[0]])
        raise bad_data(
            f"Sequence {number} of targets",
            f"the id {token} in it",
            f"not have the {tokens[token]} token",
            "PairBatches adds the start and the end token.",
        )

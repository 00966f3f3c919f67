"""Buckets of sequences of similar lengths."""

from typing import NamedTuple

import numpy as np

from seqkeras._arrays import Integers

#: Lengths between which borders are searched; the search takes the square of it.
MAX_LEVELS = 512


class Buckets(NamedTuple):
    """Sequences, or tuples of sequences, sorted into buckets by their lengths.

    Attributes:
        number: `(sequences,)`, the bucket of each.
        shapes: `(buckets, columns)`, the longest lengths in a bucket. They never decrease from one
            bucket to the next, so everything also fits into a later bucket.
    """

    number: Integers
    shapes: Integers


def into_buckets(lengths: Integers, buckets: int) -> Buckets:
    """Sort sequences into buckets so that as little padding as possible is needed.

    The borders are optimal for one column of lengths (dynamic programming). With several, such as
    source and target, a sequence goes into the first bucket that is long enough in each column; the
    lengths of a bucket are then those that the same share of the sequences does not exceed.

    Args:
        lengths: `(sequences, columns)`.
        buckets: the largest number of buckets.

    Example:
        >>> into_buckets(np.array([[3], [9], [2], [3], [10]]), 2)
        Buckets(number=array([0, 1, 0, 0, 1]), shapes=array([[ 3],
               [10]]))
    """
    level = _levels(lengths)
    count = np.bincount(level)
    longest = np.zeros((len(count), lengths.shape[1]), np.int64)
    np.maximum.at(longest, level, lengths)
    longest = np.maximum.accumulate(longest)
    last = _borders(count, longest.sum(axis=1), buckets)
    return Buckets(np.searchsorted(last, level), longest[last])


def _levels(lengths: Integers) -> Integers:
    """Return the rank of each sequence, `(sequences,)`: that of its relatively longest column.

    The rank is the number of shorter sequences, so a column of equal lengths decides nothing.
    """
    rank = np.zeros(len(lengths), np.int64)
    for column in lengths.T:
        _, number, count = np.unique(column, return_inverse=True, return_counts=True)
        rank = np.maximum(rank, (np.cumsum(count) - count)[number])
    # Neighboring ranks are joined if there are very many.
    rank = rank * min(MAX_LEVELS, len(lengths)) // len(lengths)
    return np.unique(rank, return_inverse=True)[1]


def _borders(count: Integers, width: Integers, buckets: int) -> Integers:
    """Return the last level of each bucket, so that the sum of all widths is the smallest.

    Args:
        count: `(levels,)`, the number of sequences.
        width: `(levels,)`, the timesteps of a sequence in a bucket that ends there; not decreasing.
        buckets: the largest number of buckets.
    """
    total = np.concatenate([[0], np.cumsum(count)])
    # cost[first, last]: the timesteps of a bucket of these levels.
    cost = (total[1:] - total[:-1, np.newaxis]) * width.astype(np.float64)
    cost[np.tril_indices(len(count), -1)] = np.inf
    best = cost[0]
    before: list[Integers] = []
    for _ in range(min(buckets, len(count)) - 1):
        # The last bucket begins at `first`, and the ones before it end at `first - 1`.
        sums = np.concatenate([[0.0], best[:-1]])[:, np.newaxis] + cost
        before.append(np.argmin(sums, axis=0))
        best = np.min(sums, axis=0)
    last = [len(count) - 1]
    for first in reversed(before):
        if first[last[0]] > 0:
            last.insert(0, int(first[last[0]]) - 1)
    return np.array(last)

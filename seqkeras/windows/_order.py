"""The order of windows in an epoch, a function of only the seed and the epoch."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Integers

Unsigned: TypeAlias = npt.NDArray[np.uint64]

# Slots that are computed at once if batches are read in sequence, to spread the cost of the NumPy
# calls. They take half a megabyte.
BLOCK = 65_536

# Odd constants with irregular bits, from splitmix64 (Steele, Lea & Flood 2014).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(32)
# Rounds of the Feistel network. With fewer than eight, some permutations of five slots were much
# more frequent than others; four are enough if each side of the grid has hundreds of cells.
FEW = 8
MANY = 4
_TURNS = np.arange(FEW, dtype=np.uint64) * _STEP


class InOrder:
    """Windows in order of series and time, the same in each epoch."""

    def __call__(self, epoch: int, first: int, last: int) -> Integers:
        """Return the numbers of the windows in slots `first` to `last - 1`."""
        return np.arange(first, last)


class Shuffled:
    """Every window once in each epoch, in random order, computed without a list of all windows."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        state = np.random.SeedSequence(seed).generate_state(1, np.uint64)
        self._seed: Unsigned = np.asarray(state, dtype=np.uint64)
        self._block: tuple[int, int, Integers] = (-1, 0, np.empty(0, np.int64))

    def __call__(self, epoch: int, first: int, last: int) -> Integers:
        """Return the numbers of the windows in slots `first` to `last - 1`."""
        # A single attribute that is read and replaced as a whole, so threads can share the object.
        block_epoch, start, numbers = self._block
        if epoch != block_epoch or first < start or last > start + len(numbers):
            follows = first == 0 or (epoch == block_epoch and first == start + len(numbers))
            start, stop = self._reach(first, last, follows)
            numbers = self.slots(epoch, np.arange(start, stop))
            self._block = (epoch, start, numbers)
        return numbers[first - start : last - start]

    def _reach(self, first: int, last: int, follows: bool) -> tuple[int, int]:
        """Return the range of slots to compute for a batch that is not in the block."""
        if self.count <= BLOCK:
            return 0, self.count
        # Compute ahead only for a sequential reader. Keras does not read in sequence unless `fit`
        # gets `shuffle=False`: it draws the order of the batches itself.
        if not follows:
            return first, last
        return first, min(max(last, first + BLOCK), self.count)

    def slots(self, epoch: int, slots: Integers) -> Integers:
        """Return the numbers of the windows in these slots of an epoch, `(slots,)`."""
        key = _key(self._seed, epoch)
        if self.count <= BLOCK:  # few enough for a list, which is exactly uniform
            return np.random.default_rng(key).permutation(self.count)[slots]
        return permute(slots, self.count, key, rounds=MANY)


class Balanced(Shuffled):
    """Every series equally often in each epoch, its windows without repetition until all are used.

    An epoch visits all series in rounds, each in a new order. The last round may be incomplete; the
    next epoch then continues with the series that it left out, so that over many epochs, too, every
    series comes equally often.
    """

    def __init__(self, counts: Integers, seed: int) -> None:
        super().__init__(int(counts.sum()), seed)
        self._series = np.flatnonzero(counts)
        self._windows = counts[self._series]
        self._first = (np.cumsum(counts) - counts)[self._series]

    def slots(self, epoch: int, slots: Integers) -> Integers:
        """Return the numbers of the windows in these slots of an epoch, `(slots,)`."""
        series = len(self._series)
        rounds, rest = divmod(self.count, series)
        turn, place = np.divmod(slots, series)
        size = np.where(turn < rounds, series, max(rest, 1))
        rank = permute(place, size, _key(self._seed, epoch, turn))
        # The incomplete round begins where the incomplete round of the previous epoch ended.
        taken = epoch * rest
        rank = np.where(turn < rounds, rank, (taken + rank) % series)
        drawn_before = epoch * rounds + turn + (taken - rank + series - 1) // series
        chosen = permute(rank, series, self._seed)
        windows = self._windows[chosen]
        passes, position = np.divmod(drawn_before, windows)
        key = _key(self._seed, chosen + 1, passes)
        return self._first[chosen] + permute(position, windows, key)


def permute(slots: Integers, size: npt.ArrayLike, key: Unsigned, *, rounds: int = FEW) -> Integers:
    """Apply a random permutation of `range(size)` to each slot, without storing the permutation.

    It is a Feistel network on a grid of slightly more than `size` cells. Results of `size` or more
    pass through the network again until they are smaller (Black & Rogaway 2002, "Ciphers with
    arbitrary finite domains", methods 2 and 3).

    Args:
        slots: `(slots,)`, each in `range(size)`.
        size: up to 2**62; one number, or one for each slot.
        key: selects the permutation; one number, or one for each slot.
        rounds: rounds of the network, an even number up to `FEW`.
    """
    size = np.asarray(size, dtype=np.int64)
    # The width is even: on a grid with odd sides every round, and so the result, would be an even
    # permutation, which excludes half of all permutations.
    width = 2 * np.ceil(np.sqrt(size) / 2).astype(np.int64)
    height = -(-size // width)
    turns = _TURNS[:rounds]
    cells = _feistel(slots, width, height, key, turns=turns)
    beyond = np.flatnonzero(cells >= size)
    if not len(beyond):
        return cells
    size, width, height, key = (
        np.broadcast_to(number, slots.shape) for number in (size, width, height, key)
    )
    while len(beyond):
        cells[beyond] = _feistel(
            cells[beyond], width[beyond], height[beyond], key[beyond], turns=turns
        )
        beyond = beyond[cells[beyond] >= size[beyond]]
    return cells


def _feistel(
    cells: Integers, width: Integers, height: Integers, key: Unsigned, *, turns: Unsigned
) -> Integers:
    """Permute the cells of a grid; each round rotates every row, or every column."""
    row = cells // width
    line = (cells - row * width).view(np.uint64)
    across = row.view(np.uint64)
    sides = (width.astype(np.uint64), height.astype(np.uint64))
    # Reused in each round: allocating memory for every step would cost as much as the steps.
    shift = np.empty_like(line)
    spare = np.empty_like(line)
    for turn, offset in enumerate(turns):
        side = sides[turn % 2]
        _uniform(across, side, key + offset, shift, spare)
        line += shift
        # This is `line % side`: a negative difference wraps around to a huge unsigned number, and
        # the minimum then keeps `line`.
        np.subtract(line, side, out=spare)
        np.minimum(line, spare, out=line)
        line, across = across, line
    return (line + across * sides[0]).view(np.int64)


def _uniform(
    values: Unsigned, side: Unsigned, key: Unsigned, out: Unsigned, spare: Unsigned
) -> None:
    """Write random numbers below `side`, determined by the values and the key, into `out`."""
    np.add(values, key, out=out)
    out *= _MIX_1
    np.right_shift(out, _HALF, out=spare)
    out ^= spare
    out *= _MIX_2
    out >>= _HALF
    out *= side
    out >>= _HALF


def _key(seed: Unsigned, *parts: npt.ArrayLike) -> Unsigned:
    """Return a key for each combination of the parts, which are integers or arrays of them."""
    key = seed
    for part in parts:
        key = (key ^ np.asarray(part, dtype=np.uint64)) + _STEP
        key = (key ^ (key >> np.uint64(30))) * _MIX_1
        key = (key ^ (key >> np.uint64(27))) * _MIX_2
        key = key ^ (key >> np.uint64(31))
    return key

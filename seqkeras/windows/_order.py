"""The order in which windows come: a function of the seed and the epoch alone."""

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

# Slots that are worked out at once where batches are read one after the other, which spreads the
# cost of the calls; half a megabyte.
BLOCK = 65_536

# Odd constants without structure: of splitmix64 (Steele, Lea & Flood 2014).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(32)
# Rounds of the network. With fewer than eight some permutations of five slots came much more often
# than others; four are enough where each side of the grid has hundreds of cells.
FEW, MANY = 8, 4
_TURNS = np.arange(FEW, dtype=np.uint64) * _STEP


class InOrder:
    """Windows by series and time, the same in each epoch."""

    def __call__(self, epoch: int, first: int, last: int) -> Numbers:
        """Numbers of the windows in the slots from `first` to before `last`."""
        return np.arange(first, last)


class Shuffled:
    """Every window once in each epoch, in random order, without a list of all windows."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        words = np.random.SeedSequence(seed).generate_state(1, np.uint64)
        self._seed: Words = np.asarray(words, dtype=np.uint64)
        self._block: tuple[int, int, Numbers] = (-1, 0, np.empty(0, np.int64))

    def __call__(self, epoch: int, first: int, last: int) -> Numbers:
        """Numbers of the windows in the slots from `first` to before `last`."""
        # One attribute, read once and replaced whole, so that threads can share the object.
        of_epoch, start, numbers = self._block
        if epoch != of_epoch or first < start or last > start + len(numbers):
            follows = first == 0 or (epoch == of_epoch and first == start + len(numbers))
            start, stop = self._reach(first, last, follows)
            numbers = self.slots(epoch, np.arange(start, stop))
            self._block = epoch, start, numbers
        return numbers[first - start : last - start]

    def _reach(self, first: int, last: int, follows: bool) -> tuple[int, int]:
        """The slots to work out for a batch that the block does not hold."""
        if self.count <= BLOCK:
            return 0, self.count
        # Who reads on will want the slots that follow. Keras will not, as it draws the order of
        # the batches itself unless it is told otherwise.
        return first, min(max(last, first + BLOCK), self.count) if follows else last

    def slots(self, epoch: int, slots: Numbers) -> Numbers:
        """Numbers of the windows in these slots of an epoch, `(slots,)`."""
        key = _key(self._seed, epoch)
        if self.count <= BLOCK:  # few enough to list, and then exactly uniform
            return np.random.default_rng(key).permutation(self.count)[slots]
        return permute(slots, self.count, key, rounds=MANY)


class Balanced(Shuffled):
    """Every series equally often in each epoch, its windows without repetition until all came.

    An epoch goes around all series again and again, each time in a new order. Its last round may
    be a part of one: it takes the series whose turn it is, so that over the epochs too every
    series comes equally often.
    """

    def __init__(self, counts: Numbers, seed: int) -> None:
        super().__init__(int(counts.sum()), seed)
        self._series = np.flatnonzero(counts)
        self._windows = counts[self._series]
        self._first = (np.cumsum(counts) - counts)[self._series]

    def slots(self, epoch: int, slots: Numbers) -> Numbers:
        """Numbers of the windows in these slots of an epoch, `(slots,)`."""
        series, (rounds, rest) = len(self._series), divmod(self.count, len(self._series))
        turn, place = np.divmod(slots, series)
        size = np.where(turn < rounds, series, max(rest, 1))
        rank = permute(place, size, _key(self._seed, epoch, turn))
        # The part of a round begins where that of the epoch before it ended.
        taken = epoch * rest
        rank = np.where(turn < rounds, rank, (taken + rank) % series)
        drawn_before = epoch * rounds + turn + (taken - rank + series - 1) // series
        one = permute(rank, series, self._seed)
        again, position = np.divmod(drawn_before, self._windows[one])
        return self._first[one] + permute(
            position, self._windows[one], _key(self._seed, one + 1, again)
        )


def permute(slots: Numbers, size: npt.ArrayLike, key: Words, *, rounds: int = FEW) -> Numbers:
    """Where a random permutation of `range(size)` sends each slot, without listing it.

    A Feistel network on a grid of a little more than `size` cells; a slot that lands beyond
    `size` is sent on until it does not (Black & Rogaway 2002, "Ciphers with arbitrary finite
    domains", methods 2 and 3).

    Args:
        slots: `(slots,)`, each in `range(size)`.
        size: up to 2**62; one number, or one for each slot.
        key: which permutation it is; one number, or one for each slot.
        rounds: of the network, an even number up to `FEW`.
    """
    size = np.asarray(size, dtype=np.int64)
    # Even, as on a grid of odd sides every round is an even permutation, and so is the whole.
    width = 2 * np.ceil(np.sqrt(size) / 2).astype(np.int64)
    height = -(-size // width)
    turns = _TURNS[:rounds]
    cells = _feistel(slots, width, height, key, turns=turns)
    beyond = np.flatnonzero(cells >= size)
    sides = [np.broadcast_to(one, slots.shape) for one in (size, width, height, key)]
    while len(beyond):
        _, *sides_beyond = (one[beyond] for one in sides)
        cells[beyond] = _feistel(cells[beyond], *sides_beyond, turns=turns)
        beyond = beyond[cells[beyond] >= sides[0][beyond]]
    return cells


def _feistel(
    cells: Numbers, width: Numbers, height: Numbers, key: Words, *, turns: Words
) -> Numbers:
    """A permutation of the cells of a grid: each round turns every row, or every column."""
    row = cells // width
    line, across = (cells - row * width).view(np.uint64), row.view(np.uint64)
    sides = width.astype(np.uint64), height.astype(np.uint64)
    # Written over in each round: fresh memory for every step would cost as much as the steps.
    word, spare = np.empty_like(line), np.empty_like(line)
    for turn, offset in enumerate(turns):
        side = sides[turn % 2]
        _uniform(across, side, key + offset, word, spare)
        line += word
        # Modulo side: what falls below zero becomes the larger of the two unsigned numbers.
        np.subtract(line, side, out=spare)
        np.minimum(line, spare, out=line)
        line, across = across, line
    return (line + across * sides[0]).view(np.int64)


def _uniform(values: Words, side: Words, key: Words, word: Words, spare: Words) -> None:
    """Puts random numbers in `range(side)` into `word`, a function of the values and the key."""
    np.add(values, key, out=word)
    word *= _MIX_1
    np.right_shift(word, _HALF, out=spare)
    word ^= spare
    word *= _MIX_2
    word >>= _HALF
    word *= side
    word >>= _HALF


def _key(seed: Words, *parts: npt.ArrayLike) -> Words:
    """A key for each combination of the parts, which are whole numbers or arrays of them."""
    word = seed
    for part in parts:
        word = (word ^ np.asarray(part, dtype=np.uint64)) + _STEP
        word = (word ^ (word >> np.uint64(30))) * _MIX_1
        word = (word ^ (word >> np.uint64(27))) * _MIX_2
        word = word ^ (word >> np.uint64(31))
    return word

"""Tests of random order without a list of all windows."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras.windows import _order
from seqkeras.windows._order import BLOCK, Balanced, InOrder, Shuffled, permute

KEY = np.array([12345], dtype=np.uint64)


def chi_square(observed, expected):
    """Return how many standard deviations the statistic is above its mean."""
    observed = np.asarray(observed, dtype=float)
    freedom = observed.size - 1
    statistic = ((observed - expected) ** 2 / expected).sum()
    return (statistic - freedom) / math.sqrt(2 * freedom)


@given(st.integers(1, 5000), st.integers(0, 2**64 - 1))
def test_every_slot_goes_to_another_number(size, key):
    numbers = permute(np.arange(size), size, np.array([key], dtype=np.uint64))
    assert sorted(numbers.tolist()) == list(range(size))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_each_slot_can_have_its_own_size_and_key(sizes):
    slots = np.concatenate([np.arange(size) for size in sizes])
    keys = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
    together = permute(slots, np.repeat(sizes, sizes), keys)
    separate = [permute(np.arange(n), n, np.array([k], np.uint64)) for k, n in enumerate(sizes)]
    assert together.tolist() == np.concatenate(separate).tolist()


@pytest.mark.parametrize("size", [2**31 + 1, 2**40, 2**61 + 12345])
def test_no_size_overflows(size):
    slots = np.concatenate([np.arange(1000), size - 1 - np.arange(1000)])
    numbers = permute(slots, size, KEY)
    assert len(np.unique(numbers)) == 2000
    assert numbers.min() >= 0
    assert numbers.max() < size
    assert 0.4 < numbers.mean() / size < 0.6


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_small_sizes_give_all_permutations_about_equally_often(size):
    trials = 200 * math.factorial(size)
    keys = np.random.default_rng(0).integers(2**63, size=trials).astype(np.uint64)
    slots = np.tile(np.arange(size), trials)
    numbers = permute(slots, size, np.repeat(keys, size)).reshape(trials, size)
    counts = np.array(list(Counter(map(tuple, numbers.tolist())).values())) / 200
    assert len(counts) == math.factorial(size)
    assert counts.min() > 0.3
    assert counts.max() < 2


@pytest.mark.parametrize("size", [6, 7, 8, 9, 10])
def test_every_number_reaches_every_slot_equally_often(size):
    keys = np.random.default_rng(1).integers(2**63, size=5_000).astype(np.uint64)
    slots = np.tile(np.arange(size), 5_000)
    numbers = permute(slots, size, np.repeat(keys, size))
    counts = np.bincount(slots * size + numbers, minlength=size**2)
    assert abs(chi_square(counts, 5_000 / size)) < 5
    pairs = Counter(map(tuple, numbers.reshape(-1, size)[:, :2].tolist()))
    assert len(pairs) == size * (size - 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 10])
def test_orders_of_few_windows_are_exactly_uniform(count):
    orders = [tuple(Shuffled(count, 0)(epoch, 0, count).tolist()) for epoch in range(2000)]
    seats = np.array(orders)
    table = [np.bincount(seats[:, slot], minlength=count) for slot in range(count)]
    assert count == 1 or abs(chi_square(table, 2000 / count)) < 5
    if 1 < count < 6:
        counts = list(Counter(orders).values())
        assert len(counts) == math.factorial(count)
        assert abs(chi_square(counts, 2000 / math.factorial(count))) < 5


def test_large_orders_spread_every_window_over_all_positions():
    # Position by window, in 20 parts each, over many seeds.
    count, parts = 3 * BLOCK + 17, 20
    table = np.zeros((parts, parts))
    steps = []
    for seed in range(20):
        numbers = Shuffled(count, seed)(0, 0, count)
        np.add.at(table, (np.arange(count) * parts // count, numbers * parts // count), 1)
        steps.append(np.corrcoef(numbers[:-1], numbers[1:])[0, 1])
    assert abs(chi_square(table, table.sum() / parts**2)) < 5
    assert np.abs(steps).max() < 5 / math.sqrt(count)
    assert abs(np.mean(steps)) < 4 / math.sqrt(20 * count)


@pytest.mark.parametrize("lag", [1, 2, 222, 300])
def test_neighbors_do_not_stay_neighbors(lag):
    # 222 is about the side of the grid.
    count = 3 * BLOCK
    numbers = Shuffled(count, 0)(0, 0, count)
    near = np.abs(numbers[lag:] - numbers[:-lag]) <= count / 1000
    # Two numbers in five hundred are as close by chance.
    assert 0.75 < near.mean() / 0.002 < 1.25


@examples(10)
@given(
    count=st.one_of(st.integers(1, 50), st.integers(BLOCK - 2, 3 * BLOCK)),
    batch=st.one_of(st.integers(1, 300), st.integers(BLOCK - 2, BLOCK + 2)),
    data=st.data(),
)
def test_batches_in_any_sequence_are_parts_of_one_order(count, batch, data):
    order = Shuffled(count, 7)
    whole = Shuffled(count, 7)(3, 0, count)
    assert len(np.unique(whole)) == count
    first = 0
    for _ in range(8):
        last = min(first + batch, count)
        np.testing.assert_array_equal(order(3, first, last), whole[first:last])
        continues = data.draw(st.booleans()) and last < count
        first = last if continues else batch * data.draw(st.integers(0, (count - 1) // batch))


@pytest.mark.parametrize("count", [40, BLOCK + 1000])
def test_the_order_is_a_function_of_seed_and_epoch(count):
    def first(seed, epoch):
        return tuple(Shuffled(count, seed)(epoch, 0, 20).tolist())

    assert first(1, 2) == first(1, 2)
    assert len({first(*pair) for pair in itertools.product(range(8), range(8))}) == 64
    order = Shuffled(count, 1)
    order(5, 0, 20)
    assert tuple(order(2, 0, 20).tolist()) == first(1, 2)


def test_sequential_reading_computes_a_block_at_once(monkeypatch):
    sizes = []

    def counting_permute(slots, *rest, **options):
        sizes.append(len(slots))
        return permute(slots, *rest, **options)

    monkeypatch.setattr(_order, "permute", counting_permute)
    order = Shuffled(10 * BLOCK, 0)
    for first in range(0, 2 * BLOCK, 256):
        order(0, first, first + 256)
    assert sizes == [BLOCK, BLOCK]
    order(0, 7 * BLOCK, 7 * BLOCK + 256)
    assert sizes == [BLOCK, BLOCK, 256]


@examples(14)
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(any),
    seed=st.integers(0, 100),
)
def test_balanced_epochs_draw_series_equally_and_repeat_no_window_too_early(counts, seed):
    counts = np.array(counts)
    first = np.cumsum(counts) - counts
    order = Balanced(counts, seed)
    drawn = [[] for _ in counts]
    for epoch in range(5):
        numbers = order(epoch, 0, order.count)
        series = np.searchsorted(np.cumsum(counts), numbers, side="right")
        for owner, number in zip(series, numbers, strict=True):
            drawn[owner].append(int(number - first[owner]))
        assert np.ptp(np.bincount(series, minlength=len(counts))[counts > 0]) <= 1
        assert np.ptp([len(drawn[owner]) for owner in np.flatnonzero(counts)]) <= 1
    for windows, count in zip(drawn, counts, strict=True):
        for start in range(0, len(windows) - count + 1, max(count, 1)):
            assert len(set(windows[start : start + count])) == count


def test_balanced_rounds_come_in_new_orders():
    numbers = Balanced(np.array([50, 50, 50]), 0)(0, 0, 150).reshape(-1, 3) // 50
    assert len({tuple(row) for row in numbers.tolist()}) == 6
    assert np.all(np.sort(numbers, axis=1) == [0, 1, 2])


def test_in_order_is_in_order():
    assert InOrder()(4, 3, 6).tolist() == [3, 4, 5]

"""Buckets of sequences of similar lengths, against all possible borders."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras.text._length_buckets import into_buckets


@examples(50)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 5))
def test_borders_need_the_least_padding_that_any_borders_need(lengths, buckets):
    lengths = np.array(lengths)
    sizes = np.unique(lengths)
    cost = min(
        sum(min(size for size in (*chosen, sizes[-1]) if size >= length) for length in lengths)
        for count in range(min(buckets, len(sizes)))
        for chosen in combinations(sizes[:-1], count)
    )
    number, shapes = into_buckets(lengths[:, np.newaxis], buckets)
    assert shapes[number].sum() == cost
    assert len(shapes) <= buckets


@examples(50)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=40),
    st.integers(1, 6),
)
def test_every_pair_fits_into_its_bucket_and_into_all_later_ones(lengths, buckets):
    lengths = np.array(lengths)
    number, shapes = into_buckets(lengths, buckets)
    assert (lengths <= shapes[number]).all()
    assert (np.diff(shapes, axis=0) >= 0).all()
    assert (shapes[-1] == lengths.max(axis=0)).all()
    assert len(shapes) <= buckets


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 5))
def test_a_column_of_equal_lengths_changes_no_bucket(lengths, buckets):
    column = np.array(lengths)[:, np.newaxis]
    both = np.concatenate([column, np.full_like(column, 7)], axis=1)
    np.testing.assert_array_equal(
        into_buckets(both, buckets).number, into_buckets(column, buckets).number
    )


def test_very_many_different_lengths_are_sorted_too():
    lengths = np.arange(1, 5001)[:, np.newaxis]
    number, shapes = into_buckets(lengths, 10)
    assert (lengths <= shapes[number]).all()
    assert shapes[number].sum() < 1.12 * lengths.sum()

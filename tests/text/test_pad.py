"""Sequences of ids, filled up to one length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError, DataError
from seqkeras.text import pad


@given(st.lists(st.lists(st.integers(0, 2**31 - 1)), min_size=1), st.integers(0, 3))
def test_padding_fills_up_the_ends_with_zeros(sequences, spare):
    longest = max(map(len, sequences))
    ids, lengths = pad(sequences, timesteps=(longest + spare) or None)
    assert ids.dtype == np.int32
    assert lengths.tolist() == list(map(len, sequences))
    width = longest + spare
    assert ids.tolist() == [[*ids, *[0] * (width - len(ids))] for ids in sequences]


def test_arrays_of_any_integers_are_accepted():
    ids, _ = pad([np.array([7], np.uint8), np.array([2**31 - 1, 1], np.int64)])
    assert ids.tolist() == [[7, 0], [2**31 - 1, 1]]


@pytest.mark.parametrize(
    ("sequences", "error", "message"),
    [
        ([], ArgumentError, "no sequence"),
        ("abc", ArgumentError, "a list of sequences of ids"),
        ([[1], ["a"]], ArgumentError, r"sequence 1 with .*vocabulary.ids\(tokens\)"),
        ([[0.5]], ArgumentError, "sequence 0 with float64"),
        ([3], ArgumentError, "sequence 0"),
        ([[1], [2, -1]], DataError, "Sequence 1 of sequences must have ids from 0 on. Got: the id"),
        ([[2**31]], DataError, "Sequence 0"),
    ],
)
def test_what_is_no_sequence_of_ids_is_refused(sequences, error, message):
    with pytest.raises(error, match=message):
        pad(sequences)


def test_timesteps_that_cut_a_sequence_are_refused():
    with pytest.raises(ArgumentError, match="at least 2"):
        pad([[1, 2]], timesteps=1)

"""Sequences with padding, described by their lengths, against loops."""

import numpy as np
import pytest
from keras import ops

from seqkeras.layers import length_mask, reverse_sequence


def test_a_mask_has_as_many_timesteps_as_the_lengths_say():
    lengths = np.array([0, 2, 5, 3])
    mask = ops.convert_to_numpy(length_mask(lengths, 5))
    assert mask.dtype == bool
    assert mask.tolist() == [[step < length for step in range(5)] for length in lengths]


@pytest.mark.parametrize("features", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_each_sequence_is_reversed_and_its_padding_stays(features, dtype):
    lengths = [0, 1, 4, 3]
    x = np.arange(16 * int(np.prod(features))).reshape(4, 4, *features).astype(dtype)
    actual = ops.convert_to_numpy(reverse_sequence(x, lengths))
    assert actual.dtype == dtype
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(actual[row, :length], x[row, :length][::-1])
        np.testing.assert_array_equal(actual[row, length:], x[row, length:])

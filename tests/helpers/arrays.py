"""Arrays of random numbers, and comparisons of lists of arrays."""

import numpy as np


def random_array(*shape, seed=1):
    """Return normally distributed numbers, float32."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def assert_arrays_equal(actual, expected):
    """Assert that two lists hold the same arrays."""
    for array, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(array, other)


def assert_arrays_close(actual, expected, *, atol=1e-5):
    """Assert that two lists hold arrays of about the same numbers."""
    for array, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(array, other, atol=atol)

"""Checks of sizes and indices."""

import operator
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, check_integer

#: Largest size in rows, so that the product of two sizes fits in 64 bits.
MAX_SIZE = 2**30


def check_size(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return a number of rows or timesteps as an int."""
    size = check_integer(name, value, minimum=minimum)
    if size > MAX_SIZE:
        raise bad_argument(name, value, f"an integer from {minimum} to {MAX_SIZE}")
    return size


def check_position(name: str, index: Any, count: int) -> int:
    """Return an index as an int; negative indices stay negative.

    Args:
        name: what is indexed, such as `"batch"`.
        index: the index.
        count: number of batches or series.

    Raises:
        ArgumentError: the index is not an integer.
        IndexError: the index is out of range.
    """
    try:
        number = operator.index(index)
    except TypeError:
        number = None
    if number is None or isinstance(index, bool):
        fix = f"Use one index at a time, such as 0 for the first {name}."
        raise bad_argument("index", index, f"the number of a {name}, an integer", fix)
    if not -count <= number < count:
        raise IndexError(f"{name} index {number} is out of range for a length of {count}")
    return number


def whole_numbers(name: str, values: Any, *, mask_length: int | None = None) -> Array:
    """Return integers as an array of any shape; an empty array may have any dtype.

    Args:
        name: name of the argument.
        values: the integers.
        mask_length: length of a boolean mask that is accepted instead of integers, and becomes
            the indices of its True entries. None: masks are refused.

    Raises:
        ArgumentError: the values are not integers.
    """
    try:
        numbers = np.asarray(values)
    except ValueError as error:  # nested sequences of different lengths
        raise bad_argument(name, type(values).__name__, "an array of integers") from error
    if numbers.dtype == bool and numbers.shape == (mask_length,):
        return np.flatnonzero(numbers)
    if numbers.size and numbers.dtype.kind not in "iu":
        actual = Description(f"{numbers.dtype} of shape {numbers.shape}")
        raise bad_argument(name, actual, "an array of integers")
    return numbers if numbers.size else numbers.astype(np.int64)

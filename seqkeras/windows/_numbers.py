"""Checks of numbers that count rows, and of numbers that say which series or windows are meant."""

import operator
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument, check_integer

#: Largest size in rows: products of two still fit into 64 bits.
MAX_SIZE = 2**30


def check_size(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return a number of rows or timesteps as an int."""
    size = check_integer(name, value, minimum=minimum)
    if size > MAX_SIZE:
        raise bad_argument(name, value, f"an integer from {minimum} to {MAX_SIZE}")
    return size


def check_position(name: str, index: Any, count: int) -> int:
    """Return the index of a batch or a series as an int; a negative one stays negative.

    Raises:
        ArgumentError: it is not an integer.
        IndexError: it is not one of `-count` to `count - 1`.
    """
    try:
        number = operator.index(index)
    except TypeError:
        number = None
    if number is None or isinstance(index, bool):
        fix = "Take one after the other, or use take for several."
        raise bad_argument("index", index, f"the number of a {name}, an integer", fix)
    if not -count <= number < count:
        raise IndexError(f"{name} {number} of {count}")
    return number


def whole_numbers(name: str, values: Any, *, flags: int | None = None) -> Array:
    """Return integers as an array of any shape; an empty one may have any dtype.

    Args:
        name: name of the argument.
        values: the integers.
        flags: how many booleans may stand for the integers of those that are True. None: no
            booleans.

    Raises:
        ArgumentError: they are not integers.
    """
    try:
        numbers = np.asarray(values)
    except ValueError as error:  # of different lengths
        raise bad_argument(name, type(values).__name__, "an array of integers") from error
    if numbers.dtype == bool and numbers.shape == (flags,):
        return np.flatnonzero(numbers)
    if numbers.size and numbers.dtype.kind not in "iu":
        actual = Description(f"{numbers.dtype} of shape {numbers.shape}")
        raise bad_argument(name, actual, "an array of integers")
    return numbers if numbers.size else numbers.astype(np.int64)

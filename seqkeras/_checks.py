"""Checks of arguments, and the wording of errors about values.

Each message names the argument, the expected and the actual value and, if possible, a fix.
"""

import math
import numbers
from collections.abc import Iterable
from typing import Any

from seqkeras.errors import ArgumentError, DataError


class Description(str):
    """Text about an actual value, such as "3 features"; `bad_argument` shows it without quotes."""


def bad_argument(name: str, value: object, expected: str, fix: str = "") -> ArgumentError:
    """Return the error for an argument with an invalid value.

    Args:
        name: name of the argument.
        value: the actual value, or a `Description` of it.
        expected: continues the sentence "name must be".
        fix: what the user can do, as a sentence.

    Example:
        >>> print(bad_argument("units", 0, "an integer >= 1"))
        units must be an integer >= 1. Got: units=0.
        >>> print(bad_argument("x", Description("3 features"), "an array with 2 features"))
        x must be an array with 2 features. Got: 3 features.
    """
    actual = str(value) if isinstance(value, Description) else f"{name}={value!r}"
    return ArgumentError(f"{name} must be {expected}. Got: {actual}. {fix}".rstrip())


def bad_data(subject: str, got: str, expected: str, fix: str = "") -> DataError:
    """Return the error for invalid data.

    Args:
        subject: where the problem is, such as a column, a series or a row.
        got: text about the actual data.
        expected: continues the sentence "subject must".
        fix: what the user can do, as a sentence.

    Example:
        >>> print(bad_data("Column 'y'", "dtype object", "hold numbers", "Use pd.to_numeric."))
        Column 'y' must hold numbers. Got: dtype object. Use pd.to_numeric.
    """
    return DataError(f"{subject} must {expected}. Got: {got}. {fix}".rstrip())


def nearest(word: object, words: Iterable[object]) -> str:
    """Return "Did you mean ...?" with the closest of `words`, or an empty string."""
    import difflib  # imported for an error only, to keep program startup fast

    originals = {str(candidate).lower(): str(candidate) for candidate in words}
    matches = difflib.get_close_matches(str(word).lower(), originals, n=1, cutoff=0.6)
    return f"Did you mean {originals[matches[0]]!r}?" if matches else ""


def check_integer(name: str, value: Any, *, minimum: int = 1, fix: str = "") -> int:
    """Return `value` as an int of at least `minimum`; refuse bools and floats."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or int(value) < minimum:
        raise bad_argument(name, value, f"an integer >= {minimum}", fix)
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool):
        raise bad_argument(name, value, "True or False")
    return value


def check_fraction(name: str, value: Any, *, fix: str = "") -> float:
    """Return `value` as a float in [0, 1)."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= float(value) < 1:
        raise bad_argument(name, value, "a number in [0, 1)", fix)
    return float(value)


def check_probability(name: str, value: Any, *, expected: str = "a number from 0 to 1") -> float:
    """Return `value` as a float in [0, 1]."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= float(value) <= 1:
        raise bad_argument(name, value, expected)
    return float(value)


def check_positive(name: str, value: Any, *, fix: str = "") -> float:
    """Return `value` as a finite float above zero."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or float(value) <= 0:
        raise bad_argument(name, value, "a finite number > 0", fix)
    return float(value)


def check_not_negative(name: str, value: Any, *, fix: str = "") -> float:
    """Return `value` as a finite float of at least zero."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or float(value) < 0:
        raise bad_argument(name, value, "a finite number >= 0", fix)
    return float(value)


def check_seed(value: Any) -> int | None:
    """Return `value` as an int that Keras takes as a seed, or None."""
    if value is None:
        return None
    seed = check_integer("seed", value, minimum=0)
    if seed >= 2**32:
        raise bad_argument("seed", value, "an integer from 0 to 2**32 - 1")
    return seed


def is_level(value: Any) -> bool:
    """Check whether a value is a coverage in percent, from 1 to below 100; 0.95 is not."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and 1 <= float(value) < 100


def check_one_of(name: str, value: Any, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        expected = "one of " + ", ".join(repr(option) for option in options)
        raise bad_argument(name, value, expected, nearest(value, options))
    return value

"""Checks of arguments: the one place where errors about a value are worded.

Every message names the argument, what was expected, what was got and, where there is one, the fix.
"""

import math
import numbers
from collections.abc import Iterable
from typing import Any

from seqkeras.errors import ArgumentError


def bad_argument(name: str, value: object, expected: str, fix: str = "") -> ArgumentError:
    """The error for an argument whose value is not what was expected."""
    message = f"{name} must be {expected}. Got: {name}={value!r}."
    return ArgumentError(f"{message} {fix}" if fix else message)


def nearest(word: object, words: Iterable[object]) -> str:
    """'Did you mean ...?' with the closest of `words`, or an empty string."""
    import difflib  # only for an error: a program starts without it

    known = {str(one).lower(): str(one) for one in words}
    close = difflib.get_close_matches(str(word).lower(), known, n=1, cutoff=0.6)
    return f"Did you mean {known[close[0]]!r}?" if close else ""


def check_integer(name: str, value: Any, *, minimum: int = 1, fix: str = "") -> int:
    """Returns `value` as an int of at least `minimum`; a bool or a float is refused."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or int(value) < minimum:
        raise bad_argument(name, value, f"an integer >= {minimum}", fix)
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Returns `value` if it is True or False."""
    if not isinstance(value, bool):
        raise bad_argument(name, value, "True or False")
    return value


def check_fraction(name: str, value: Any, *, fix: str = "") -> float:
    """Returns `value` as a float in [0, 1)."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= float(value) < 1:
        raise bad_argument(name, value, "a number in [0, 1)", fix)
    return float(value)


def check_probability(name: str, value: Any, *, expected: str = "a number from 0 to 1") -> float:
    """Returns `value` as a float in [0, 1]."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= float(value) <= 1:
        raise bad_argument(name, value, expected)
    return float(value)


def check_positive(name: str, value: Any, *, fix: str = "") -> float:
    """Returns `value` as a finite float above zero."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or float(value) <= 0:
        raise bad_argument(name, value, "a finite number > 0", fix)
    return float(value)


def check_one_of(name: str, value: Any, options: Iterable[str]) -> str:
    """Returns `value` if it is one of the words `options`."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        expected = "one of " + ", ".join(repr(option) for option in options)
        raise bad_argument(name, value, expected, nearest(value, options))
    return value

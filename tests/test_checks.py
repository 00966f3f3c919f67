"""Tests of argument checks and the wording of errors."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from seqkeras._checks import (
    Description,
    bad_argument,
    bad_data,
    check_fraction,
    check_integer,
    check_one_of,
    check_positive,
    nearest,
)
from seqkeras.errors import ArgumentError, DataError

CHECKS = {
    check_integer: "an integer >= 1",
    check_fraction: "a number in [0, 1)",
    check_positive: "a finite number > 0",
}
BAD = {
    check_integer: [0, -1, 2.5, 2.0, True, "64", None, float("nan"), np.float32(3), [3]],
    check_fraction: [-0.1, 1, 1.0, 1.5, True, False, "0.5", None, float("nan"), float("inf")],
    check_positive: [0, -1, 0.0, True, "1", None, float("nan"), float("inf"), 1j],
}
GOOD = {
    check_integer: [(1, 1), (np.int64(7), 7), (np.uint8(3), 3)],
    check_fraction: [(0, 0.0), (0.5, 0.5), (np.float32(0.25), 0.25), (Fraction(1, 2), 0.5)],
    check_positive: [(1, 1.0), (1e-300, 1e-300), (np.int16(2), 2.0)],
}


@pytest.mark.parametrize(
    ("check", "value"), [(check, value) for check, values in BAD.items() for value in values]
)
def test_bad_value_is_refused_with_name_value_expectation_and_fix(check, value):
    with pytest.raises(ArgumentError) as caught:
        check("width", value, fix="Make it wider.")
    expected = f"width must be {CHECKS[check]}. Got: width={value!r}. Make it wider."
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("check", "value", "expected"),
    [(check, *pair) for check, pairs in GOOD.items() for pair in pairs],
)
def test_good_value_is_returned_as_a_plain_python_number(check, value, expected):
    result = check("width", value)
    assert result == expected
    assert type(result) is type(expected)


def test_integer_has_the_requested_minimum():
    assert check_integer("gap", 0, minimum=0) == 0
    with pytest.raises(ArgumentError, match=r"gap must be an integer >= 0\. Got: gap=-1\.$"):
        check_integer("gap", -1, minimum=0)


def test_one_of_returns_the_option():
    assert check_one_of("cell", "gru", ["lstm", "gru"]) == "gru"


@pytest.mark.parametrize(
    ("value", "hint"),
    [("gruu", "Did you mean 'gru'?"), ("transformer", ""), (3, ""), (None, "")],
)
def test_one_of_lists_the_options_and_suggests_the_nearest(value, hint):
    with pytest.raises(ArgumentError) as caught:
        check_one_of("cell", value, (option for option in ("lstm", "gru")))
    expected = f"cell must be one of 'lstm', 'gru'. Got: cell={value!r}. {hint}"
    assert str(caught.value) == expected.rstrip()


def test_nearest_is_empty_without_a_similar_option():
    assert nearest("unit", ["units", "cell"]) == "Did you mean 'units'?"
    assert nearest("zzz", ["units", "cell"]) == ""
    assert nearest("units", []) == ""


def test_bad_argument_is_a_value_error():
    error = bad_argument("x", Decimal("1.5"), "an integer")
    assert isinstance(error, ValueError)
    assert str(error) == "x must be an integer. Got: x=Decimal('1.5')."


def test_a_description_is_shown_without_the_name_and_quotes():
    error = bad_argument("x", Description("3 features"), "an array with 2 features")
    assert str(error) == "x must be an array with 2 features. Got: 3 features."


def test_bad_data_says_what_was_found_and_the_fix():
    error = bad_data("Column 'y'", "dtype object", "hold numbers", "Convert it with pd.to_numeric.")
    assert isinstance(error, DataError)
    assert str(error) == (
        "Column 'y' must hold numbers. Got: dtype object. Convert it with pd.to_numeric."
    )
    assert str(bad_data("df", "0 rows", "have rows")) == "df must have rows. Got: 0 rows."

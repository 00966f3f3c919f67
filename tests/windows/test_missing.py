"""Tests of finding missing and infinite numbers without a copy."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import DataError
from seqkeras.windows import GroupedArray, Windows, WindowSpec
from seqkeras.windows._missing import BLOCK, LIMIT, fill, first_unusable


@given(
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    width=st.sampled_from([None, 1, 4]),
    marks=st.dictionaries(st.integers(0, 59), st.sampled_from([np.nan, np.inf, -np.inf])),
    nan_allowed=st.booleans(),
)
def test_the_first_number_that_cannot_be_used_is_found(dtype, width, marks, nan_allowed):
    values = np.linspace(-1, 1, 60).astype(dtype)
    for place, number in marks.items():
        values[place] = number
    bad = sorted(p for p, number in marks.items() if not (nan_allowed and np.isnan(number)))
    values = values if width is None else values.reshape(-1, width)
    expected = None if not bad else tuple(int(i) for i in np.unravel_index(bad[0], values.shape))
    assert first_unusable(values, nan_allowed=nan_allowed) == expected


@pytest.mark.parametrize("row", [0, BLOCK - 1, BLOCK, 2 * BLOCK + 5])
def test_every_block_is_checked(row):
    values = np.zeros(2 * BLOCK + 6, dtype=np.float32)
    values[row] = np.nan
    assert first_unusable(values, nan_allowed=False) == (row,)


@pytest.mark.parametrize("number", [np.nextafter(LIMIT, np.inf), -1e300])
def test_numbers_beyond_float32_are_infinite_there(number):
    assert first_unusable(np.array([0.0, number]), nan_allowed=True) == (1,)


@pytest.mark.parametrize("values", [np.array([LIMIT, -LIMIT]), np.zeros(0), np.zeros((3, 0))])
def test_usable_numbers_pass(values):
    assert first_unusable(values, nan_allowed=False) is None


def test_the_check_makes_no_copy():
    values = np.zeros((1_000_000, 4))
    tracemalloc.start()
    first_unusable(values, nan_allowed=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_fill_replaces_nan_by_zero_and_returns_a_mask():
    batch = np.array([[1, np.nan], [np.nan, 0]], dtype=np.float32)
    assert fill(batch).tolist() == [[True, False], [False, True]]
    assert batch.tolist() == [[1, 0], [0, 0]]


def with_number(number, row):
    values = np.arange(12.0)
    values[row] = number
    return values


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "values"),
        ({"values": {"a": np.arange(12), "b": with_number(np.nan, 8)}}, "values['b']"),
        ({"targets": with_number(np.nan, 8)}, "targets"),
        ({"future": {"c": with_number(np.nan, 8)}}, "future['c']"),
        ({"weights": with_number(np.nan, 8)}, "weights"),
    ],
)
def test_missing_values_are_refused_by_array_series_and_row(options, name):
    values = options.pop("values", np.arange(12.0) if options else with_number(np.nan, 8))
    if isinstance(values, dict):
        values["a"] = GroupedArray(values["a"], [0, 5, 12])
        options["targets"] = np.arange(12)
    else:
        values = GroupedArray(values, [0, 5, 12])
    with pytest.raises(DataError) as caught:
        Windows(values, WindowSpec(2), **options)
    assert f"{name} must have no missing values. Got: NaN in series 1, row 3." in str(caught.value)
    assert "missing='mask'" in str(caught.value)


def test_missing_static_values_are_refused_by_series():
    values = GroupedArray(np.arange(12.0), [0, 5, 12])
    with pytest.raises(DataError, match="NaN in series 1"):
        Windows(values, WindowSpec(2), static=[1.0, np.nan])


@pytest.mark.parametrize("missing", ["raise", "mask"])
def test_infinite_values_are_always_refused(missing):
    with pytest.raises(
        DataError, match=r"finite numbers in float32\. Got: inf in series 0"
    ) as error:
        Windows(with_number(np.inf, 8), WindowSpec(2), missing=missing)
    assert "replace it by NaN" in str(error.value)


def test_missing_weights_are_refused_even_if_values_may_be_missing():
    with pytest.raises(DataError, match="weights must have no missing values"):
        Windows(np.arange(12.0), WindowSpec(2), weights=with_number(np.nan, 8), missing="mask")

"""Tests of scaling each series by its own mean and standard deviation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras._arrays import ROUNDING
from seqkeras.errors import ArgumentError, NotFittedError
from seqkeras.windows import GroupedArray, StandardScaler


@st.composite
def several_series(draw):
    """Draw series of different lengths, levels and spreads; some are constant."""
    shape = draw(st.sampled_from([(), (1,), (3,)]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    return [
        draw(st.sampled_from([-1e3, 0.0, 3.0]))
        + draw(st.sampled_from([0.0, 1e-2, 1.0, 1e4])) * random.normal(size=(length, *shape))
        for length in lengths
    ]


@given(several_series())
def test_each_series_is_scaled_independently_of_the_others(series):
    grouped = GroupedArray.from_series(series)
    scaled = StandardScaler().fit(grouped).transform(grouped)
    for actual, values in zip(scaled, series, strict=True):
        spread = values.std(axis=0)
        constant = np.ptp(values, axis=0) <= ROUNDING * np.abs(values).max(axis=0)
        level = np.abs(values.mean(axis=0))
        divisor = np.where(constant, np.where(level > 0, level, 1), spread)
        expected = (values - values.mean(axis=0)) / divisor
        np.testing.assert_allclose(actual, expected, atol=1e-6)
        np.testing.assert_allclose(actual.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(actual.std(axis=0), np.where(constant, 0, 1), atol=1e-6)


@given(several_series(), st.data())
def test_batches_of_any_series_are_scaled_like_series_and_back(series, data):
    grouped = GroupedArray.from_series(series)
    scaler = StandardScaler().fit(grouped)
    number = data.draw(st.integers(0, len(series) - 1))
    batch = scaler.transform_batch([series[number]] * 2, series=[number, number])
    assert batch.tolist() == [scaler.transform(grouped)[number].tolist()] * 2
    back = scaler.inverse_transform(batch, series=[number, number])
    np.testing.assert_allclose(back, np.stack([series[number]] * 2), rtol=1e-9, atol=1e-9)


def test_inverse_without_numbers_takes_row_i_for_series_i():
    scaler = StandardScaler.from_state([10.0, 20.0, 30.0], [1.0, 2.0, 3.0])
    assert scaler.inverse_transform([[0.0, 1.0]] * 3).tolist() == [[10, 11], [20, 22], [30, 33]]
    assert scaler.inverse_transform([[1.0]], series=[2]).tolist() == [[33]]


@pytest.mark.parametrize("jitter", [0.0, 1e-16, 1e-10, 1e-7])
@pytest.mark.parametrize("level", [0.0, 0.1, -7.0, 1e6 + 0.1, 1e15])
def test_a_series_that_differs_by_rounding_of_float32_is_constant_and_is_0(level, jitter):
    # The mean of six times 0.1 is not 0.1: the spread is only rounding, and must not be a divisor.
    values = level * (1 + jitter * np.array([0, 1, 0, 0, 1, 1]))
    grouped = GroupedArray.from_series([values, [1.0, 3.0]])
    scaler = StandardScaler().fit(grouped)
    assert scaler.constant_.tolist() == [True, False]
    np.testing.assert_allclose(scaler.scale_, [abs(level) or 1, 1], rtol=1e-6)
    np.testing.assert_allclose(scaler.transform(grouped)[0], 0, atol=1e-6)


@pytest.mark.parametrize("level", [0.01, 1.0, 1e6])
def test_changes_beyond_rounding_of_float32_are_not_a_constant(level):
    scaler = StandardScaler().fit(GroupedArray.from_series([level + np.array([0, 2e-6 * level])]))
    assert scaler.constant_.tolist() == [False]
    np.testing.assert_allclose(scaler.scale_, [1e-6 * level], rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1024.0, 1e6])
def test_series_are_scaled_alike_in_every_unit(unit):
    series = GroupedArray.from_series([[1.0, 3.0, 2.0], [5.0, 5.0], [0.0, 0.0]])
    scaler = StandardScaler().fit(series)
    other = StandardScaler().fit(GroupedArray(series.values * unit, series.indptr))
    np.testing.assert_allclose(other.scale_[:2], scaler.scale_[:2] * unit)
    assert other.constant_.tolist() == scaler.constant_.tolist() == [False, True, True]


def test_each_feature_is_scaled_separately():
    scaler = StandardScaler().fit(GroupedArray.from_series([[[0.0, 5.0], [2.0, 5.0]]]))
    assert scaler.center_.tolist() == [[1.0, 5.0]]
    assert scaler.scale_.tolist() == [[1.0, 5.0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float32])
def test_moments_are_taken_in_float64(dtype):
    # The sum of these rows is beyond float16 and int16.
    values = np.full(40_000, 100, dtype=dtype)
    values[::2] = 102
    scaler = StandardScaler().fit(GroupedArray(values, [0, len(values)]))
    assert scaler.center_.dtype == scaler.scale_.dtype == np.float64
    assert scaler.center_.tolist() == [101.0]
    assert scaler.scale_.tolist() == [1.0]


def test_fit_changes_nothing_in_the_values():
    values = np.array([1.0, 2.0, 4.0])
    grouped = GroupedArray(values, [0, 3])
    StandardScaler().fit(grouped).transform(grouped)
    assert values.tolist() == [1.0, 2.0, 4.0]


def test_transform_uses_the_numbers_of_fit():
    # Held-out rows are scaled with the numbers known in training.
    scaler = StandardScaler().fit(GroupedArray.from_series([[0.0, 2.0], [10.0, 30.0]]))
    scaled = scaler.transform(GroupedArray.from_series([[3.0], [0.0, 40.0, 20.0]]))
    assert [values.tolist() for values in scaled] == [[2.0], [-2.0, 2.0, 0.0]]


def test_state_is_arrays():
    grouped = GroupedArray.from_series([[1.0, 3.0], [10.0, 14.0, 18.0]])
    scaler = StandardScaler().fit(grouped)
    again = StandardScaler.from_state(scaler.center_.tolist(), scaler.scale_.tolist())
    assert not again.constant_.any()
    np.testing.assert_array_equal(again.transform(grouped).values, scaler.transform(grouped).values)


def test_take_is_the_scaler_of_some_of_the_series():
    scaler = StandardScaler.from_state([10.0, 20.0, 30.0], [1.0, 2.0, 3.0])
    taken = scaler.take([2, 0])
    assert taken.center_.tolist() == [30.0, 10.0]
    assert taken.scale_.tolist() == [3.0, 1.0]
    assert scaler.take([False, True, False]).center_.tolist() == [20.0]


def test_series_without_rows_are_refused_by_number():
    grouped = GroupedArray(np.arange(3.0), [0, 0, 3, 3])
    with pytest.raises(ArgumentError, match="series with at least one row") as caught:
        StandardScaler().fit(grouped)
    assert "no rows in series [0, 2]" in str(caught.value)


def test_another_number_of_series_is_refused():
    scaler = StandardScaler().fit(GroupedArray.from_series([[1.0, 2.0], [3.0]]))
    with pytest.raises(ArgumentError, match="series must be 2 series, as in fit") as caught:
        scaler.transform(GroupedArray.from_series([[1.0]]))
    assert "1 series" in str(caught.value)


@pytest.mark.parametrize(
    "use",
    [
        lambda scaler: scaler.transform(GroupedArray.from_series([[1.0]])),
        lambda scaler: scaler.inverse_transform([[1.0]]),
        lambda scaler: scaler.transform_batch([[1.0]]),
        lambda scaler: scaler.take([0]),
    ],
)
def test_use_before_fit_is_a_not_fitted_error(use):
    with pytest.raises(NotFittedError, match="Call fit first"):
        use(StandardScaler())


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1.0, 1e200])
def test_series_of_any_size_are_scaled(size):
    values = np.random.default_rng(0).normal(size=50)
    scaled = StandardScaler().fit(GroupedArray(values * size, [0, 50]))
    np.testing.assert_allclose(scaled.scale_, values.std() * size, rtol=1e-10)


def test_missing_values_do_not_count_and_stay_missing():
    nan = np.nan
    series = GroupedArray.from_series([[1.0, nan, 3.0], [nan, nan], [nan, 7.0, nan]])
    scaler = StandardScaler().fit(series)
    assert scaler.center_.tolist() == [2, 0, 7]
    assert scaler.scale_.tolist() == [1, 1, 7]
    np.testing.assert_array_equal(
        scaler.transform(series).values, [-1, nan, 1, nan, nan, nan, 0, nan]
    )

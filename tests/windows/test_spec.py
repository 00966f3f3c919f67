"""Tests of row arithmetic, against enumeration."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.errors import ArgumentError
from seqkeras.windows import WindowSpec

specs = st.builds(
    WindowSpec,
    st.integers(1, 6),
    horizon=st.integers(1, 5),
    stride=st.integers(1, 7),
    sampling_rate=st.integers(1, 4),
    gap=st.integers(0, 4),
)


def rows_of(spec: WindowSpec, start: int) -> tuple[list[int], list[int]]:
    """Return the rows that the window at row `start` reads and predicts, counted step by step."""
    timesteps = [start]
    while len(timesteps) < spec.lookback + spec.gap + spec.horizon:
        timesteps.append(timesteps[-1] + spec.sampling_rate)
    return timesteps[: spec.lookback], timesteps[spec.lookback + spec.gap :]


@given(specs, st.integers(0, 20))
def test_rows_of_a_window_are_those_counted_step_by_step(spec, window):
    inputs, targets = rows_of(spec, window * spec.stride)
    assert spec.start(window) == inputs[0]
    assert spec.input_rows(window).tolist() == inputs
    assert spec.target_rows(window).tolist() == targets
    assert spec.target_offset == targets[0] - inputs[0]
    assert spec.rows == targets[-1] - inputs[0] + 1


@given(specs, st.integers(0, 80))
def test_count_is_the_number_of_starts_that_fit(spec, length):
    fitting = [start for start in range(0, length, spec.stride) if start + spec.rows <= length]
    assert spec.count(length) == len(fitting)


@given(specs, st.lists(st.integers(0, 80)))
def test_counts_of_many_series_are_the_counts_of_each(spec, lengths):
    assert spec.counts(lengths).tolist() == [spec.count(length) for length in lengths]


def test_the_first_input_comes_right_before_the_first_target():
    spec = WindowSpec(3, horizon=2)
    assert spec.input_rows(0).tolist() == [0, 1, 2]
    assert spec.target_rows(0).tolist() == [3, 4]


def test_start_takes_many_windows_at_once():
    assert WindowSpec(1, stride=5).start([0, 2, 7]).tolist() == [0, 10, 35]


@pytest.mark.parametrize("value", [0, -1, 2.5, 3.0, True, "8", None])
@pytest.mark.parametrize("name", ["lookback", "stride", "sampling_rate"])
def test_size_that_is_not_a_positive_integer_is_refused_by_name(name, value):
    sizes = {"lookback": 4} | {name: value}
    with pytest.raises(ArgumentError) as caught:
        WindowSpec(sizes.pop("lookback"), **sizes)
    assert str(caught.value) == f"{name} must be an integer >= 1. Got: {name}={value!r}."


@pytest.mark.parametrize("value", [-1, 0.5, False, None])
@pytest.mark.parametrize("name", ["gap", "horizon"])
def test_gap_and_horizon_can_be_zero_but_not_less(name, value):
    assert getattr(WindowSpec(2, **{name: 0}), name) == 0
    with pytest.raises(ArgumentError, match=f"{name} must be an integer >= 0. Got: {name}={value}"):
        WindowSpec(2, **{name: value})


@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 4), st.integers(0, 40))
def test_without_a_horizon_a_window_is_its_lookback(lookback, stride, sampling_rate, length):
    spec = WindowSpec(lookback, horizon=0, stride=stride, sampling_rate=sampling_rate)
    rows = spec.input_rows(0)
    assert spec.rows == rows[-1] + 1
    assert spec.target_rows(0).tolist() == []
    starts = [start for start in range(0, length, stride) if start + spec.rows <= length]
    assert spec.count(length) == len(starts)


def test_a_gap_without_a_horizon_is_refused():
    with pytest.raises(ArgumentError, match=r"gap must be 0 if horizon=0\. Got: gap=2\."):
        WindowSpec(2, horizon=0, gap=2)


def test_numbers_from_numpy_become_plain_integers():
    spec = WindowSpec(np.int64(3), horizon=np.int32(2))
    assert [type(value) for value in dataclasses.astuple(spec)] == [int] * 5


def test_a_spec_is_a_value():
    assert WindowSpec(3, gap=1) == WindowSpec(3, gap=1) != WindowSpec(3)
    assert len({WindowSpec(3), WindowSpec(3), WindowSpec(4)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        WindowSpec(3).lookback = 4


def test_only_the_lookback_is_positional():
    with pytest.raises(TypeError):
        WindowSpec(3, 2)

"""Tests of errors of overlapping windows against a loop over timesteps."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.anomaly import Overlap
from seqkeras.errors import ArgumentError, DataError

STATISTICS = ("mean", "median", "max", "last")


def naive(statistic, errors, starts, timesteps):
    """Collect what each window says of a timestep; for "last", what is new at its end."""
    lookback = errors.shape[1]
    stride = min(np.diff(starts), default=1)
    result = np.full(timesteps, np.nan)
    for timestep in range(timesteps):
        values = []
        for number, (window, start) in enumerate(zip(errors, starts, strict=True)):
            position = timestep - start
            new = 1 if number == 0 else stride
            if 0 <= position < lookback and (statistic != "last" or lookback - 1 - position < new):
                values.append(window[position])
        if statistic == "last":
            result[timestep] = values[0] if values else np.nan
        elif not np.isnan(values).all():
            result[timestep] = getattr(np, f"nan{statistic}")(values)
    return result


@st.composite
def windows(draw):
    lookback = draw(st.integers(1, 6))
    gaps = draw(st.lists(st.integers(1, 9), max_size=8))
    starts = np.cumsum([draw(st.integers(-5, 3)), *gaps])
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    errors = rng.random((len(starts), lookback))
    errors[rng.random(errors.shape) < draw(st.sampled_from([0.0, 0.2]))] = np.nan
    return errors, starts, draw(st.integers(0, 40))


@pytest.mark.parametrize("statistic", STATISTICS)
@given(case=windows())
def test_any_windows_give_what_a_loop_over_timesteps_gives(statistic, case):
    errors, starts, timesteps = case
    combined = Overlap(statistic).combine(errors, starts, timesteps)
    np.testing.assert_allclose(combined, naive(statistic, errors, starts, timesteps))


@pytest.mark.parametrize("statistic", ["mean", "median", "max"])
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_every_timestep_that_is_covered_has_a_value(statistic, stride):
    starts = np.arange(0, 46, stride)
    combined = Overlap(statistic).combine(np.ones((len(starts), 5)), starts, 60)
    assert (combined[: starts[-1] + 5] == 1).all()
    assert np.isnan(combined[starts[-1] + 5 :]).all()


def test_last_reads_only_windows_that_have_ended():
    errors = np.random.default_rng(0).random((30, 4))
    starts = np.arange(-3, 27)
    whole = Overlap("last").combine(errors, starts, 27)
    # Windows that begin before the series give its first timesteps a value, too.
    np.testing.assert_array_equal(whole, errors[:27, -1])
    for now in range(27):
        ended = starts + 3 <= now
        part = Overlap("last").combine(errors[ended], starts[ended], 27)
        np.testing.assert_array_equal(part[: now + 1], whole[: now + 1])


def test_only_last_is_causal():
    assert [Overlap(statistic).causal for statistic in STATISTICS] == [False, False, False, True]


@pytest.mark.parametrize("statistic", STATISTICS)
def test_memory_does_not_grow_with_timesteps_times_lookback(statistic):
    lookback, timesteps = 400, 40_000
    errors = np.zeros((timesteps // 100, lookback))
    starts = np.arange(len(errors)) * 100
    tracemalloc.start()
    Overlap(statistic).combine(errors, starts, timesteps)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All windows of all timesteps would be 128 MB.
    assert peak < (100e6 if statistic == "median" else 4e6)


def test_a_median_over_several_chunks_is_that_of_one(monkeypatch):
    errors = np.random.default_rng(0).random((50, 8))
    whole = Overlap("median").combine(errors, np.arange(50), 57)
    monkeypatch.setattr("seqkeras.anomaly._overlap._CHUNK", 20)
    np.testing.assert_array_equal(Overlap("median").combine(errors, np.arange(50), 57), whole)


def test_no_windows_give_no_values():
    for statistic in STATISTICS:
        assert np.isnan(Overlap(statistic).combine(np.zeros((0, 3)), [], 4)).all()


def test_wrong_input_is_refused():
    errors = np.zeros((2, 3))
    with pytest.raises(ArgumentError, match="Did you mean 'median'"):
        Overlap("medians").combine(errors, [0, 1], 4)
    with pytest.raises(ArgumentError, match=r"errors must be of shape \(windows, lookback\)"):
        Overlap().combine(np.zeros(3), [0], 3)
    with pytest.raises(ArgumentError, match=r"integers of shape \(2,\)"):
        Overlap().combine(errors, [0], 4)
    with pytest.raises(ArgumentError, match="integers"):
        Overlap().combine(errors, [0.0, 1.0], 4)
    with pytest.raises(ArgumentError, match="increasing"):
        Overlap().combine(errors, [1, 1], 4)
    with pytest.raises(ArgumentError, match="timesteps"):
        Overlap().combine(errors, [0, 1], -1)
    with pytest.raises(DataError, match="errors must hold real numbers"):
        Overlap().combine([["a"]], [0], 1)

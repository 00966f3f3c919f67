"""Tests of stretches in rows, against a loop over timesteps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqkeras.windows._stream import Stream, Stretches, cut


def stretches_of(lengths, skip=3):
    """Return a stretch for each series, with `skip` unread values between them."""
    lengths = np.asarray(lengths, np.int64)
    first = np.cumsum(lengths + skip) - lengths - skip
    return Stretches(np.arange(len(lengths)), first, lengths)


def naive_rows(stream):
    """Return the value that each row reads, and whether a stretch begins; None is padding."""
    rows = [[] for _ in range(stream.rows)]
    parts = stream.stretches
    for owner, first, steps in zip(stream.owner, parts.first, parts.steps, strict=True):
        row = rows[owner]
        while not stream.pack and len(row) % stream.bptt_steps:
            row.append(None)
        row += [(int(first) + step, step == 0) for step in range(steps)]
    longest = max(map(len, rows))
    length = -(-longest // stream.bptt_steps) * stream.bptt_steps
    return [row + [None] * (length - len(row)) for row in rows]


streams = st.builds(
    lambda lengths, rows, bptt_steps, pack, shuffle: shuffled(
        Stream.lay_out(stretches_of(lengths), rows=rows, bptt_steps=bptt_steps, pack=pack), shuffle
    ),
    st.lists(st.integers(1, 12), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 6),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 99)),
)


def shuffled(stream, seed):
    return stream if seed is None else stream.shuffled(np.random.default_rng(seed))


@given(stream=streams)
def test_batches_read_what_a_loop_reads(stream):
    expected = naive_rows(stream)
    assert stream.length == len(expected[0])
    for batch in range(stream.batches):
        rows, used, begins = stream.read(batch)
        for row, steps in enumerate(expected):
            part = steps[batch * stream.bptt_steps : (batch + 1) * stream.bptt_steps]
            assert used[row].tolist() == [step is not None for step in part]
            assert rows[row].tolist() == [step[0] if step else 0 for step in part]
            assert begins[row].tolist() == [bool(step) and step[1] for step in part]


@given(stream=streams)
def test_every_timestep_is_read_once_and_its_output_is_found_again(stream):
    parts = stream.stretches
    read = [stream.read(batch) for batch in range(stream.batches)]
    by_row, used = (np.concatenate(part, axis=1) for part in list(zip(*read, strict=True))[:2])
    everything = [
        np.arange(first, first + steps)
        for first, steps in zip(parts.first, parts.steps, strict=True)
    ]
    assert sorted(by_row[used]) == sorted(np.concatenate(everything))
    collected = stream.collect(by_row, len(parts) + 1)
    assert len(collected[-1]) == 0  # a series without stretches
    for number, expected in zip(parts.series, everything, strict=True):
        assert collected[number].tolist() == expected.tolist()


@given(stream=streams)
def test_flags_fit_into_one_column_only_where_every_stretch_begins_with_a_batch(stream):
    begins = [stream.read(batch)[2] for batch in range(stream.batches)]
    if not stream.begins_within:
        assert not any(flags[:, 1:].any() for flags in begins)
    if not stream.pack:
        assert not stream.begins_within


@given(stream=streams, seeds=st.lists(st.integers(0, 99), min_size=1, max_size=3))
def test_another_order_has_as_many_batches_of_the_same_form(stream, seeds):
    for seed in seeds:
        other = stream.shuffled(np.random.default_rng(seed))
        assert other.batches == stream.batches
        assert other.begins_within == stream.begins_within
        assert sorted(other.stretches.first) == sorted(stream.stretches.first)


def test_orders_differ_and_mix_the_rows():
    steps = [7, 5] * 20
    stream = Stream.lay_out(stretches_of(steps), rows=4, bptt_steps=3, pack=True)
    orders = [stream.shuffled(np.random.default_rng(seed)) for seed in range(6)]
    assert len({tuple(order.stretches.series) for order in orders}) == len(orders)
    owners = {int(order.owner[list(order.stretches.series).index(8)]) for order in orders}
    assert len(owners) > 1


@given(steps=st.integers(1, 500), rows=st.integers(1, 20))
def test_one_series_is_cut_without_loss_into_rows_of_nearly_the_same_length(steps, rows):
    rows = min(rows, steps)
    stretches = cut(steps, rows)
    assert len(stretches) == rows
    assert np.ptp(stretches.steps) <= 1
    read = [
        np.arange(first, first + count)
        for first, count in zip(stretches.first, stretches.steps, strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(read), np.arange(steps))
    assert not stretches.series.any()


RANDOM = np.random.default_rng(0)
LENGTHS = {
    "equal": np.full(1000, 100),
    "alike": RANDOM.integers(100, 200, 1000),
    "uniform": RANDOM.integers(1, 1000, 1000),
    "geometric": RANDOM.geometric(1 / 200, 1000),
    "lognormal": np.ceil(RANDOM.lognormal(5, 1, 1000)).astype(int),
    "heavy tail": np.ceil(50 * (1 + RANDOM.pareto(2.5, 1000))).astype(int),
    "two kinds": np.where(RANDOM.random(1000) < 0.01, 5000, 50),
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_of_a_thousand_series_in_sixteen_rows_less_than_one_percent_is_padding(lengths):
    share = lengths.sum() / 16
    assert lengths.max() < share  # otherwise one row ends late in any order
    stream = Stream.lay_out(stretches_of(lengths), rows=16, bptt_steps=1, pack=True)
    assert 1 - share / stream.length < 0.01


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=40),
    rows=st.integers(1, 8),
)
def test_no_row_ends_later_than_any_greedy_plan_can(lengths, rows):
    stream = Stream.lay_out(stretches_of(lengths), rows=rows, bptt_steps=1, pack=True)
    assert stream.longest <= sum(lengths) / rows + max(lengths)
    ends = [
        stream.stretches.steps[stream.owner == row].sum() for row in range(min(rows, len(lengths)))
    ]
    assert min(ends) > 0  # no row idles while a series is left
    # The last stretch of a row began when no other row was free.
    assert all(
        start <= min(ends)
        for row in range(len(ends))
        for start in stream.begins[stream.owner == row][-1:]
    )


def test_a_long_series_at_the_end_starts_early_enough():
    lengths = [10] * 999 + [250]
    stream = Stream.lay_out(stretches_of(lengths), rows=4, bptt_steps=5, pack=True)
    assert stream.longest <= np.sum(lengths) / 4 + 10
    # Not at the beginning: until then, series keep their order.
    begin = {int(n): int(b) for n, b in zip(stream.stretches.series, stream.begins, strict=True)}
    assert begin[999] > 0
    assert [begin[number] for number in range(4)] == [0] * 4

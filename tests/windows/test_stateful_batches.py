"""Stateful batches against their series, and models that read them against stateless models."""

import functools
import itertools
import pickle
import warnings

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from helpers.arrays import assert_arrays_close, assert_arrays_equal
from helpers.examples import covering, examples
from seqkeras import many_to_many
from seqkeras.errors import ArgumentError, DataError, SkippedSeriesWarning
from seqkeras.windows import GroupedArray
from seqkeras.windows import StatefulBatches as Batches

StatefulBatches = functools.partial(Batches, reset_input=True)
skipping = pytest.mark.filterwarnings("ignore::seqkeras.errors.SkippedSeriesWarning")


def distinct(lengths, width=None, dtype="float64", start=1):
    """Series in which no two numbers are equal, and none is 0, which stands in padding."""
    rows = sum(lengths)
    shape = (rows,) if width is None else (rows, width)
    numbers = np.arange(start, start + np.prod(shape, dtype=int)).reshape(shape)
    return np.split(numbers.astype(dtype), np.cumsum(lengths)[:-1])


def streams(batches):
    """Inputs, flags, targets and mask of an epoch, each `(batch_size, timesteps, ...)`."""
    parts = [batches[index] for index in range(len(batches))]
    flags = [
        np.pad(x["reset"], [(0, 0), (0, batches.bptt_steps - x["reset"].shape[1])])
        for x, _, _ in parts
    ]
    x, y, mask = (
        np.concatenate(some, axis=1)
        for some in ([x["sequence"] for x, _, _ in parts], *list(zip(*parts, strict=True))[1:])
    )
    return x, np.concatenate(flags, axis=1), y, mask


def stretches(batches):
    """What the rows read, cut at the flags, without padding: pairs of inputs and targets."""
    x, flags, y, mask = streams(batches)
    pairs = []
    for row in range(len(x)):
        used = np.flatnonzero(mask[row])
        starts = np.flatnonzero(flags[row, used])
        if len(used):
            assert starts[0] == 0
        parts = np.split(used, starts[1:])
        pairs += [(x[row, part], y[row, part]) for part in parts if len(part)]
    return pairs


def expected_pairs(series, targets, horizon):
    """The same from the series: each timestep, and the targets after it, one by one."""
    pairs = []
    for values, aims in zip(series, targets, strict=True):
        steps = len(values) - horizon
        if steps < 1:
            continue
        x = [np.reshape(values[step], -1) for step in range(steps)]
        if not horizon:
            y = [np.reshape(aims[step], -1) for step in range(steps)]
        else:
            y = [np.stack(aims[step + 1 : step + 1 + horizon]) for step in range(steps)]
            y = [one[0] if one.ndim > 1 and horizon == 1 else one for one in y]
        pairs.append((np.array(x, "float32"), np.array(y, "float32")))
    return pairs


def in_order(pairs):
    """Pairs of arrays in an order that does not depend on where they stood."""
    return sorted(((x.tolist(), y.tolist()) for x, y in pairs), key=str)


def assert_the_same(actual, expected):
    assert sorted(x.shape for x, _ in actual) == sorted(x.shape for x, _ in expected)
    assert in_order(actual) == in_order(expected)


cases = st.fixed_dictionaries(
    {
        # Empty series, series of one row and series of about one batch are the borders.
        "lengths": st.lists(st.integers(0, 14), min_size=1, max_size=9),
        "features": st.sampled_from([None, 1, 3]),
        "horizon": st.integers(0, 3),
        "outputs": st.sampled_from(["series", None, 2]),
        "batch_size": st.integers(1, 4),
        "bptt_steps": st.integers(1, 6),
        "pack": st.booleans(),
        "shuffle": st.booleans(),
        "dtype": st.sampled_from(["float64", "float16", "int32", "bool"]),
        "epoch": st.integers(0, 3),
    }
)


def build(case, **options):
    """Batches of a case, the series and the targets; a case that is refused is not looked at."""
    series = distinct(case["lengths"], case["features"], case["dtype"])
    own = case["outputs"] != "series" or not case["horizon"]
    width = None if case["outputs"] == "series" else case["outputs"]
    targets = distinct(case["lengths"], width, start=1000) if own else None
    usable = [length - case["horizon"] for length in case["lengths"]]
    assume(max(usable) >= case["bptt_steps"])
    batches = StatefulBatches(
        series,
        targets=targets,
        idle_rows=sum(steps > 0 for steps in usable) < case["batch_size"],
        seed=0,
        **{name: case[name] for name in ("batch_size", "bptt_steps", "horizon", "pack", "shuffle")},
        **options,
    )
    batches.epoch = case["epoch"]
    return batches, series, targets or series


@skipping
@examples(100)
@given(case=cases)
def test_rows_cut_at_their_flags_are_the_series(case):
    batches, series, targets = build(case)
    expected = expected_pairs(series, targets, case["horizon"])
    assert_the_same(stretches(batches), expected)
    assert batches.steps == sum(len(x) for x, _ in expected)


@skipping
@examples(67)
@given(case=cases)
def test_to_series_puts_together_what_the_rows_read(case):
    batches, series, _ = build(case)
    epoch = [batches[index] for index in range(len(batches))]
    inputs = np.concatenate([x["sequence"] for x, _, _ in epoch])
    actual = batches.to_series(inputs)
    assert len(actual) == len(series)
    for one, values in zip(actual, series, strict=True):
        steps = max(len(values) - case["horizon"], 0)
        expected = values[:steps].reshape(steps, inputs.shape[-1]).astype("float32")
        np.testing.assert_array_equal(one, expected)
    # In the shape and type that a model gives, whatever it is.
    flat = batches.to_series(inputs[..., 0].astype("float16"))
    assert {one.dtype for one in flat} == {np.dtype("float16")}
    assert [one.shape for one in flat] == [one.shape[:1] for one in actual]


@skipping
@examples(67)
@given(case=cases)
def test_padding_is_zero_unflagged_and_stands_where_no_series_is_left(case):
    batches, _, _ = build(case)
    x, flags, y, mask = streams(batches)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    padded = mask == 0
    assert not x[padded].any()
    assert not y[padded].any()
    assert not flags[padded].any()
    assert batches.padding == pytest.approx(padded.mean())
    # At the end of a row, or of a batch where series begin with the next.
    begins = padded[:, 1:] < padded[:, :-1]
    assert (
        not begins.any()
        if case["pack"]
        else (np.argwhere(begins)[:, 1] + 1) % (case["bptt_steps"]) == pytest.approx(0)
    )
    # No batch has padding alone.
    assert mask.reshape(len(mask), len(batches), -1).any(axis=(0, 2)).all()


@skipping
@examples(34)
@given(case=cases)
def test_shapes_and_types_are_those_of_the_docstring(case):
    batches, series, targets = build(case)
    forms = set()
    within = False
    for index in range(len(batches)):
        x, y, mask = batches[index]
        assert x.keys() == {"sequence", "reset"}
        assert (x["sequence"].dtype, x["reset"].dtype) == (np.float32, bool)
        assert (y.dtype, mask.dtype) == (np.float32, np.float32)
        forms.add((x["sequence"].shape, x["reset"].shape, y.shape, mask.shape))
        np.testing.assert_array_equal(x["reset"], batches.resets(index))
        within |= bool(x["reset"][:, 1:].any())
    ((inputs, flags, aims, mask),) = forms
    rows = (case["batch_size"], case["bptt_steps"])
    assert inputs == (*rows, case["features"] or 1)
    assert mask == rows
    assert flags in {(rows[0], 1), rows}
    if within:
        assert flags == rows
    if not case["pack"] or len(expected_pairs(series, targets, case["horizon"])) <= rows[0]:
        assert flags == (rows[0], 1)
    width = targets[0].shape[1:]
    if not width:
        assert aims == (*rows, max(case["horizon"], 1))
    elif case["horizon"] > 1:
        assert aims == (*rows, case["horizon"], *width)
    else:
        assert aims == (*rows, *width)


@skipping
@examples(20)
@given(case=cases)
def test_epochs_have_the_same_form_and_depend_on_seed_and_number_alone(case):
    batches, _, _ = build(case)
    again, _, _ = build(case)
    forms = set()
    for epoch in (3, 0, 2, 1, 3):
        batches.epoch = epoch
        forms.add((len(batches), batches.steps, batches.padding, batches[0][0]["reset"].shape))
    again.epoch = 3
    assert len(forms) == 1
    assert_arrays_equal(streams(batches), streams(again))


@skipping
@examples(34)
@given(case=cases)
def test_one_target_for_each_row_of_a_batch_is_that_of_its_last_timestep(case):
    batches = build(case)[0]
    try:
        last = build(case, target_rows="last")[0]
    except ArgumentError:  # no row of a batch is read to its end
        assert not streams(batches)[3][:, batches.bptt_steps - 1 :: batches.bptt_steps].any()
        return
    for index in range(len(batches)):
        inputs, targets, mask = batches[index]
        assert_arrays_equal(last[index][1:], [targets[:, -1], mask[:, -1]])
        assert_arrays_equal(list(last[index][0].values()), list(inputs.values()))


def test_the_example_of_two_rows_is_as_drawn():
    batches = StatefulBatches(distinct([9, 4, 6]), batch_size=2, bptt_steps=4)
    # Series of 8, 3 and 5 timesteps: 1..9, 10..13 and 14..19, whose last are targets alone.
    x, flags, y, mask = streams(batches)
    assert x[..., 0].tolist() == [[1, 2, 3, 4, 5, 6, 7, 8], [14, 15, 16, 17, 18, 10, 11, 12]]
    assert flags.astype(int).tolist() == [[1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1, 0, 0]]
    np.testing.assert_array_equal(y, x + 1)
    assert mask.all()
    apart = StatefulBatches(distinct([9, 4, 6]), batch_size=2, bptt_steps=4, pack=False)
    x, flags, _, mask = streams(apart)
    assert x[0, :, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 0]
    assert x[1, :, 0].tolist() == [14, 15, 16, 17, 18, 0, 0, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(mask, x[..., 0] > 0)
    assert np.argwhere(flags).tolist() == [[0, 0], [0, 8], [1, 0]]


@pytest.mark.parametrize("horizon", [1, 2])
@given(rows=st.integers(5, 90), batch_size=st.integers(1, 5), bptt_steps=st.integers(1, 9))
def test_one_array_is_cut_into_nearly_equal_rows(horizon, rows, batch_size, bptt_steps):
    assume(rows - horizon >= batch_size * bptt_steps)
    (values,) = distinct([rows])
    batches = StatefulBatches(values, batch_size=batch_size, bptt_steps=bptt_steps, horizon=horizon)
    x, flags, y, mask = streams(batches)
    assert np.ptp(mask.sum(axis=1)) <= 1
    # One row goes on where another ends, and nothing is dropped.
    order = np.argsort(x[:, 0, 0])
    used = mask[order] == 1
    assert x[order][used][:, 0].tolist() == values[: rows - horizon].tolist()
    assert y[order][used][:, -1].tolist() == values[horizon:].tolist()
    assert flags[:, 0].all()
    assert not flags[:, 1:].any()
    assert batches[0][0]["reset"].shape == (batch_size, 1)
    inputs = [batches[index][0]["sequence"] for index in range(len(batches))]
    (actual,) = batches.to_series(np.concatenate(inputs))
    assert actual[:, 0].tolist() == values[: rows - horizon].tolist()


@pytest.mark.parametrize("pack", [True, False])
def test_series_may_come_as_list_grouped_array_or_one_array_of_three_axes(pack):
    series = distinct([7, 7, 7], 2)
    sizes = {"batch_size": 2, "bptt_steps": 3, "pack": pack}
    forms = [
        series,
        tuple(series),
        [one.tolist() for one in series],
        GroupedArray.from_series(series),
        np.stack(series),
    ]
    first, *others = [streams(StatefulBatches(form, **sizes)) for form in forms]
    for other in others:
        assert_arrays_equal(first, other)


def test_a_list_of_numbers_is_one_series():
    batches = StatefulBatches([1.0, 2.0, 3.0, 4.0, 5.0], batch_size=2, bptt_steps=2)
    assert streams(batches)[0][..., 0].tolist() == [[1, 2], [3, 4]]


def test_targets_of_the_very_timestep_may_be_given():
    labels = [np.array([0, 1, 2, 1]), np.array([2, 0, 1, 0])]
    batches = StatefulBatches(
        distinct([4, 4]), targets=labels, horizon=0, batch_size=2, bptt_steps=2
    )
    assert streams(batches)[2][..., 0].tolist() == [[0, 1, 2, 1], [2, 0, 1, 0]]


def test_without_a_reset_input_the_inputs_are_only_the_array():
    sizes = {"batch_size": 2, "bptt_steps": 3}
    with_flags = Batches(distinct([7, 9, 5]), reset_input=True, **sizes)
    without = Batches(distinct([7, 9, 5]), reset_input=False, **sizes)
    for index in range(len(without)):
        x, y, mask = with_flags[index]
        assert_arrays_equal(without[index], (x["sequence"], y, mask))
        np.testing.assert_array_equal(without.resets(index), x["reset"])


def test_batches_that_do_not_say_whether_they_have_flags_cannot_be_read():
    batches = Batches(distinct([7, 9, 5]), batch_size=2, bptt_steps=3)
    with pytest.raises(ArgumentError, match="reset_input must be True or False to read") as caught:
        batches[0]
    assert "Got: reset_input=None." in str(caught.value)
    assert "outside of fit_stateful" in str(caught.value)


def test_a_copy_with_flags_reads_the_same_order_and_leaves_the_batches():
    sizes = {"batch_size": 2, "bptt_steps": 3, "shuffle": True, "seed": 0}
    batches = Batches(distinct([7, 9, 5, 8]), **sizes)
    batches.epoch = 3
    copy = batches.with_reset_input(True)
    expected = StatefulBatches(distinct([7, 9, 5, 8]), **sizes)
    expected.epoch = 3
    assert_arrays_equal(streams(copy), streams(expected))
    copy.epoch = 0
    assert (batches.epoch, batches.reset_input) == (3, None)
    with pytest.raises(ArgumentError, match="reset_input must be True or False"):
        batches.with_reset_input(1)


def test_idle_rows_are_padding_from_end_to_end():
    batches = StatefulBatches(distinct([7, 9]), batch_size=4, bptt_steps=3, idle_rows=True)
    x, flags, y, mask = streams(batches)
    assert mask.any(axis=1).tolist() == [True, True, False, False]
    assert not x[2:].any()
    assert not y[2:].any()
    assert not flags[2:].any()
    assert_the_same(stretches(batches), expected_pairs(distinct([7, 9]), distinct([7, 9]), 1))


def test_an_order_is_drawn_for_each_epoch_and_comes_from_the_seed():
    def orders(seed):
        batches = StatefulBatches(
            distinct([9, 5, 9, 5, 9, 5]), batch_size=2, bptt_steps=4, shuffle=True, seed=seed
        )
        drawn = []
        for epoch in range(4):
            batches.epoch = epoch
            drawn.append(streams(batches)[0].tobytes())
        return drawn

    assert len(set(orders(0))) > 1
    assert orders(0) == orders(0)
    assert orders(0) != orders(1)


def test_without_shuffle_every_epoch_is_the_same():
    batches = StatefulBatches(distinct([9, 5, 9, 5]), batch_size=2, bptt_steps=4)
    first = streams(batches)
    batches.epoch = 5
    assert_arrays_equal(first, streams(batches))


def test_a_pickled_copy_gives_the_same_batches():
    batches = StatefulBatches(
        distinct([9, 5, 9, 5]), batch_size=2, bptt_steps=4, shuffle=True, seed=3
    )
    batches.epoch = 2
    again = pickle.loads(pickle.dumps(batches))
    assert_arrays_equal(streams(batches), streams(again))


def test_a_memory_mapped_array_is_read_where_a_batch_needs_it(tmp_path):
    values = np.random.default_rng(0).normal(size=(4000, 3)).astype("float32")
    values[3000, 1] = np.nan
    np.save(tmp_path / "values.npy", values)
    values[3000, 1] = 0
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    sizes = {"batch_size": 4, "bptt_steps": 10}
    # A value that is missing is found when it is read: until then nobody has looked.
    batches = StatefulBatches(mapped, **sizes)
    in_memory = StatefulBatches(values, **sizes)
    assert_arrays_equal(streams_until(batches, 3), streams_until(in_memory, 3))
    with pytest.raises(DataError, match="series must have no missing values"):
        streams(batches)
    grouped = GroupedArray(mapped, [0, 1500, 4000])
    whole = StatefulBatches(grouped, batch_size=2, bptt_steps=10)
    assert np.isin(whole[3][0]["sequence"], values).all()


def streams_until(batches, index):
    x, y, mask = batches[index]
    return x["sequence"], x["reset"], y, mask


def test_what_is_given_is_left_as_it_is():
    series = distinct([7, 9, 4])
    copies = [one.copy() for one in series]
    batches = StatefulBatches(series, batch_size=2, bptt_steps=3)
    x, y, mask = batches[0]
    for part in (x["sequence"], x["reset"], y, mask):
        part[:] = 0
    assert_arrays_equal(series, copies)
    assert batches[0][2].any()


def test_repr_tells_the_sizes_and_the_padding():
    batches = StatefulBatches(distinct([9, 4, 6]), batch_size=2, bptt_steps=4, pack=False)
    assert repr(batches) == (
        "StatefulBatches(3 batches of 2 rows and 4 timesteps; 16 timesteps of 3 series, "
        "33.3% padding)"
    )


def test_series_without_a_target_are_counted_and_told():
    with pytest.warns(SkippedSeriesWarning) as caught:
        batches = StatefulBatches(distinct([9, 2, 0, 1, 6]), batch_size=2, bptt_steps=3, horizon=2)
    (warning,) = caught
    message = str(warning.message)
    assert "3 of 5 series are skipped (numbers [1, 2, 3])" in message
    assert "they lack the rows for one timestep and its target: 3" in message
    assert warning.filename == __file__
    sizes = [len(one) for one in batches.to_series(np.zeros((len(batches) * 2, 3, 1)))]
    assert sizes == [7, 0, 0, 0, 4]


# -- what cannot work ----------------------------------------------------------------------------

GOOD = {"batch_size": 2, "bptt_steps": 3}


def refused(series, error=ArgumentError, **options):
    with pytest.raises(error) as caught:
        StatefulBatches(series, **{**GOOD, **options})
    return str(caught.value)


@pytest.mark.parametrize("name", ["batch_size", "bptt_steps", "horizon"])
@pytest.mark.parametrize("value", [-1, 2.5, True, "3", None])
def test_sizes_that_are_no_positive_integers_are_refused(name, value):
    message = refused(distinct([9, 9]), **{name: value})
    assert message.startswith(f"{name} must be an integer >= {0 if name == 'horizon' else 1}.")
    assert f"Got: {name}={value!r}." in message


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint64])
def test_integers_of_numpy_are_as_those_of_python(kind):
    series = np.arange(251.0)
    batches = StatefulBatches(series, batch_size=2, bptt_steps=10)
    same = StatefulBatches(
        series, batch_size=kind(2), bptt_steps=kind(10), horizon=kind(1), seed=kind(3)
    )
    assert (len(same), same.padding) == (len(batches), batches.padding)
    for index in range(len(batches)):
        assert_arrays_equal(same[kind(index)][1:], batches[index][1:])
        assert_arrays_equal([same.resets(kind(index))], [batches.resets(index)])


@pytest.mark.parametrize("name", ["batch_size", "bptt_steps"])
def test_a_size_of_zero_is_refused(name):
    assert f"{name} must be an integer >= 1. Got: {name}=0." in refused(
        distinct([9, 9]), **{name: 0}
    )


@pytest.mark.parametrize("name", ["pack", "idle_rows", "reset_input", "shuffle"])
@pytest.mark.parametrize("series", [distinct([9, 9]), distinct([19])[0]], ids=["many", "one"])
def test_switches_that_are_not_true_or_false_are_refused(name, series):
    assert f"{name} must be True or False. Got: {name}=1." in refused(series, **{name: 1})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", ["series", "targets"])
@pytest.mark.parametrize("width", [None, 2])
def test_values_that_are_missing_or_infinite_are_refused_with_their_place(name, bad, width):
    good, broken = distinct([5, 6, 7], width), distinct([5, 6, 7], width)
    broken[1][4] = bad
    arrays = {"series": good, "targets": good, name: broken}
    message = refused(arrays["series"], DataError, targets=arrays["targets"])
    assert message.startswith(f"{name} must have ")
    assert f"Got: {'NaN' if np.isnan(bad) else bad} in series 1, row 4" in message


def test_empty_series_before_a_missing_value_are_counted():
    series = [np.zeros(0), np.zeros(4), np.zeros(0), np.zeros(0), np.array([1.0, np.nan, 3.0])]
    assert "in series 4, row 1" in refused(series, DataError)


@pytest.mark.parametrize(
    "series",
    [
        ["a", "b", "c"],
        [["a", "b"], ["c", "d"]],
        np.array([1, 2j, 3]),
        np.array(["2020", "2021"], dtype="M8[Y]"),
        np.zeros((3, 4, 5, 6)),
        5.0,
        None,
        {"a": [1.0, 2.0]},
        np.array([1.0, None, 2.0], dtype=object),
        [1.0, [2.0, 3.0]],
        [np.zeros((4, 2)), np.zeros((5, 3))],
        [np.zeros(4), np.zeros((5, 1))],
        [np.zeros((4, 2, 2)), np.zeros((5, 2, 2))],
        iter([np.zeros(9), np.zeros(9)]),
    ],
)
def test_series_that_are_no_arrays_of_numbers_are_refused(series):
    message = refused(series)
    assert message.startswith("series must be ")
    assert "Got: " in message


@pytest.mark.parametrize("series", [[], (), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 4, 2))])
def test_no_series_at_all_are_refused(series):
    with pytest.raises((ArgumentError, DataError), match="series"):
        StatefulBatches(series, **GOOD)


def test_series_that_are_all_empty_or_too_short_are_refused():
    message = refused([np.zeros(3), np.zeros(0)], DataError, horizon=3)
    assert "None of the 2 series has rows for one timestep and its target: 4" in message
    assert "smaller horizon" in message


@pytest.mark.parametrize("series", [distinct([7, 9]), distinct([4, 4, 8])])
def test_more_rows_than_series_are_refused_with_the_way_out(series):
    message = refused(series, batch_size=4)
    assert f"batch_size must be at most the number of series, {len(series)}." in message
    assert "Got: batch_size=4." in message
    assert "idle_rows=True" in message


def test_more_rows_than_timesteps_of_one_array_are_refused():
    message = refused(np.arange(5.0), DataError, batch_size=5, bptt_steps=1)
    assert "series must have at least 5 timesteps with a target" in message
    assert "Got: 4." in message
    assert "Got: 0." in refused(np.arange(5.0), DataError, horizon=9)


@pytest.mark.parametrize("series", [distinct([9, 7]), distinct([17])[0]], ids=["many", "one"])
@pytest.mark.parametrize("pack", [True, False])
def test_a_batch_longer_than_every_row_is_refused(series, pack):
    message = refused(series, bptt_steps=9, pack=pack)
    assert "bptt_steps must be at most the 8 timesteps of the longest row." in message
    assert "Got: bptt_steps=9." in message
    assert len(StatefulBatches(series, batch_size=2, bptt_steps=8, pack=pack)) == 1


@pytest.mark.parametrize(
    "targets",
    [distinct([9, 6]), distinct([8, 7]), distinct([9]), distinct([9, 7, 1])],
)
def test_targets_unlike_the_series_are_refused(targets):
    message = refused(distinct([9, 7]), targets=targets)
    assert message.startswith("targets must be ")
    assert "Got: targets=" in message


def test_targets_of_other_lengths_are_refused_with_the_series():
    message = refused(distinct([9, 7]), targets=distinct([9, 6]))
    assert "targets must be series of the same lengths as those of series=" in message
    assert "Series 1 has 7 rows in series, and 6 in targets." in message


def test_targets_that_are_no_numbers_are_refused():
    labels = [np.array(["a"] * 9), np.array(["b"] * 7)]
    assert refused(distinct([9, 7]), targets=labels).startswith("targets must be numbers of shape")


def test_a_timestep_cannot_be_its_own_target():
    message = refused(distinct([9, 7]), horizon=0)
    assert "targets must be given where horizon=0. Got: targets=None." in message


def test_one_array_has_no_order_to_draw():
    message = refused(np.arange(20.0), shuffle=True)
    assert "shuffle must be False where series is one array. Got: shuffle=True." in message


@pytest.mark.parametrize("index", [-1, 4, 99])
def test_a_batch_that_does_not_exist_is_an_index_error(index):
    batches = StatefulBatches(distinct([9, 14]), batch_size=2, bptt_steps=4)
    with pytest.raises(IndexError, match=f"batch index {index} is out of range for a length of 4"):
        batches[index]


@pytest.mark.parametrize("shape", [(7, 4, 1), (8, 3, 1), (8,), (2, 4, 4, 1), ()])
def test_outputs_of_another_shape_are_not_put_together(shape):
    batches = StatefulBatches(distinct([9, 14]), batch_size=2, bptt_steps=4)
    with pytest.raises(ArgumentError, match=r"outputs must be of shape \(8, 4, ...\)") as caught:
        batches.to_series(np.zeros(shape))
    assert f"outputs={shape}" in str(caught.value)


# -- in fit --------------------------------------------------------------------------------------


@functools.cache
def stateless():
    """A model that reads each timestep by itself."""
    x = keras.Input((None, 1), name="sequence")
    flags = keras.Input((None,), name="reset", dtype="bool")
    nothing = 0 * keras.ops.cast(flags[:, :1, None], "float32")
    model = keras.Model({"sequence": x, "reset": flags}, keras.layers.Dense(1)(x + nothing))
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    return model


def many_batches(**options):
    return StatefulBatches(
        [np.sin(one) for one in distinct([40, 31, 17, 25])], batch_size=2, bptt_steps=4, **options
    )


@pytest.mark.backends
@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_that_draws_the_order_of_batches_is_told_so(shuffle):
    keras.utils.set_random_seed(1)
    batches = many_batches(shuffle=shuffle)
    # A model of its own: on JAX, Keras loses the variables where a batch cannot be had.
    model = keras.models.clone_model(stateless())
    model.compile("sgd", "mse")
    # TensorFlow wraps what is raised where it asks for a batch, with its message.
    with pytest.raises(Exception, match=r"Call fit\(..., shuffle=False\)") as caught:
        model.fit(batches, verbose=0)
    if keras.backend.backend() != "tensorflow":
        assert isinstance(caught.value, ArgumentError)
    # What went wrong leaves nothing behind.
    stateless().fit(batches, shuffle=False, verbose=0)


@pytest.mark.backends
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_epochs_of_some_steps_go_on_where_the_last_ended(steps):
    batches = many_batches(shuffle=True, seed=0)
    assert len(batches) == 14
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stateless().fit(
            batches, shuffle=False, epochs=35 // steps, steps_per_epoch=steps, verbose=0
        )


@pytest.mark.backends
def test_an_interrupted_epoch_can_be_begun_again():
    def stop(batch, logs):
        if batch == 2:
            raise KeyboardInterrupt

    batches = many_batches(shuffle=True, seed=0)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(KeyboardInterrupt):
        stateless().fit(batches, shuffle=False, verbose=0, callbacks=[callback])
    stateless().fit(batches, shuffle=False, epochs=2, verbose=0)
    expected = expected_pairs(*[[np.sin(one) for one in distinct([40, 31, 17, 25])]] * 2, 1)
    assert_the_same(stretches(batches), expected)


@pytest.mark.backends
def test_batches_can_be_looked_at_in_any_order_outside_of_fit():
    batches = many_batches()
    model = stateless()
    for after in (lambda: None, lambda: model.fit(batches, shuffle=False, verbose=0)):
        after()
        for index in (13, 3, 9, 0):
            batches[index]
    model.evaluate(batches, verbose=0)
    model.predict(batches, verbose=0)
    batches[7]


# -- models that read them -----------------------------------------------------------------------

ROWS, STEPS, MOST, LONGEST = 3, 4, 8, 18
CELLS = {
    "lstm": {"cell": "lstm", "units": (4, 3)},
    "gru": {"cell": "gru", "units": 4},
    "simple_rnn": {"cell": "simple_rnn", "units": 4},
    "cells": {"cell": [keras.layers.GRUCell(3), keras.layers.LSTMCell(4)]},
}
every_cell = pytest.mark.parametrize(
    "cell", [pytest.param("lstm", marks=pytest.mark.backends), *itertools.islice(CELLS, 1, None)]
)

CELLS_AND_PACK = [
    pytest.param("lstm", True, marks=pytest.mark.backends),
    ("lstm", False),
    ("gru", False),
    ("gru", True),
    ("simple_rnn", False),
    ("simple_rnn", True),
    ("cells", True),
    ("cells", False),
]


@functools.cache
def twins(cell):
    """The stateful and the stateless form of a model with the same weights."""
    stateful = many_to_many(2, **CELLS[cell], stateful=True, reset_input=True, batch_size=ROWS)
    whole = many_to_many(2, **CELLS[cell])
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.5, w.shape) for w in whole.get_weights()]
    for model in (stateful, whole):
        model.set_weights(weights)
        model.compile("sgd", "mse", weighted_metrics=["mse"])
    return stateful, whole


def alone(model, series):
    """What a stateless model gives for each series, read by itself."""
    padded = np.zeros((MOST, LONGEST, 2), "float32")
    for row, values in enumerate(series):
        padded[row, : len(values)] = values
    outputs = model.predict_on_batch(padded)
    return [outputs[row, : len(values)] for row, values in enumerate(series)]


def some_series(lengths, seed):
    random = np.random.default_rng(seed)
    return [random.normal(size=(length, 2)) for length in lengths]


def flattened(batches):
    """All batches as two arrays, for `predict`."""
    inputs = [batches[index][0] for index in range(len(batches))]
    return {name: np.concatenate([one[name] for one in inputs]) for name in ("sequence", "reset")}


@every_cell
@examples(4)
@given(
    lengths=st.lists(st.integers(2, LONGEST), min_size=ROWS, max_size=MOST),
    pack=st.booleans(),
    shuffle=st.booleans(),
    seed=st.integers(0, 9),
)
def test_a_model_that_reads_the_batches_gives_what_it_gives_for_each_series_alone(
    cell, lengths, pack, shuffle, seed
):
    assume(max(lengths) > STEPS)
    stateful, whole = twins(cell)
    series = some_series(lengths, seed)
    batches = StatefulBatches(
        series, batch_size=ROWS, bptt_steps=STEPS, pack=pack, shuffle=shuffle, seed=seed
    )
    expected = alone(whole, [values[:-1] for values in series])
    actual = batches.to_series(stateful.predict(batches, verbose=0))
    assert_arrays_close(actual, expected)


@pytest.mark.parametrize(("cell", "pack"), covering(CELLS_AND_PACK, 2))
def test_with_other_flags_it_gives_something_else(cell, pack):
    stateful, whole = twins(cell)
    series = some_series([18, 9, 14, 11, 15], seed=1)
    batches = StatefulBatches(series, batch_size=ROWS, bptt_steps=STEPS, pack=pack)
    expected = alone(whole, [values[:-1] for values in series])
    right = flattened(batches)
    first = np.zeros_like(right["reset"])
    first[:ROWS, 0] = True
    for flags, same in [(right["reset"], True), (first, False), (first | True, False)]:
        actual = stateful.predict({**right, "reset": flags}, batch_size=ROWS, verbose=0)
        furthest = max(
            np.abs(one - other).max()
            for one, other in zip(batches.to_series(actual), expected, strict=True)
        )
        assert (furthest < 1e-5) if same else (furthest > 1e-2)


@pytest.mark.parametrize(("cell", "pack"), covering(CELLS_AND_PACK, 2))
def test_evaluate_counts_every_timestep_once_and_no_padding(cell, pack):
    stateful, whole = twins(cell)
    series = some_series([18, 9, 14, 3, 15, 2], seed=2)
    targets = [values[:, :1] for values in series]
    batches = StatefulBatches(series, targets=targets, batch_size=ROWS, bptt_steps=STEPS, pack=pack)
    expected = alone(whole, [values[:-1] for values in series])
    errors = [(one - aims[1:]) ** 2 for one, aims in zip(expected, targets, strict=True)]
    mean = np.concatenate(errors).mean()
    logs = stateful.evaluate(batches, return_dict=True, verbose=0)
    assert logs["mse"] == pytest.approx(mean, rel=1e-4)
    # Keras divides the loss by all timesteps of the batches, those of padding too.
    assert logs["loss"] == pytest.approx(mean * (1 - batches.padding), rel=1e-4)
    assert batches.padding > 0.01


@pytest.mark.parametrize("reset_input", [True, False])
def test_flags_for_a_model_without_a_reset_input_are_refused_and_the_other_way_round(reset_input):
    model = many_to_many(1, units=2, stateful=True, batch_size=2, reset_input=not reset_input)
    model.compile("sgd", "mse")
    batches = Batches(np.arange(20.0), batch_size=2, bptt_steps=4, reset_input=reset_input)
    for read in (model.fit, model.evaluate):
        with pytest.raises(ArgumentError, match="True exactly if the model has an input named"):
            read(batches, verbose=0)

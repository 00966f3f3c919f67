"""Tests of rows of arrays, memory maps and Arrow data, against NumPy."""

import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras.errors import ArgumentError, DataError, RoundedIntegersWarning
from seqkeras.windows import (
    GroupedArray,
    StandardScaler,
    StatefulBatches,
    Windows,
    WindowSpec,
    gather,
)

arrow = pytest.importorskip("pyarrow")

NUMBERS = ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]
NUMBERS += ["float16", "float32", "float64"]


def batches(windows):
    return tuple(np.concatenate(part) for part in zip(*windows, strict=True))


def chunked(values, cuts, missing=None):
    """Return Arrow data in chunks, each the middle of a longer array: offsets are not 0."""
    chunks = []
    for start, stop in zip([0, *cuts], [*cuts, len(values)], strict=True):
        part = np.concatenate([values[:3], values[start:stop], values[:5]])
        nulls = np.zeros(len(part), dtype=bool)
        if missing is not None:
            nulls[3 : 3 + stop - start] = missing[start:stop]
        chunks.append(arrow.array(part, mask=nulls).slice(3, stop - start))
    return arrow.chunked_array(chunks)


@examples(27)
@given(
    dtype=st.sampled_from(NUMBERS),
    rows=st.integers(12, 60),
    width=st.sampled_from([None, 1, 3]),
    nulls=st.booleans(),
    sampling_rate=st.integers(1, 2),
    data=st.data(),
)
def test_arrow_data_is_read_like_an_array(dtype, rows, width, nulls, sampling_rate, data):
    random = np.random.default_rng(rows)
    shape = (rows,) if width is None else (rows, width)
    values = random.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    missing = random.random(shape) < 0.2 if nulls else np.zeros(shape, dtype=bool)

    def cuts():
        return sorted(data.draw(st.lists(st.integers(0, rows), max_size=5)))

    if width is None:
        columns = chunked(values, cuts(), missing)
    else:
        names = "abc"[:width]
        columns = arrow.table(
            [chunked(values[:, i], cuts(), missing[:, i]) for i in range(width)], list(names)
        )
    expected = np.where(missing, np.nan, values.astype(np.float32))
    spec = WindowSpec(4, horizon=2, sampling_rate=sampling_rate, stride=2)
    options = {"missing": "mask", "batch_size": 5, "shuffle": True, "seed": 3}
    batches = zip(
        Windows(columns, spec, **options), Windows(expected, spec, **options), strict=True
    )
    for (x, y, weights), (other_x, other_y, other_weights) in batches:
        assert x["past"].dtype == np.float32
        assert x.keys() == other_x.keys() == {"past", "past_mask"}
        for name in x:
            np.testing.assert_array_equal(x[name], other_x[name])
        np.testing.assert_array_equal(y, other_y)
        np.testing.assert_array_equal(weights, other_weights)


@pytest.mark.parametrize("form", ["array", "batch", "table"])
def test_every_kind_of_arrow_data_is_read(form):
    numbers = np.arange(10.0)
    columns = {
        "array": arrow.array(numbers),
        "batch": arrow.record_batch([numbers, -numbers], names=["a", "b"]),
        "table": arrow.table({"a": numbers, "b": -numbers}),
    }
    x, y = Windows(columns[form], WindowSpec(3))[0]
    if form == "array":
        assert (x.shape, y.shape) == ((7, 3, 1), (7, 1))
    else:
        assert x[2].tolist() == [[2, -2], [3, -3], [4, -4]]
        assert y[0].tolist() == [[3, -3]]


def test_a_pickled_copy_of_arrow_windows_gives_the_same_batches():
    windows = Windows(chunked(np.arange(20.0), [7, 9]), WindowSpec(3))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(windows))[0][0], windows[0][0])


def test_arrow_columns_can_be_targets_of_many_series():
    values = GroupedArray(np.arange(10.0), [0, 5, 10])
    _, y = Windows(values, WindowSpec(3), targets=arrow.array(np.arange(10, 20)))[0]
    assert y[:, 0].tolist() == [13, 14, 18, 19]


def test_a_mapped_file_of_arrow_is_not_loaded(tmp_path):
    numbers = np.random.default_rng(0).normal(size=(5000, 2))
    table = arrow.table({"a": numbers[:, 0], "b": numbers[:, 1]})
    with arrow.ipc.new_file(tmp_path / "rows.arrow", table.schema) as file:
        file.write_table(table, max_chunksize=700)
    before = arrow.total_allocated_bytes()
    with arrow.memory_map(str(tmp_path / "rows.arrow")) as file:
        mapped = arrow.ipc.open_file(file).read_all()
        windows = Windows(mapped, WindowSpec(30), batch_size=64, shuffle=True, seed=0)
        plain = Windows(numbers, WindowSpec(30), batch_size=64, shuffle=True, seed=0)
        for actual, expected in zip(batches(windows), batches(plain), strict=True):
            np.testing.assert_array_equal(actual, expected)
        assert arrow.total_allocated_bytes() - before < numbers.nbytes / 10


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (arrow.array(["a", "b"]), "string"),
        (arrow.array([1, 2], arrow.timestamp("s")), "timestamp"),
        (arrow.table({"a": [1.0], "b": ["x"]}), "string"),
    ],
)
def test_arrow_data_without_numbers_is_refused(columns, kind):
    with pytest.raises(ArgumentError, match="values must be Arrow data of numbers") as caught:
        Windows(columns, WindowSpec(1))
    assert f"type {kind}" in str(caught.value)


def test_a_null_that_may_not_be_missing_is_named_by_its_row():
    columns = arrow.chunked_array([[1.0, 2.0, 3.0], [4.0, None, 6.0]])
    windows = Windows(columns, WindowSpec(2), batch_size=10)
    with pytest.raises(DataError, match="values must have no missing values") as caught:
        windows[0]
    assert "NaN in series 0, row 4" in str(caught.value)


def write(path, values):
    np.asarray(values, dtype="float32").tofile(path)
    return np.memmap(path, "float32", "r")


@pytest.mark.parametrize(
    "use",
    [
        lambda mapped: mapped,
        lambda mapped: np.asarray(mapped)[:40],
        lambda mapped: mapped.reshape(-1, 2),
        lambda mapped: GroupedArray(mapped, [0, 20, 50]),
        lambda mapped: {"a": np.arange(50), "b": mapped},
    ],
)
def test_a_mapped_file_that_changes_is_refused_by_name(tmp_path, use):
    path = tmp_path / "values.bin"
    values = use(write(path, np.arange(50)))
    windows = Windows(values, WindowSpec(2, horizon=0), batch_size=4)
    windows[0]
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="must stay as it was") as caught:
        windows[1]
    assert str(path) in str(caught.value)
    assert "create new Windows" in str(caught.value)


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_shortened_mapped_file_is_refused_before_it_is_read(tmp_path, mode):
    path = tmp_path / "values.bin"
    write(path, np.arange(5000))
    windows = Windows(np.memmap(path, "float32", mode), WindowSpec(2), batch_size=4)
    os.truncate(path, 0)
    with pytest.raises(DataError, match="has changed"):
        windows[len(windows) - 1]


def test_a_writable_map_can_change_its_own_values(tmp_path):
    path = tmp_path / "values.bin"
    write(path, np.arange(50))
    mapped = np.memmap(path, "float32", "r+")
    windows = Windows(mapped, WindowSpec(2), batch_size=4)
    mapped[:] = 7
    mapped.flush()
    os.utime(path, ns=(1, 1))
    assert windows[0][0].min() == 7


def test_a_deleted_mapped_file_is_refused(tmp_path):
    windows = Windows(write(tmp_path / "values.bin", np.arange(50)), WindowSpec(2))
    (tmp_path / "values.bin").unlink()
    with pytest.raises(DataError, match="has changed"):
        windows[0]


def test_missing_values_in_a_mapped_file_are_found_when_they_are_read(tmp_path):
    values = np.arange(50.0)
    values[33] = np.nan
    mapped = write(tmp_path / "values.bin", values)
    windows = Windows(GroupedArray(mapped, [0, 20, 50]), WindowSpec(2), batch_size=4)
    windows[0]
    with pytest.raises(DataError, match="NaN in series 1, row 13") as caught:
        list(windows)
    assert "missing='mask'" in str(caught.value)


def test_results_of_arithmetic_on_a_map_are_arrays_in_memory(tmp_path):
    doubled = write(tmp_path / "values.bin", np.arange(50)) * 2
    windows = Windows(doubled, WindowSpec(2))
    (tmp_path / "values.bin").unlink()
    assert windows[0][0][1, :, 0].tolist() == [2, 4]


def test_a_file_that_is_shorter_than_its_map_is_an_error(tmp_path):
    np.save(tmp_path / "values.npy", np.arange(4096.0))
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    os.truncate(tmp_path / "values.npy", 5000)
    for values in (mapped, mapped[100:], mapped.reshape(-1, 2)):
        with pytest.raises(DataError, match=r"must hold all rows. Got: .*truncated"):
            Windows(values, WindowSpec(2))


MASK = np.arange(12) % 5 == 2


def masked(dtype, shape=(12,)):
    """Return a masked array, and the same with NaN."""
    plain = np.arange(12).astype(dtype)
    with_nan = np.where(MASK, np.nan, plain)
    return np.ma.masked_array(plain, MASK).reshape(shape), with_nan.reshape(shape)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(12,), (12, 1)])
@pytest.mark.parametrize("grouped", [False, True])
def test_what_a_mask_hides_is_missing(dtype, shape, grouped):
    values, with_nan = masked(dtype, shape)
    if grouped:
        values = GroupedArray.from_series([values[:6], values[6:]])
        with_nan = GroupedArray.from_series([with_nan[:6], with_nan[6:]])
    actual = Windows(values, WindowSpec(2), missing="mask")[0]
    expected = Windows(with_nan, WindowSpec(2), missing="mask")[0]
    assert not expected[0]["past_mask"].all()
    np.testing.assert_equal(actual, expected)
    with pytest.raises(DataError, match="values must have no missing values"):
        Windows(values, WindowSpec(2))


def test_a_mask_that_hides_nothing_changes_nothing():
    values = np.arange(12)
    windows = Windows(np.ma.masked_array(values, mask=False), WindowSpec(2), missing="mask")
    np.testing.assert_equal(windows[0], Windows(values, WindowSpec(2), missing="mask")[0])


@pytest.mark.parametrize(
    "arguments",
    [
        {"values": masked("float64")[0]},
        {"targets": masked("float64")[0]},
        {"targets": lambda index: masked("float64")[0][: len(index.row)]},
        {"future": masked("float64")[0]},
        {"static": masked("float64")[0][2:3]},
        {"static": [masked("float64")[0][2:4]]},
        {"weights": masked("float64")[0]},
        {"weights": lambda index: masked("float64")[0][: len(index.row)],
         "targets": lambda index: np.zeros(len(index.row))},
    ],
)  # fmt: skip
def test_every_argument_of_windows_sees_masks(arguments):
    arguments = {"values": np.arange(12.0), "spec": WindowSpec(2, horizon=1)} | arguments
    with pytest.raises(DataError, match=r"must have no missing values\. Got: NaN"):
        Windows(**arguments)[0]


def test_every_other_reader_of_arrays_sees_masks():
    values, with_nan = masked("float64")
    series = GroupedArray(values, [0, 5, 12])
    np.testing.assert_array_equal(series.values, with_nan)
    starts = np.array([0, 4])
    np.testing.assert_array_equal(
        gather(values, starts, timesteps=3), gather(with_nan, starts, timesteps=3)
    )
    scaler = StandardScaler().fit(GroupedArray(with_nan, [0, 5, 12]))
    np.testing.assert_array_equal(StandardScaler().fit(series).center_, scaler.center_)
    batch = values[:6].reshape(2, 3)
    for scale in (scaler.transform_batch, scaler.inverse_transform):
        np.testing.assert_array_equal(scale(batch), scale(with_nan[:6].reshape(2, 3)))
    for stateful in (values, [values, values], values.reshape(1, 6, 2), series):
        with pytest.raises(DataError, match="series must have no missing values"):
            StatefulBatches(stateful, batch_size=1, bptt_steps=2)
    with pytest.raises(DataError, match="targets must have no missing values"):
        StatefulBatches(np.arange(12.0), targets=values, batch_size=1, bptt_steps=2)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint32", "uint64"])
@pytest.mark.parametrize("number", [2**24 + 1, 2**31 - 1])
def test_integers_that_float32_rounds_are_named(dtype, number):
    values = np.array([1, 2, number, 4, 5], dtype)
    with pytest.warns(RoundedIntegersWarning, match=rf"values holds .*: {number} becomes \d+"):
        Windows(values, WindowSpec(2))
    with pytest.warns(RoundedIntegersWarning, match="series holds"):
        StatefulBatches(values, batch_size=1, bptt_steps=2)
    with pytest.warns(RoundedIntegersWarning, match="static holds"):
        Windows(np.arange(5), WindowSpec(2), static=values[2:3])


@pytest.mark.parametrize(
    "values",
    [
        np.array([2**24, -(2**24), 0, 1]),
        np.array([2**24, 2**24 + 2, 2**62, 4]),
        np.array([1, 2, 2**24 + 1, 4], "float32"),
        np.array([250, 3, 4, 5], "uint8"),
        np.array([True, False, True, True]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_integers_that_float32_holds_raise_no_warning(values):
    Windows(values, WindowSpec(2))


LEVEL = 1.7e9


CONSTANT_IN_FLOAT32 = [
    LEVEL + np.arange(20),
    LEVEL + np.arange(10_000),
    LEVEL + 60.0 * np.arange(1000),
    -LEVEL - np.arange(20.0),
    300 + 1e-6 * np.sin(np.arange(50.0)),
    np.stack([np.arange(20.0), LEVEL + np.arange(20)], axis=1),
]


@pytest.mark.parametrize(
    "values",
    [
        *CONSTANT_IN_FLOAT32,
        GroupedArray.from_series([np.arange(5.0), LEVEL + np.arange(20), np.arange(5.0)]),
        GroupedArray.from_series([np.arange(0.0), LEVEL + np.arange(20), np.arange(0.0)]),
    ],
)
def test_series_that_float32_makes_constant_are_refused(values):
    with pytest.raises(DataError, match=r"change by more than float32 can tell apart.* level"):
        Windows(values, WindowSpec(2))


@pytest.mark.parametrize("values", CONSTANT_IN_FLOAT32)
def test_the_advice_for_a_series_that_float32_makes_constant_leads_to_windows(values):
    with pytest.raises(DataError, match="astype"):
        StatefulBatches(values, batch_size=1, bptt_steps=2)
    assert Windows(values.astype("float32"), WindowSpec(2)).count == len(values) - 2
    assert Windows(values - values.mean(axis=0), WindowSpec(2)).count == len(values) - 2


@pytest.mark.parametrize(
    "values",
    [
        np.full(20, LEVEL + 1),
        np.full(20, 0.1) + np.resize([0, 1e-17, 2e-17], 20),
        0.1 + np.resize([0.2, 0.2 + 1e-16], 20),
        LEVEL + 86400.0 * np.arange(20),
        101_325 + np.sin(np.arange(50.0)),
        1 - np.exp(-np.arange(200.0)),
        1000 + 100 * np.sin(np.arange(1e6) * 1e-6),
        1e-30 * np.arange(20.0),
        np.array([1e30, 1, 2, 3, 4]),
        np.array([5.0]).repeat(3),
        np.linspace(-1, 1, 500) ** 3,
    ],
    ids=str,
)
def test_series_that_keep_their_shape_are_read(values):
    assert Windows(values, WindowSpec(2)).count == len(values) - 2

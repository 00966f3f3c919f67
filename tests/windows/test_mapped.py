"""Series in temporary files give what they give in memory, and leave nothing behind."""

import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from seqkeras.windows import GroupedArray, StandardScaler, Windows, WindowSpec
from seqkeras.windows import _grouped as grouped
from seqkeras.windows._mapped import MappedSeries, RowFile


def mapped(series, folder, pieces=3):
    with RowFile(str(folder)) as file:
        for part in np.array_split(series.values, pieces):
            file.append(part)
        return MappedSeries(file, series.indptr)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Cut series into blocks of eight numbers, so that some series have several."""
    monkeypatch.setattr(grouped, "BLOCK", 8)


@st.composite
def series(draw):
    lengths = draw(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    width = draw(st.sampled_from([None, 1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shape = (sum(lengths),) if width is None else (sum(lengths), width)
    values = rng.normal(5, 2, shape)
    values[rng.random(shape) < draw(st.sampled_from([0, 0.2]))] = np.nan
    return GroupedArray(values, np.cumsum([0, *lengths]))


def assert_same(actual, expected):
    assert isinstance(actual, MappedSeries)
    np.testing.assert_array_equal(actual.values, expected.values)
    np.testing.assert_array_equal(actual.indptr, expected.indptr)


@examples(30)
@given(series())
def test_series_in_a_file_give_what_series_in_memory_give(tmp_path_factory, series):
    file = mapped(series, tmp_path_factory.getbasetemp())
    np.testing.assert_array_equal(file.extremes(), series.extremes())
    assert_same(file.take([-1, 0]), series.take([-1, 0]))
    assert_same(
        file.select(series.lengths // 2, series.lengths),
        series.select(series.lengths // 2, series.lengths),
    )
    scaler, other = StandardScaler().fit(series), StandardScaler().fit(file)
    for name in ("center_", "scale_", "constant_"):
        np.testing.assert_array_equal(getattr(other, name), getattr(scaler, name))
    assert_same(other.transform(file), scaler.transform(series))
    float32 = other.transform(file, dtype=np.float32)
    assert_same(float32, GroupedArray(scaler.transform(series).values.astype("f4"), series.indptr))


@examples(30)
@given(series())
def test_what_is_computed_of_a_series_does_not_depend_on_the_others(series):
    together = StandardScaler().fit(series)
    for number, values in enumerate(series):
        alone = StandardScaler().fit(GroupedArray.from_series([values]))
        np.testing.assert_array_equal(alone.center_[0], together.center_[number])
        np.testing.assert_array_equal(alone.scale_[0], together.scale_[number])


def test_blocks_change_numbers_by_no_more_than_rounding(monkeypatch):
    values = np.random.default_rng(0).normal(3, 2, 1000)
    cut = StandardScaler().fit(GroupedArray.from_series([values]))
    assert cut.center_[0] == pytest.approx(values.mean(), rel=1e-12)
    assert cut.scale_[0] == pytest.approx(values.std(), rel=1e-12)


def test_windows_are_read_from_a_file(tmp_path):
    series = GroupedArray(np.arange(40.0), [0, 15, 40])
    spec = WindowSpec(4, horizon=2)
    windows, expected = (
        Windows(each, spec, shuffle=True, seed=0) for each in (mapped(series, tmp_path), series)
    )
    for actual, batch in zip(windows, expected, strict=True):
        np.testing.assert_array_equal(actual[0], batch[0])
        np.testing.assert_array_equal(actual[1], batch[1])


def test_the_files_have_no_names(tmp_path):
    file = mapped(GroupedArray(np.arange(40.0), [0, 15, 40]), tmp_path)
    assert file.take([0]).values.tolist() == list(range(15))
    assert list(tmp_path.iterdir()) == []


def test_series_without_rows_are_empty(tmp_path):
    empty = mapped(GroupedArray(np.empty((0, 2)), [0, 0]), tmp_path)
    assert empty.values.shape == (0, 2)


def test_a_full_disk_is_named(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=f"does not fit into {tmp_path}") as caught:
            mapped(GroupedArray(np.zeros(20_000), [0, 20_000]), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "scratch=" in str(caught.value)
    assert list(tmp_path.iterdir()) == []

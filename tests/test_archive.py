"""Tests of files with a JSON header and arrays: complete, damaged, foreign, hostile."""

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load_file

from helpers.examples import examples
from seqkeras._archive import (
    DTYPES,
    MAX_TABLE_BYTES,
    array_to_texts,
    read_archive,
    texts_to_array,
    write_archive,
)
from seqkeras.errors import ArgumentError, FileFormatError

KIND = {"kind": "seqkeras.Test", "version": 2}
several = examples(13)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive_file"


def write(path, **arrays):
    arrays = arrays or {"kernel": np.arange(6.0).reshape(2, 3), "mask": np.array([True, False])}
    return write_archive(path, {"layers": ["lstm"], "units": 3}, arrays, **KIND)


def table_of(path):
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def put(path, table, data):
    front = table if isinstance(table, bytes) else json.dumps(table).encode()
    path.write_bytes(len(front).to_bytes(8, "little") + front + data)


@pytest.mark.parametrize("mapped", [False, True])
@several
@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: name != "__metadata__"),
        st.sampled_from(list(DTYPES.values())).flatmap(
            lambda dtype: arrays(np.dtype(dtype), array_shapes(min_dims=0, min_side=0))
        ),
        max_size=4,
    )
)
def test_written_files_are_read_unchanged(tmp_path_factory, mapped, expected):
    path = tmp_path_factory.mktemp("archive") / "file"
    checksum = write_archive(path, {"a": [1, "é"]}, expected, **KIND)
    archive = read_archive(path, **KIND, mapped=mapped)
    assert archive.header == {"a": [1, "é"]}
    assert archive.checksum == checksum
    assert archive.version == KIND["version"]
    assert list(archive.arrays) == list(expected)
    for name, array in expected.items():
        assert archive.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(archive.arrays[name], array)


@pytest.mark.parametrize("mapped", [False, True])
def test_bfloat16_and_the_bytes_of_a_file_are_arrays_too(path, mapped):
    weights = np.array([[1.5, -2.0], [np.inf, 3e38]], ml_dtypes.bfloat16)
    network = np.frombuffer(b"PK\x03\x04 any bytes", np.uint8)
    write(path, weights=weights, network=network)
    read = read_archive(path, **KIND, mapped=mapped).arrays
    assert read["weights"].dtype == weights.dtype
    assert read["weights"].tobytes() == weights.tobytes()
    assert read["network"].tobytes() == network.tobytes()


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_texts_survive_as_an_array(texts):
    assert array_to_texts(texts_to_array("ids", texts)) == texts


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_texts_that_an_array_cannot_hold_are_named(text):
    with pytest.raises(ArgumentError, match="ids must be text"):
        texts_to_array("ids", ["good", text])


@pytest.mark.parametrize("array", [np.array([65], np.uint8), np.zeros(3), np.zeros((1, 1), "u1")])
def test_other_arrays_are_not_texts(array):
    with pytest.raises(ValueError, match="not a list of texts"):
        array_to_texts(array)


def test_the_layout_is_that_of_safetensors(path):
    write(path)
    read = load_file(path)
    np.testing.assert_array_equal(read["kernel"], np.arange(6.0).reshape(2, 3))


def test_arrays_begin_at_a_multiple_of_64_bytes(path):
    write(path)
    _, data = table_of(path)
    assert (path.stat().st_size - len(data)) % 64 == 0


def test_mapped_arrays_are_read_only(path):
    write(path)
    kernel = read_archive(path, **KIND, mapped=True).arrays["kernel"]
    with pytest.raises(ValueError, match="read-only"):
        kernel[0, 0] = 1.0


def test_every_shortened_file_is_refused(path):
    write(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match="archive_file"):
            read_archive(path, **KIND)


@pytest.mark.parametrize("mapped", [False, True])
def test_every_flipped_bit_is_noticed(path, mapped):
    write(path)
    content = bytearray(path.read_bytes())
    end = len(content) - len(table_of(path)[1])
    padding = set(range(8 + len(bytes(content[8:end]).rstrip()), end))
    for position in set(range(len(content))) - padding:
        changed = content.copy()
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(FileFormatError):
            read_archive(path, **KIND, mapped=mapped)


@examples(34)
@given(st.binary(max_size=200))
def test_noise_is_refused(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("archive") / "file"
    for content in (noise, len(noise).to_bytes(8, "little") + noise):
        path.write_bytes(content)
        with pytest.raises(FileFormatError):
            read_archive(path, **KIND)


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [2**40, 2**40]},
        {"shape": [-2, -3]},
        {"shape": [2.0, 3.0]},
        {"shape": [True, 6]},
        {"shape": 6},
        {"dtype": "object"},
        {"dtype": "F32"},
        {"data_offsets": [0, 2**63]},
        {"data_offsets": [-48, 0]},
        {"data_offsets": [0]},
    ],
)
def test_invalid_sizes_are_refused(path, entry):
    write(path)
    table, data = table_of(path)
    table["kernel"].update(entry)
    put(path, table, data)
    with pytest.raises(FileFormatError, match="damaged"):
        read_archive(path, **KIND)


def test_a_table_larger_than_the_file_is_not_read(path):
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(FileFormatError, match="it declares a table of 4611686018427387904 bytes"):
        read_archive(path, **KIND)


def test_a_table_of_many_megabytes_is_refused_unparsed(path):
    put(path, b'{"a": [' + b"[]," * (MAX_TABLE_BYTES // 3) + b"[]]}", b"")
    with pytest.raises(FileFormatError, match=f"the limit is {MAX_TABLE_BYTES}"):
        read_archive(path, **KIND)


def test_a_header_that_could_not_be_read_again_is_not_written(path):
    with pytest.raises(ArgumentError, match=r"header must be at most .* long lists into arrays"):
        write_archive(path, {"ids": ["x" * 100] * (MAX_TABLE_BYTES // 100)}, {}, **KIND)
    assert not path.exists()


def test_a_file_larger_than_the_caller_accepts_is_not_read(path):
    write(path)
    size = path.stat().st_size
    assert read_archive(path, **KIND, max_bytes=size)
    with pytest.raises(FileFormatError, match=rf"at most {size - 1} bytes\. Got: {size} bytes"):
        read_archive(path, **KIND, max_bytes=size - 1)


def test_deeply_nested_json_is_refused(path):
    put(path, b"[" * 100_000, b"")
    with pytest.raises(FileFormatError):
        read_archive(path, **KIND)


def test_another_kind_is_named(path):
    write(path)
    with pytest.raises(FileFormatError, match=r"not a seqkeras.Other .*Got: 'seqkeras.Test'"):
        read_archive(path, kind="seqkeras.Other", version=2)


def test_a_later_version_is_refused_with_the_fix(path):
    write(path)
    with pytest.raises(FileFormatError, match=r"format 2, .* up to 1.*pip install -U seqkeras"):
        read_archive(path, kind="seqkeras.Test", version=1)


def test_a_file_is_replaced_only_by_a_complete_one(path):
    write(path)
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="text must be an array of one of"):
        write(path, text=np.array(["a"]))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ArgumentError, match="path must be a file in a folder that exists"):
        write(tmp_path / "none" / "file")

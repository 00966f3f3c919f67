"""Vectors of words for an embedding."""

import gzip

import numpy as np
import pytest

from seqkeras.errors import ArgumentError, DataError
from seqkeras.text import Vocabulary, load_vectors

VOCABULARY = Vocabulary(["the", "time", "New York", "cave"], pad="<pad>")


def load(tmp_path, text, compress=False):
    path = tmp_path / "vectors.txt"
    data = text.encode()
    path.write_bytes(gzip.compress(data) if compress else data)
    return load_vectors(path, VOCABULARY)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("header", ["", "5 2\n"])
def test_vectors_stand_in_the_order_of_the_ids(tmp_path, header, compress):
    text = header + "of 9 9\ntime 0.5 -1e-2 \r\nNew York 3 4\nthe 1 2\nthe 7 7\n"
    matrix, missing = load(tmp_path, text, compress)
    assert missing == ["<pad>", "<unk>", "cave"]
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(VOCABULARY), 2)
    expected = {"the": [1, 2], "time": [0.5, -0.01], "New York": [3, 4]}
    for token in VOCABULARY:
        np.testing.assert_allclose(matrix[VOCABULARY[token]], expected.get(token, [0, 0]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no vectors"),
        ("of 1 2\nin 3 4\n", "vectors of none of them"),
        ("the 1 2\ntime 1\n", "Line 2 of .*have 2 numbers"),
        ("the 1 2\ntime 1 x\n", "Line 2 of .*have numbers after the word"),
        ("the 1 nan\n", "Line 1 of .*finite"),
        ("the\n", "Line 1 of .*have some numbers"),
    ],
)
def test_damaged_files_are_refused_by_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load(tmp_path, text)


def test_only_a_vocabulary_is_accepted(tmp_path):
    with pytest.raises(ArgumentError, match="vocabulary must be a Vocabulary"):
        load_vectors(tmp_path / "vectors.txt", ["the"])

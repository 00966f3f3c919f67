"""Parallel corpora in files."""

import gzip

import pytest

from seqkeras.errors import ArgumentError, DataError
from seqkeras.text import read_pairs

TEXT = "\ufeffGo.\tVa !\tAnn\r\n\nWake up.\t Réveille-toi\u202f! \tBob\r\n"


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def path(request, tmp_path):
    path = tmp_path / "pairs.tsv"
    data = TEXT.encode()
    path.write_bytes(gzip.compress(data) if request.param else data)
    return path


def test_pairs_are_read_without_marks_and_empty_lines(path):
    assert read_pairs(path) == (["Go.", "Wake up."], ["Va !", "Réveille-toi\u202f!"])


def test_columns_can_be_chosen(path):
    assert read_pairs(str(path), columns=(2, 0)) == (["Ann", "Bob"], ["Go.", "Wake up."])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n\nc\n", "Line 3 of .*have 2 columns"),
        ("a\tb\nc\t \n", "Line 2 of .*have a source and a target"),
    ],
)
def test_lines_that_are_no_pairs_are_refused_by_number(tmp_path, text, message):
    path = tmp_path / "pairs.tsv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(path)


def test_files_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_bytes("é\té\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read_pairs(path)
    path.write_bytes(gzip.compress(TEXT.encode())[:20])
    with pytest.raises(DataError, match="whole text file"):
        read_pairs(path)


@pytest.mark.parametrize("columns", [(0, 0), (0,), (0, -1), (0, 1.0), "01", 2])
def test_columns_that_are_not_two_are_refused(path, columns):
    with pytest.raises(ArgumentError, match="two different columns"):
        read_pairs(path, columns)

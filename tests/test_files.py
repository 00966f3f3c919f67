"""Tests of files that are always complete."""

from pathlib import Path

import pytest

from seqkeras._files import whole_file
from seqkeras.errors import ArgumentError


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with whole_file(path) as part:
        assert Path(part).parent == tmp_path
        assert Path(part).suffix == ".keras"
        Path(part).write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_nothing_has_changed(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def stop():
        with whole_file(path) as part:
            Path(part).write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stop()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", ["none/file", "."])
def test_a_path_that_cannot_be_a_file_is_refused(tmp_path, path):
    with (
        pytest.raises(ArgumentError, match="path must be a file in a folder that exists"),
        whole_file(tmp_path / path),
    ):
        pass

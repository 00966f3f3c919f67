"""Tests of files that are always complete."""

import os
import stat
from pathlib import Path

import pytest

from seqkeras._files import MAX_MESSAGE, open_file, shortened, whole_file
from seqkeras.errors import ArgumentError, FileFormatError


def write(path, text="new"):
    with whole_file(path) as part:
        Path(part).write_text(text)


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


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o755, 0o666])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    with whole_file(path) as part:
        assert stat.S_IMODE(os.stat(part).st_mode) == 0o600  # private until it is complete
        Path(part).write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    write(tmp_path / "file")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_root_keeps_the_owner_of_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@pytest.mark.parametrize("target", ["target", "folder/target", "new"])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, target):
    (tmp_path / "folder").mkdir()
    if target != "new":
        (tmp_path / target).write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert (tmp_path / target).read_text() == "new"


def test_a_device_or_a_pipe_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(os.devnull)
    for path in (pipe, link, Path(os.devnull)):
        with pytest.raises(ArgumentError, match=r"path must be a regular file\. Got: .* a device"):
            write(path)
    assert pipe.is_fifo()
    assert Path(os.devnull).is_char_device()
    with pytest.raises(FileFormatError, match="pipe must be a regular file"):
        open_file(pipe)


def test_nothing_is_written_through_a_planted_link(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(os, "urandom", lambda count: b"\0" * count)
    (tmp_path / f".file.{os.getpid()}.00000000.part").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write(tmp_path / "file")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    "name", ["n" * 255, "é" * 127, "n." + "s" * 253, "日" * 80 + ".program", "." + "n" * 254]
)
def test_a_name_can_be_as_long_as_the_file_system_allows(tmp_path, name):
    write(tmp_path / name)
    assert (tmp_path / name).read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_two_writers_at_once_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        Path(first).write_text("first")
        Path(second).write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_long_message_is_shortened():
    assert shortened(ValueError("short")) == "short"
    text = shortened("a" * 10**6 + "end")
    assert len(text) < MAX_MESSAGE + 10
    assert text.endswith("end")

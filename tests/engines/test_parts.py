"""Tests of work in parts that are stored, and done once."""

import os
import signal
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

from seqkeras.engines import Joblib
from seqkeras.engines._parts import Result, Work, groups
from seqkeras.errors import ArgumentError, DataError, FileFormatError, SkippedSeriesWarning

HERE = Joblib(n_jobs=1)


class Squares:
    """Squares numbers, and notes which."""

    def __init__(self, fails_at=None):
        self.done = []
        self.fails_at = fails_at

    def __call__(self, number):
        self.done.append(number)
        if number == self.fails_at:
            raise DataError(f"{number} has no square")
        return Result({"square": np.array([number**2])}, {"root": number})


def squares(function, numbers=range(4), **inputs):
    return Work("squares", "number", function, {f"number {n}": n for n in numbers}, inputs)


def values(results):
    return [(int(result.arrays["square"][0]), result.facts["root"]) for result in results]


def test_what_is_stored_is_not_done_again(tmp_path):
    first = Squares()
    folder = tmp_path / "new" / "folder"
    expected = [(n * n, n) for n in range(4)]
    assert values(squares(first).run(HERE, folder)) == expected
    assert first.done == [0, 1, 2, 3]
    (folder / "squares-3.result").unlink()
    again = Squares()
    assert values(squares(again).run(HERE, folder)) == expected
    assert again.done == [2]


def test_arrays_come_back_to_the_bit(tmp_path):
    arrays = {
        "doubles": np.array([0.1, np.nan, -np.inf, 5e-324]),
        "floats": np.ones((2, 3), np.float32) / 3,
        "flags": np.array([True, False]),
        "none": np.empty((0, 4)),
    }
    work = Work("arrays", "part", lambda _: Result(arrays), {"all": 0}, {})
    work.run(HERE, tmp_path)
    stored = work.run(HERE, tmp_path)[0].arrays
    assert stored.keys() == arrays.keys()
    for name, array in arrays.items():
        assert stored[name].dtype == array.dtype
        assert stored[name].tobytes() == array.tobytes()


def test_after_an_error_the_finished_parts_stay_and_the_part_is_named(tmp_path):
    with pytest.raises(DataError, match="2 has no square") as caught:
        squares(Squares(fails_at=2)).run(HERE, tmp_path)
    assert "number 2 of the squares" in caught.value.__notes__[0]
    assert "2 are stored" in caught.value.__notes__[0]
    rest = Squares()
    assert values(squares(rest).run(HERE, tmp_path)) == [(n * n, n) for n in range(4)]
    assert rest.done == [2, 3]


@pytest.mark.parametrize(
    "change", [{"data": "b"}, {"data": "a", "more": "c"}, {"numbers": [1, 0, 2, 3]}]
)
def test_parts_of_other_inputs_are_refused_and_stay(change, tmp_path):
    squares(Squares(), data="a").run(HERE, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    unused = Squares()
    with pytest.raises(
        ArgumentError, match=r"folder must be empty.*computed with other (data|more|part)"
    ):
        squares(unused, **{"data": "a"} | change).run(HERE, tmp_path)
    assert not unused.done
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_parts_of_other_versions_are_refused(tmp_path, monkeypatch):
    squares(Squares()).run(HERE, tmp_path)
    monkeypatch.setattr("seqkeras.__version__", "0.0.1")
    with pytest.raises(ArgumentError, match="computed with other versions"):
        squares(Squares()).run(HERE, tmp_path)


def test_a_changed_file_is_refused(tmp_path):
    squares(Squares()).run(HERE, tmp_path)
    path = tmp_path / "squares-1.result"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"squares-1\.result"):
        squares(Squares()).run(HERE, tmp_path)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"squares-1\.result"):
        squares(Squares()).run(HERE, tmp_path)


def test_different_work_shares_a_folder(tmp_path):
    squares(Squares()).run(HERE, tmp_path)
    other = Work("cubes", "part", lambda n: Result({"cube": np.array(n)}), {"one": 8}, {"a": "b"})
    assert other.run(HERE, tmp_path)[0].arrays["cube"] == 8


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match="folder must be a folder in which files can be"):
        squares(Squares()).run(HERE, tmp_path / "file")
    with pytest.raises(ArgumentError, match=r"Got: folder=5"):
        squares(Squares()).run(HERE, 5)


def test_a_folder_in_use_is_refused_and_free_again_once_its_user_was_killed(tmp_path):
    script = textwrap.dedent(
        """
        import sys, time
        from seqkeras._files import locked
        with locked(sys.argv[1], Exception()):
            print("locked", flush=True)
            time.sleep(60)
        """
    )
    lock = str(tmp_path / ".squares.lock")
    command = [sys.executable, "-c", script, lock]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as user:
        assert user.stdout.readline() == b"locked\n"
        with pytest.raises(ArgumentError, match="a folder that no other call is using"):
            squares(Squares()).run(HERE, tmp_path)
        user.send_signal(signal.SIGKILL)
        user.wait()
    squares(Squares()).run(HERE, tmp_path)


def test_warnings_are_repeated_once_also_from_files_and_other_processes(tmp_path):
    def warn(number):
        import warnings

        from seqkeras.errors import SkippedSeriesWarning

        warnings.warn("short", SkippedSeriesWarning, stacklevel=1)
        warnings.warn(f"old {number}", DeprecationWarning, stacklevel=1)
        from seqkeras.engines._parts import Result

        return Result({})

    work = Work("warnings", "part", warn, {"a": 0, "b": 1}, {})
    for engine, folder in ((Joblib(n_jobs=2), tmp_path), (HERE, tmp_path), (HERE, None)):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            work.run(engine, folder)
        assert {(warning.category, str(warning.message)) for warning in warned} == {
            (SkippedSeriesWarning, "short"),
            (DeprecationWarning, "old 0"),
            (DeprecationWarning, "old 1"),
        }
        assert len(warned) == 3


def test_an_interrupt_keeps_what_was_ready(interruptible, tmp_path):
    class Interrupted(Squares):
        def __call__(self, number):
            if number == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return super().__call__(number)

    with pytest.raises(KeyboardInterrupt):
        squares(Interrupted()).run(HERE, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "squares-1.result",
        "squares-2.result",
    ]


def test_groups_have_at_least_the_size_and_each_series_once():
    assert groups([], 3) == []
    assert groups([5], 3) == [range(1)]
    assert groups([1, 1, 1, 1], 2) == [range(2), range(2, 4)]
    assert groups([1, 1, 1], 2) == [range(2), range(2, 3)]

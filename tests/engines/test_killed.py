"""Tests of backtests whose process is killed, and started again."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from seqkeras.engines._worker import THREADS

FOLDS = 10
SCRIPT = Path(__file__).with_name("noted_backtest.py")
#: Seconds after which a backtest counts as hanging.
LONGEST = 300


def start(engine, folder, fits, frame):
    """Start the backtest in a process group of its own, with as many threads as a worker has."""
    command = [str(part) for part in (sys.executable, SCRIPT, engine, folder, fits, frame)]
    with open(f"{frame}.errors", "w") as errors:
        options = {"env": os.environ | dict.fromkeys(THREADS, "1"), "start_new_session": True}
        return subprocess.Popen(command, stdout=errors, stderr=errors, **options)


def finish(process, frame):
    """Wait for the end of a backtest, and return its frame."""
    process.wait(timeout=LONGEST)
    assert process.returncode == 0, errors_of(frame)
    return pd.read_pickle(frame)


def errors_of(frame):
    return Path(f"{frame}.errors").read_text()


def stored(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("backtest-*.result")}


def fits(path):
    """Return how often each fit has begun, and how often it was done."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Counter(rows for word, rows in lines if word == kind) for kind in ("begin", "done")]


@pytest.fixture(scope="session")
def serial(tmp_path_factory):
    """The frame of the backtest in one process."""
    folder = tmp_path_factory.mktemp("serial")
    frame = finish(start("", "", folder / "fits", folder / "frame"), folder / "frame")
    begun, done = fits(folder / "fits")
    assert len(begun) == FOLDS
    assert begun == done == Counter(begun.keys())
    return frame


def wait_for(process, folder, count):
    """Wait until some of the folds are stored."""
    deadline = time.monotonic() + LONGEST
    while len(stored(folder)) < count:
        assert process.poll() is None, errors_of(folder.with_name("frame"))
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(session):
    """Return the processes of a session that have not ended."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                processes.append(path.parent.name)
    return processes


@pytest.fixture(params=["joblib", "ray", "dask"])
def name(request):
    if request.param != "joblib":
        pytest.importorskip({"dask": "distributed"}.get(request.param, request.param))
    return request.param


def test_a_killed_backtest_goes_on_where_it_was_and_gives_the_frame_of_one_process(
    name, serial, tmp_path
):
    folder = tmp_path / "folder"
    first = start(name, folder, tmp_path / "first", tmp_path / "frame")
    moment = random.uniform(1, FOLDS - 2)
    wait_for(first, folder, int(moment))
    time.sleep(moment % 1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done_before = stored(folder)
    assert not (tmp_path / "frame").exists()

    second = start(name, folder, tmp_path / "second", tmp_path / "frame")
    frame = finish(second, tmp_path / "frame")
    pd.testing.assert_frame_equal(frame, serial, check_exact=True)
    after = stored(folder)
    assert len(after) == FOLDS
    assert {path: after[path] for path in done_before} == done_before
    begun, done = fits(tmp_path / "second")
    assert begun == done == Counter(begun.keys())
    assert len(begun) == FOLDS - len(done_before)
    # Together: what was done and stored before was not begun again.
    finished_before = fits(tmp_path / "first")[1]
    assert len(set(finished_before) - set(begun)) >= len(done_before)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ctrl_c_ends_the_workers_and_keeps_what_was_ready(interruptible, name, tmp_path):
    folder = tmp_path / "folder"
    process = start(name, folder, tmp_path / "fits", tmp_path / "frame")
    wait_for(process, folder, 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.wait(timeout=LONGEST)
    assert process.returncode != 0
    deadline = time.monotonic() + 30
    while running(process.pid):
        assert time.monotonic() < deadline, running(process.pid)
        time.sleep(0.1)
    assert 1 <= len(stored(folder)) < FOLDS
    assert not list(folder.glob("*.part*"))

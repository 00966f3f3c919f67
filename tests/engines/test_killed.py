"""Tests of backtests whose process is killed, and started again."""

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

FOLDS = 10
SCRIPT = Path(__file__).with_name("noted_backtest.py")
#: Seconds after which a backtest counts as hanging.
LONGEST = 300


def start(engine, folder, fits, frame):
    """Start the backtest in a process group of its own."""
    command = [sys.executable, SCRIPT, engine, folder, fits, frame]
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True}
    return subprocess.Popen([str(part) for part in command], **options)


def finish(process):
    errors = process.communicate(timeout=LONGEST)[1].decode()
    assert process.returncode == 0, errors


def stored(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.result")}


def fits(path):
    """Return how often each fit has begun, and how often it was done."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Counter(rows for word, rows in lines if word == kind) for kind in ("begin", "done")]


@pytest.fixture(scope="session")
def serial(tmp_path_factory):
    """The frame of the backtest in one process."""
    folder = tmp_path_factory.mktemp("serial")
    finish(start("", "", folder / "fits", folder / "frame"))
    begun, done = fits(folder / "fits")
    assert len(begun) == FOLDS
    assert begun == done == Counter(begun.keys())
    return pd.read_pickle(folder / "frame")


@pytest.mark.parametrize("name", ["joblib", "ray", "dask"])
def test_a_killed_backtest_goes_on_where_it_was_and_gives_the_frame_of_one_process(
    name, serial, tmp_path
):
    if name != "joblib":
        pytest.importorskip({"dask": "distributed"}.get(name, name))
    folder = tmp_path / "folder"
    first = start(name, folder, tmp_path / "first", tmp_path / "frame")
    moment = random.uniform(1, FOLDS - 2)
    deadline = time.monotonic() + LONGEST
    while len(stored(folder)) < int(moment):
        assert first.poll() is None, first.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(moment % 1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done_before = stored(folder)
    assert not (tmp_path / "frame").exists()

    finish(start(name, folder, tmp_path / "second", tmp_path / "frame"))
    pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / "frame"), serial, check_exact=True)
    after = stored(folder)
    assert len(after) == FOLDS
    assert {path: after[path] for path in done_before} == done_before
    begun, done = fits(tmp_path / "second")
    assert begun == done == Counter(begun.keys())
    assert len(begun) == FOLDS - len(done_before)
    # Together: what was done and stored before was not begun again.
    finished_before = fits(tmp_path / "first")[1]
    assert len(set(finished_before) - set(begun)) >= len(done_before)

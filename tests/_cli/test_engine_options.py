"""The options of commands whose work has parts."""

import pandas as pd
import pytest

from seqkeras.__main__ import main
from seqkeras._cli import _engine_options
from seqkeras.engines._choice import ENGINES
from seqkeras.forecasting import load_air_passengers

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_air_passengers().to_csv("air.csv", index=False)
    return tmp_path


def backtest(*arguments):
    small = ["--horizon", "2", "--lookback", "12", "--units", "2", "--epochs", "1", "--force"]
    return main(["backtest", "air.csv", *small, "--windows", "2", "--refit", "1", *arguments])


def test_a_backtest_is_stored_and_read_from_its_folder(here, capsys):
    assert backtest("--seed", "0", "--folder", "parts") == 0
    first = pd.read_csv("air_backtest.csv")
    stored = {path.name: path.stat().st_mtime_ns for path in (here / "parts").iterdir()}
    assert sorted(stored) == ["backtest-1.result", "backtest-2.result"]
    assert backtest("--seed", "0", "--folder", "parts") == 0
    pd.testing.assert_frame_equal(pd.read_csv("air_backtest.csv"), first, check_exact=True)
    assert {path.name: path.stat().st_mtime_ns for path in (here / "parts").iterdir()} == stored
    capsys.readouterr()
    assert backtest("--seed", "1", "--folder", "parts") == 1
    assert "--folder must be empty, or that of an earlier backtest" in capsys.readouterr().err


def test_jobs_are_those_of_joblib(here, capsys):
    assert backtest("--engine", "ray", "--jobs", "2") == 1
    assert "--jobs must be omitted with --engine='ray'" in capsys.readouterr().err


def test_the_choices_are_those_of_the_library():
    assert tuple(ENGINES) == _engine_options.ENGINES

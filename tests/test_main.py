"""The command line, as a user calls it."""

import subprocess
import sys

import pandas as pd
import pytest

from seqkeras.__main__ import main
from seqkeras.forecasting import load_air_passengers


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def forecast(*arguments):
    return main(["forecast", *map(str, arguments), "--epochs", "2"])


def test_the_demo_prints_a_table_a_score_and_leaves_a_picture(here):
    command = [sys.executable, "-m", "seqkeras", "demo"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    assert "1960-12-01" in done.stdout
    assert "seasonal naive" in done.stdout
    assert done.stderr == ""
    assert (here / "forecast.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_of_one_series_is_forecast(here, capsys, suffix):
    df = load_air_passengers().rename(columns={"ds": "month", "y": "passengers"})
    getattr(df, "to_" + suffix[1:])(f"air{suffix}", index=False)
    options = ["--time-col", "month", "--target-col", "passengers", "--horizon", 6]
    assert forecast(f"air{suffix}", *options) == 0
    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    written = read(f"air_forecast{suffix}")
    assert pd.to_datetime(written.month).tolist() == list(
        pd.date_range("1961-01-01", periods=6, freq="MS")
    )
    assert {"yhat", "yhat-lo-95", "yhat-hi-95"} <= set(written)
    assert (here / "air_forecast.png").exists()
    assert "seasonal naive" in capsys.readouterr().out


def test_a_file_of_many_series_is_forecast(here):
    df = load_air_passengers()
    both = pd.concat([df.assign(line=1), df.assign(line=2, y=df.y * 2)])
    both.to_csv("lines.csv", index=False)
    assert forecast("lines.csv", "--id-col", "line", "--horizon", 3, "--no-score") == 0
    assert pd.read_csv("lines_forecast.csv").line.tolist() == [1, 1, 1, 2, 2, 2]


def test_files_that_are_there_are_not_overwritten_unless_forced(here, capsys):
    load_air_passengers().to_csv("air.csv", index=False)
    (here / "air_forecast.csv").write_text("mine")
    assert forecast("air.csv", "--horizon", 3) == 1
    assert "air_forecast.csv is there already. Give --force" in capsys.readouterr().err
    assert (here / "air_forecast.csv").read_text() == "mine"
    assert forecast("air.csv", "--horizon", 3, "--no-score", "--force") == 0
    assert (here / "air_forecast.csv").read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.csv", "--horizon", 3], "missing.csv"),
        (["air.csv", "--horizon", 3, "--time-col", "d"], "time_col must be a column of df"),
        (["air.csv", "--horizon", 0], "horizon must be an integer >= 1"),
        (["air.csv", "--horizon", 3, "--output", "no/such.csv"], "The folder no does not exist"),
        (["air.csv", "--horizon", 3, "--freq", "D"], "expected 1949-01-02"),
    ],
)
def test_a_mistake_is_answered_in_one_line(here, capsys, arguments, words):
    load_air_passengers().to_csv("air.csv", index=False)
    assert forecast(*arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("seqkeras: ")
    assert words in message
    assert "Traceback" not in message


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("seqkeras 0.")

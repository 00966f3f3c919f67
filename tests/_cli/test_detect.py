"""The command `detect`, as a user calls it."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from seqkeras.__main__ import main

pytestmark = pytest.mark.usefixtures("eagerly")

ROWS = 240
ANOMALY = 200


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pump(**columns):
    """Return a series of hours with a peak, and a valve that moves it."""
    valve = np.arange(ROWS) // 20 % 2
    pressure = 10 + valve + np.sin(np.arange(ROWS) / 4)
    pressure[ANOMALY] += 8
    hours = pd.date_range("2024-01-01", periods=ROWS, freq="h")
    return pd.DataFrame({"timestamp": hours, "pressure": pressure, "valve": valve} | columns)


def detect(*arguments):
    return main(["detect", *map(str, arguments), "--lookback", "12", "--epochs", "1"])


def test_scores_intervals_and_a_picture_of_two_series_are_written(here, capsys):
    both = pd.concat([pump(machine="007"), pump(machine="NA").iloc[:-1]])
    mixed = both.sample(frac=1, random_state=0)
    mixed.to_csv("pumps.csv", index=False, sep=";", decimal=",")
    form = ["--sep", ";", "--decimal", ",", "--sort", "--id-col", "machine"]
    rows = ["--context", "valve", "--train-rows", 150, "--contamination", 0.02, "--merge", 5]
    assert detect("pumps.csv", *form, *rows) == 0
    said = capsys.readouterr().out

    scores = pd.read_csv("pumps_scores.csv", dtype={"machine": str}, keep_default_na=False)
    assert scores.columns.tolist() == ["machine", "timestamp", "score", "threshold", "flagged"]
    assert scores.groupby("machine").size().to_dict() == {"007": ROWS, "NA": ROWS - 1}
    assert (scores.flagged == (scores.score > scores.threshold)).all()
    trained = scores.groupby("machine").cumcount() < 150
    assert scores.flagged[trained].sum() == 6  # 2 % of 300
    assert "of those trained on: 6 of 300 rows (2.00%)" in said
    flagged = int(scores.flagged.sum())
    assert f"Flagged: {flagged} of {2 * ROWS - 1} rows" in said

    intervals = pd.read_csv("pumps_intervals.csv", dtype={"machine": str}, keep_default_na=False)
    columns = ["machine", "start", "end", "rows", "severity", "peak"]
    assert intervals.columns.tolist() == columns
    anomaly = str(pump().timestamp[ANOMALY])
    for machine in ("007", "NA"):
        own = intervals[intervals.machine == machine]
        worst = own.loc[own.severity.idxmax()]
        assert worst.start <= anomaly <= worst.end
        assert worst.start <= worst.peak <= worst.end
        score = scores[(scores.machine == machine) & (scores.timestamp == worst.peak)].iloc[0]
        assert score.score - score.threshold == pytest.approx(worst.severity)
    assert (here / "pumps_detection.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_without_timestamps_is_numbered_and_gaps_of_values_are_filled(here, capsys):
    values = pump()[["pressure"]]
    values.loc[5:6, "pressure"] = np.nan
    values.to_csv("bare.csv", index=False)
    assert detect("bare.csv") == 1
    assert "none in row 6 (2 missing in all). Fill them in" in capsys.readouterr().err
    options = ["--fill", "interpolate", "--detector", "autoencoder", "--false-alarm-rate", 0.1]
    assert detect("bare.csv", *options, "--plot", "bare.svg", "--output", "s.csv") == 0
    said = capsys.readouterr()
    assert "2 missing values: interpolated" in said.err
    assert "of --contamination" not in said.out
    scores = pd.read_csv("s.csv")
    assert scores.row.tolist() == list(range(1, ROWS + 1))
    assert abs(scores.score.idxmax() - ANOMALY) < 20  # scores are smoothed
    assert scores.threshold.nunique() > 1  # follows the scores
    assert "<svg" in (here / "bare.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.csv"], "none.csv"),
        (["pump.csv", "--columns", "presure"], "--columns must be a column of pump.csv"),
        (["pump.csv", "--context", "valves"], "--context must be a column of pump.csv"),
        (["pump.csv", "--time-col", "when"], "--time-col must be a column of pump.csv"),
        (["pump.csv", "--columns", "valve", "--context", "valve"], "must be different columns"),
        (["pump.csv", "--contamination", 0.6], "--contamination must be above 0 and at most 0.5"),
        (["pump.csv", "--contamination", 0.1, "--clean"], "Use --false-alarm-rate."),
        (["pump.csv", "--false-alarm-rate", 1], "--false-alarm-rate must be a number between"),
        (["pump.csv", "--train-rows", 0], "--train-rows must be an integer >= 1"),
        (["pump.csv", "--merge", -1], "--merge must be an integer >= 0"),
        (["pump.csv", "--output", "pump.csv", "--force"], "different files"),
        (["pump.csv", "--intervals", "pump.txt"], ".csv or .parquet"),
        (["pump.csv", "--output", "there.csv"], "there.csv exists already. Use --force"),
        (["empty.csv"], "empty.csv must be readable as csv"),
        (["stamps.csv"], "stamps.csv must have a column to score"),
        (["taken.csv", "--time-col", "score"], "--time-col must be a column with another name"),
        (["semi.csv", "--sep", ","], "Omit --sep, or use --sep ';'"),
        (["text.csv"], "Name the columns to score with --columns."),
        (["zeit.csv"], "and that of timestamps with --time-col."),
        (["gap.csv"], "Got: 1 in all, the first before 2024-01-01T06:00:00. Use --ignore-gaps."),
        (["late.csv"], "Use --sort, and keep one row for each timestamp."),
    ],
)
def test_a_mistake_is_told_in_one_line_before_keras_is_imported(
    here, capsys, monkeypatch, arguments, words
):
    files = {
        "pump": pump(),
        "stamps": pump()[["timestamp"]],
        "taken": pump().rename(columns={"timestamp": "score"}),
        "text": pump(state="ok"),
        "zeit": pump().rename(columns={"timestamp": "Zeit"}),
        "gap": pump().drop(index=5),
        "late": pump()[::-1],
    }
    for name, df in files.items():
        df.to_csv(f"{name}.csv", index=False)
    pump().to_csv("semi.csv", index=False, sep=";")
    (here / "empty.csv").touch()
    (here / "there.csv").touch()
    monkeypatch.setattr("seqkeras._cli._detect._detector", None)  # would import Keras
    assert detect(*arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("seqkeras: ")
    assert words in message
    assert message.count("\n") == 1


def test_a_file_is_checked_without_keras(here):
    (here / "pump.csv").write_text("time,pressure\n2024-01-01,1\n2024-01-02,?\n")
    code = (
        "import sys; from seqkeras.__main__ import main\n"
        "assert main(['detect', 'pump.csv']) == 1\n"
        "assert not {'keras', 'tensorflow', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Got: '?' in row 2." in done.stderr

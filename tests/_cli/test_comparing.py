"""The command `compare`."""

import json

import pandas as pd
import pytest

from seqkeras.__main__ import main
from seqkeras._cli import _comparing
from seqkeras.forecasting import load_air_passengers
from seqkeras.forecasting.evaluation._contenders import CONTENDERS, NETWORKS
from seqkeras.forecasting.evaluation._tune import SCORES

pytestmark = pytest.mark.usefixtures("eagerly")


def compare(*arguments):
    return main(["compare", "air.csv", "--horizon", "6", "--quiet", *arguments])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_air_passengers().to_csv("air.csv", index=False)
    return tmp_path


def test_contenders_are_compared_and_the_best_forecast_is_written(here, capsys):
    quick = ["--contenders", "linear", "seasonal naive"]
    assert compare(*quick, "--save", "best.forecaster") == 0
    printed = capsys.readouterr()
    assert printed.out.index("linear") < printed.out.index("seasonal naive")
    assert "Forecast of linear" in printed.out
    assert "not saved: only networks are, and the best contender is linear" in printed.err
    written = pd.read_csv("air_compare.csv")
    assert {"yhat", "yhat-lo-95"} <= set(written)
    assert len(written) == 6
    assert (here / "air_compare.png").exists()
    assert not (here / "best.forecaster").exists()
    assert compare(*quick, "--force", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["winner"] == result["scores"][0]["method"] == "linear"
    assert [row["yhat"] for row in result["forecast"]] == pytest.approx(written["yhat"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "--minutes must be"),
        (["--windows", "0"], "--windows must be"),
        (["--levels", "80", "80"], "--levels must be"),
        (["--target-col", "x"], "must be a column of air.csv"),
        (["--output", "air.csv"], "air.csv exists already"),
        (["--output", "out.txt"], "--output must be"),
    ],
)
def test_wrong_options_are_refused_before_any_work(here, capsys, arguments, message):
    assert compare(*arguments) == 1
    assert message in capsys.readouterr().err
    assert not (here / "air_compare.csv").exists()


def test_the_choices_are_those_of_the_library():
    assert (*CONTENDERS, *NETWORKS) == _comparing.CONTENDERS
    assert _comparing.SCORES == SCORES

"""Tests that every example runs as a script does, in this process, at a small size."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.fixture
def output_of(tmp_path, monkeypatch, capsys):
    """Return a function that runs a script and returns what it prints."""

    def run(script):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(script), "--quick"])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    "script",
    [path for path in EXAMPLES if path.stem != "newest_observation"],
    ids=lambda path: path.stem,
)
def test_an_example_runs(script, output_of):
    assert output_of(script).strip()


def test_the_readme_of_the_examples_lists_them_all():
    text = (EXAMPLES[0].parent / "README.md").read_text()
    assert all(f"`{script.name}`" in text for script in EXAMPLES)


def test_the_first_step_of_every_strategy_is_close_to_the_oracle(output_of):
    printed = output_of(EXAMPLES[0].parent / "newest_observation.py")
    ratios = dict(re.findall(r"^(\w+): lead 1 is ([\d.]+) x the oracle$", printed, re.MULTILINE))
    assert ratios.keys() == {"multi_output", "recursive"}
    assert all(float(ratio) <= 1.05 for ratio in ratios.values())

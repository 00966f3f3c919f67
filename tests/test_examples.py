"""Tests that every example runs as a script does, in this process, at a small size."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), "--quick"])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_the_readme_of_the_examples_lists_them_all():
    text = (EXAMPLES[0].parent / "README.md").read_text()
    assert all(f"`{script.name}`" in text for script in EXAMPLES)


@pytest.mark.parametrize("strategy", ["multi_output", "recursive"])
def test_the_first_step_of_every_strategy_is_close_to_the_oracle(strategy):
    """Run the experiment of `newest_observation.py` at a small size."""
    example = runpy.run_path(str(EXAMPLES[0].parent / "newest_observation.py"))
    errors = example["run"](strategy, series=6, rows=300, epochs=10)
    assert errors[strategy].iloc[0] <= 1.05 * errors["oracle"].iloc[0]

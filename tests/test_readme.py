"""The README does what it says."""

import re
from pathlib import Path

import pytest

from seqkeras.forecasting import Training

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_readme_has_code_for_each_kind_of_user():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_code_block_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # How well it forecasts is tested with the demo, which trains the same forecaster to the end.
    quick = "Forecaster(12, training=Training(epochs=1))"
    code = BLOCKS[number].replace("Forecaster(horizon=12, seed=0)", quick)
    # Less data: 500 rows in place of 5_000, and 10 series in place of 100.
    code = re.sub(r"(\d)_000", r"\g<1>00", code).replace("size=100)", "size=10)")
    exec(compile(code, f"README.md, block {number}", "exec"), {"Training": Training})
    written = {path.name for path in tmp_path.iterdir()}
    assert written == set(re.findall(r'"(\w+\.(?:png|forecaster|keras|program))"', BLOCKS[number]))


def test_every_linked_file_exists():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text())
    assert links
    assert all((README.parent / link).exists() for link in links)

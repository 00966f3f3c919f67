"""The examples of the page about engines, on each of them; the page itself has joblib."""

import doctest
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/engines.md"


@pytest.mark.parametrize("name", ["ray", "dask", "spark"])
def test_the_examples_run(name, request, tmp_path, monkeypatch):
    request.getfixturevalue(f"{name}_engine")  # which the examples find by its name
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    assert 'engine = "joblib"' in text
    text = text.replace('engine = "joblib"', f'engine = "{name}"')
    examples = doctest.DocTestParser().get_doctest(text, {}, name, str(PAGE), 0)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert len(examples.examples) > 10
    assert doctest.DocTestRunner(optionflags=flags).run(examples).failed == 0

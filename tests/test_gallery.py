"""The gallery: its scripts run, and its pages and notebooks are made from them."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from helpers.models import training_eagerly
from helpers.scripts import load_script

ROOT = Path(__file__).parent.parent
#: Bytes of a picture on a page.
LARGEST_PICTURE = 40_000


gallery = load_script(ROOT / "docs/_gallery.py")
NAMES = gallery.names()


@pytest.mark.parametrize("name", NAMES)
def test_a_script_runs_at_toy_size_and_saves_its_pictures(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    script = gallery.SCRIPTS / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--quick"])
    with training_eagerly():
        runpy.run_path(str(script), run_name="__main__")
    pictures = {picture for cell in gallery.read(name) for picture in cell.pictures}
    assert pictures
    assert pictures == {path.stem for path in tmp_path.glob("*.png")}


@pytest.mark.parametrize("name", NAMES)
def test_page_and_notebook_are_those_of_the_script(name):
    cells = gallery.read(name)
    page = (gallery.PAGES / f"{name}.md").read_text()
    assert gallery.without_outputs(page) == gallery.page(name, cells, {})
    assert json.loads((gallery.PAGES / f"{name}.ipynb").read_text()) == gallery.notebook(cells)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_what_the_code_printed_and_its_pictures(name):
    page = (gallery.PAGES / f"{name}.md").read_text()
    assert gallery.OUTPUT in page
    pictures = re.findall(r"!\[.+\]\(\.\./(_static/gallery/\w+\.png)\)", page)
    assert pictures
    assert all((gallery.DOCS / picture).stat().st_size <= LARGEST_PICTURE for picture in pictures)


def test_the_gallery_shows_each_page_with_a_picture():
    text = (gallery.DOCS / "gallery.md").read_text()
    assert set(re.findall(r"\]\(gallery/(\w+)\.md\)", text)) == set(NAMES)
    assert set(re.findall(r"^gallery/(\w+)$", text, flags=re.MULTILINE)) == set(NAMES)
    pictures = re.findall(r"\((_static/gallery/\w+\.png)\)", text)
    assert len(pictures) == len(NAMES)
    assert all((gallery.DOCS / picture).exists() for picture in pictures)


def test_nothing_is_left_of_a_script_that_is_gone():
    made = [path for path in gallery.PAGES.iterdir() if path.suffix in (".md", ".ipynb")]
    assert {path.stem for path in made} == set(NAMES)
    saved = {picture for name in NAMES for cell in gallery.read(name) for picture in cell.pictures}
    assert {path.stem for path in gallery.PICTURES.iterdir()} == saved


def test_a_script_that_does_not_begin_with_a_cell_is_refused(tmp_path, monkeypatch):
    (tmp_path / "plain.py").write_text("print(1)\n")
    monkeypatch.setattr(gallery, "SCRIPTS", tmp_path)
    with pytest.raises(SystemExit, match=r"plain\.py must begin with a cell"):
        gallery.read("plain")

"""The site has all versions, in a layout that static hosts and files can show."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.browser import Browser, needs_chromium
from helpers.scripts import load_script

ROOT = Path(__file__).parent.parent
CONF = """
project = "small"
extensions = ["myst_parser"]
html_theme = "furo"
templates_path = [{templates!r}]
"""


tool = load_script(ROOT / "docs/_versions.py")


def build(folder, version, pages):
    """Build a small site of a version with the templates of the real one; return its folder."""
    source = folder / "source"
    (source / "course").mkdir(parents=True)
    (source / "conf.py").write_text(CONF.format(templates=str(ROOT / "docs/_templates")))
    for page in pages:
        (source / f"{page}.md").write_text(f"# {page} of {version}\n\n## Part\n")
    entries = "\n".join(page for page in pages if page != "index")
    index = f"# Start of {version}\n\n```{{toctree}}\n{entries}\n```\n"
    (source / "index.md").write_text(index)
    subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html"),
            *("-D", f"release={version}", "-D", f"version={version}"),
            *(str(source), str(folder / "html")),
        ],
        check=True,
    )
    return folder / "html"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The built pages of two versions, of which the older has a page more."""
    folder = tmp_path_factory.mktemp("built")
    return {
        "0.9.0": build(folder / "old", "0.9.0", ["index", "gone", "course/first"]),
        "0.10.0": build(folder / "new", "0.10.0", ["index", "course/first"]),
    }


@pytest.fixture(scope="module")
def site(built, tmp_path_factory):
    """The site of both versions."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "CNAME").write_text("host")
    for pages in built.values():
        tool.add(pages, folder)
    return folder


def test_versions_are_listed_by_their_numbers_and_the_newest_has_an_alias(site):
    listed = json.loads((site / "versions.json").read_text())
    assert listed == {"latest": "0.10.0", "versions": ["0.10.0", "0.9.0"]}
    alias, newest = site / "latest", site / "0.10.0"
    names = sorted(path.relative_to(alias) for path in alias.rglob("*") if path.is_file())
    assert Path("course/first.html") in names
    assert names == sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file())
    assert all((alias / name).read_bytes() == (newest / name).read_bytes() for name in names)
    assert "url=latest/index.html" in (site / "index.html").read_text()
    assert (site / "CNAME").read_text() == "host"


def test_pages_of_every_version_name_that_of_the_latest_as_canonical(site):
    for version in ("0.9.0", "0.10.0"):
        for page, link in [
            ("index", "./../latest/index.html"),
            ("course/first", "../../latest/course/first.html"),
        ]:
            text = (site / version / f"{page}.html").read_text()
            assert text.count('rel="canonical"') == 1
            assert f'<link rel="canonical" href="{link}">' in text
            assert (site / version / page).parent.joinpath(link).resolve().is_file()


def test_a_pre_release_is_the_latest_only_while_there_is_no_release():
    assert tool.newest_release(["0.2.0rc1", "0.1.0"]) == "0.1.0"
    assert tool.newest_release(["0.2.0rc1", "0.2.0a1"]) == "0.2.0rc1"


def test_adding_a_version_again_replaces_its_pages(built, tmp_path):
    tool.add(built["0.9.0"], tmp_path)
    (tmp_path / "0.9.0/left.html").touch()
    assert tool.add(built["0.9.0"], tmp_path) == "0.9.0"
    assert not (tmp_path / "0.9.0/left.html").exists()
    assert not (tmp_path / "latest/left.html").exists()


def test_a_folder_without_built_pages_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="build the site first"):
        tool.add(tmp_path, tmp_path / "site")


def test_make_site_adds_pages_that_are_built_anew():
    command = ["make", "--dry-run", "site", "SITE=folder"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    steps = ["rm -rf docs/_build/html", "sphinx-build", "docs/_versions.py docs/_build/html folder"]
    places = [lines.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


@needs_chromium
def test_readers_of_files_change_versions_and_learn_of_the_latest(site, tmp_path):
    browser = Browser(tmp_path)
    try:
        browser.open((site / "index.html").as_uri())
        browser.wait("location.pathname.endsWith('/latest/index.html')")
        assert "latest release" not in browser.text("body")
        browser.open((site / "0.9.0/course/first.html").as_uri())
        assert browser.text(".version-notice") == (
            "This page is about version 0.9.0, which is not the newest. "
            "See this page for 0.10.0, the latest release."
        )
        browser.value("document.querySelector('.version-notice a').click()")
        browser.wait("location.pathname.endsWith('/latest/course/first.html')")
        browser.wait("document.querySelector('.versions a')")
        assert browser.text(".versions summary") == "Version 0.10.0"
        browser.value("document.querySelector('.versions details').open = true")
        assert browser.text(".versions ul").split("\n") == ["0.10.0 (latest)", "0.9.0"]
        browser.value("[...document.querySelectorAll('.versions a')].at(-1).click()")
        browser.wait("location.pathname.endsWith('/0.9.0/course/first.html')")
        browser.open((site / "0.9.0/gone.html").as_uri())
        browser.value("document.querySelector('.version-notice a').click()")
        browser.wait("location.pathname.endsWith('/latest/index.html')")
        assert browser.problems == []
    finally:
        browser.close()

"""Links between files, and within the site, lead somewhere."""

from pathlib import Path

import pytest

from helpers.scripts import load_script

ROOT = Path(__file__).parent.parent


links = load_script(ROOT / ".ci/links.py")


def test_links_between_the_files_of_the_project_lead_somewhere():
    assert list(links.broken_in_markdown(ROOT)) == []


@pytest.fixture
def checkout(tmp_path):
    """A checkout of two files; the anchors of `README.md` are those that GitHub makes."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/page.md").write_text("[up](../README.md#what-is-it)\n")
    (tmp_path / "README.md").write_text(
        "# Use of `fit_it`, and [more](docs/page.md)\n\n## What is it?\n\n## What is it?\n\n"
        "[page](docs/page.md), [outside](https://example.org/none), [twice](#what-is-it-1),\n"
        "[top](#use-of-fit_it-and-more), `[code](none.md)`\n\n```python\n# [code](none.md)\n```\n"
    )
    return tmp_path


def test_links_to_files_and_headings_are_fine(checkout):
    assert list(links.broken_in_markdown(checkout)) == []


@pytest.mark.parametrize(
    "link", ["docs/none.md", "docs/page.md#none", "#what-is-it-2", "#code", "none.png"]
)
def test_a_link_of_markdown_that_leads_nowhere_is_found(checkout, link):
    (checkout / "CHANGELOG.md").write_text(f"# Changelog\n\n![text]({link})\n")
    assert list(links.broken_in_markdown(checkout)) == [f"CHANGELOG.md: {link}"]


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("first.html#part", False),
        ("../index.html#top", False),
        ("#part", False),
        ("#", False),
        ("https://example.org/none", False),
        ("../../latest/course/first.html", False),
        ("first.html#none", True),
        ("#none", True),
        ("none.html", True),
        ("../../none.html", True),
    ],
)
def test_a_link_of_the_site_that_leads_nowhere_is_found(tmp_path, link, is_broken):
    site = tmp_path / "site"
    (site / "course").mkdir(parents=True)
    (site / "index.html").write_text('<h1 id="top">Site</h1>')
    (site / "course/first.html").write_text(f'<h1 id="part">First</h1><a href="{link}">link</a>')
    broken = [f"course/first.html: {link}"] if is_broken else []
    assert list(links.broken_in_site(site)) == broken

"""Pages of the site, in a real browser, at the width of a phone."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.browser import Browser, needs_chromium

DOCS = Path(__file__).parent.parent / "docs"
#: Pages with cards, tables, code and long names. A build of all takes a minute.
PAGES = ("index", "gallery", "faq", "errors", "forecasting", "benchmarks", "builders/index")
#: Width and height of a phone, in pixels.
PHONE = (390, 844)
#: The elements that go beyond the page, except in those that can be scrolled by themselves.
TOO_WIDE = """
[...document.querySelectorAll("article *")].filter((element) => {
  for (let e = element.parentElement; e.tagName !== "ARTICLE"; e = e.parentElement)
    if (getComputedStyle(e).overflowX !== "visible") return false;
  return element.getBoundingClientRect().right > document.documentElement.clientWidth;
}).map((element) => element.outerHTML.slice(0, 200))
"""

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages; links from them to others are not resolved."""
    folder = tmp_path_factory.mktemp("site")
    sources = [page.relative_to(DOCS) for page in DOCS.rglob("*.md")]
    others = [str(page) for page in sources if str(page.with_suffix("")) not in PAGES]
    command = [
        *(sys.executable, "-m", "sphinx", "-Q", "-b", "html"),
        *("-D", f"exclude_patterns={','.join(['_build', *others])}"),
        *(str(DOCS), str(folder)),
    ]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    browser.resize(*PHONE)
    yield browser
    browser.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_no_wider_than_a_phone(site, browser, page):
    browser.open((site / f"{page}.html").as_uri())
    assert browser.value(TOO_WIDE) == []
    # What is wider would be scrolled as a whole.
    assert browser.value("document.querySelector('.content').scrollWidth") == PHONE[0]


def test_the_first_screen_sends_readers_on_their_way(site, browser):
    browser.open((site / "index.html").as_uri())
    end = browser.value("document.querySelector('.doors').getBoundingClientRect().bottom")
    assert end < PHONE[1]
    names = browser.value("[...document.querySelectorAll('.doors strong')].map((e) => e.innerText)")
    assert {"Forecast", "Build models", "Run a service", "Find anomalies"} <= set(names)

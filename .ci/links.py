"""Check the links between the files of the project, and those within a built site.

    python .ci/links.py SITE    # the folder of the built site

Links of Markdown files are checked as code hosts show them: to files, and to headings. Those of the
site are checked to files and to ids. External addresses are not checked.
"""

import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("docs", "examples", "benchmarks")
#: What pages find next to the folder of their version (docs/_versions.py).
BESIDE = ("../latest/", "../versions.js")
#: Blocks of code, but not containers of Markdown; and code in a line.
CODE = re.compile(r"^(`{3,})(?!\{container\}).*?^\1$|(`+)[^`]+\2", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def main() -> None:
    site = Path(sys.argv[1])
    broken = [*broken_in_markdown(ROOT), *broken_in_site(site)]
    if broken:
        sys.exit("\n".join(["These links lead nowhere:", *broken]))


def broken_in_markdown(root: Path) -> Iterator[str]:
    """Yield the links of the Markdown files of a checkout that lead to no file or heading."""
    below = (file for folder in FOLDERS for file in (root / folder).rglob("*.md"))
    for file in [*root.glob("*.md"), *below]:
        if "_build" in file.parts:
            continue
        for link in LINK.findall(CODE.sub("", file.read_text())):
            if not _leads_somewhere(file, link, headings):
                yield f"{file.relative_to(root)}: {link}"


def broken_in_site(site: Path) -> Iterator[str]:
    """Yield the links of the pages of a site that lead to no file or id."""
    for file in sorted(site.rglob("*.html")):
        to_root = "../" * len(file.relative_to(site).parent.parts)
        for link in sorted(set(read_page(file).links)):
            is_beside = link.removeprefix("./").startswith(tuple(to_root + name for name in BESIDE))
            if not is_beside and not _leads_somewhere(file, link, lambda page: read_page(page).ids):
                yield f"{file.relative_to(site)}: {link}"


def _leads_somewhere(file: Path, link: str, anchors: Callable[[Path], set[str]]) -> bool:
    """Whether a link in a file leads to a file, and to an anchor of it; others are not judged."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if not target.exists():
        return False
    is_page = target.suffix == file.suffix
    return not (parts.fragment and is_page) or unquote(parts.fragment) in anchors(target)


@cache
def headings(file: Path) -> set[str]:
    """Return the anchors of the headings of a Markdown file, as code hosts make them."""
    anchors: set[str] = set()
    for heading in HEADING.findall(re.sub(CODE, _inline, file.read_text())):
        words = LINK.sub("", heading).replace("[", "").strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while (numbered := f"{anchor}-{number}" if number else anchor) in anchors:
            number += 1
        anchors.add(numbered)
    return anchors


def _inline(code: re.Match[str]) -> str:
    """Return the text of code in a line; nothing for a block."""
    return "" if code[1] else code[0].strip("`")


class Page(HTMLParser):
    """The links and the ids of a page.

    Attributes:
        links: what its elements refer to.
        ids: the ids of its elements, and the empty one, which is its top.
    """

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.ids = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name == "id" and value:
                self.ids.add(value)


@cache
def read_page(file: Path) -> Page:
    """Return the links and ids of a file."""
    return Page(file.read_text())


if __name__ == "__main__":
    main()

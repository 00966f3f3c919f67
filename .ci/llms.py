"""Write llms.txt into a built site: an index of all pages for language models (llmstxt.org).

    python .ci/llms.py FOLDER    # the folder of the built site

The index follows the tables of contents in the pages. Next to each page of the site goes its source
in Markdown, which the index links to.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
TOCTREE = re.compile(r"^(`{3,}|:{3,})\{toctree\}\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
# Characters of a sentence that says little.
SHORT = 60
FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1$", re.MULTILINE | re.DOTALL)


def main() -> None:
    site = Path(sys.argv[1])
    for page in pages():
        copy = site / page.relative_to(DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(page.read_text())
    (site / "llms.txt").write_text(index())


def pages() -> list[Path]:
    """Return the sources of all pages, in the order of their names."""
    return sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def index() -> str:
    """Return the text of llms.txt.

    Raises:
        SystemExit: a page is in no table of contents.
    """
    start = DOCS / "index.md"
    lines = [f"# {title(start)}", "", f"> {summary(start)}"]
    listed = {start}
    for caption, entries in contents(start):
        lines += ["", f"## {caption}", ""]
        for page in entries:
            listed.add(page)
            lines.append(f"- [{title(page)}]({page.relative_to(DOCS)}): {summary(page)}")
    if missing := set(pages()) - listed:
        names = ", ".join(sorted(str(page.relative_to(DOCS)) for page in missing))
        sys.exit(f"no table of contents (toctree) has these pages: {names}")
    return "\n".join([*lines, ""])


def contents(page: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield the sections below a page: their names, and their pages with those below them."""
    for match in TOCTREE.finditer(page.read_text()):
        caption = re.search(r"^:caption: (.*)$", match[2], re.MULTILINE)
        yield caption[1] if caption else "Pages", list(below(page, match[2]))


def below(page: Path, body: str) -> Iterator[Path]:
    """Yield the pages that the body of a table of contents names, each before those below it."""
    for line in body.splitlines():
        entry = line.rpartition("<")[2].strip().removesuffix(">")
        if not entry or entry.startswith(":"):
            continue
        child = page.parent / f"{entry.removesuffix('.md')}.md"
        yield child
        for _, further in contents(child):
            yield from further


def title(page: Path) -> str:
    """Return the heading of a page."""
    return plain(re.findall(r"^# (.*)$", page.read_text(), re.MULTILINE)[0])


def summary(page: Path) -> str:
    """Return the first sentence of a page, or its first two if the first says little."""
    prose = FENCE.sub("", page.read_text()).partition("# ")[2].partition("\n")[2]
    words = plain(" ".join(prose.strip().partition("\n\n")[0].split()))
    first, *others = re.split(r"(?<=[.:!?]) (?=[A-Z`])", words)
    return " ".join([first, *others[: len(first) < SHORT]]).rstrip(":")


def plain(markdown: str) -> str:
    """Return a line without links, roles and emphasis; code keeps its marks."""
    text = re.sub(r"\{[\w:]+\}`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", markdown)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("**", "")


if __name__ == "__main__":
    main()

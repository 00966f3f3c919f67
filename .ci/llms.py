"""Write llms.txt into a built site: an index of all pages for language models (llmstxt.org).

    python .ci/llms.py FOLDER    # the folder of the built site

The index follows the tables of contents in the pages. Next to each page of the site goes its source
in Markdown, which the index links to; directives that Sphinx fills in become lists of names.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
TOCTREE = re.compile(r"^(`{3,}|:{3,})\{toctree\}\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
# Characters of a sentence that says little.
SHORT = 60
FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
RST = re.compile(r"^```\{eval-rst\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A directive: its kind, what it is about, its options and the line of text below.
DIRECTIVE = re.compile(r"^\.\. (\S+):: (\S+)\n((?: +:.*\n)*)(?:\n +(\S.*)\n)?", re.MULTILINE)


def main() -> None:
    site = Path(sys.argv[1])
    for page in pages():
        copy = site / page.relative_to(DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(with_names(page.read_text()))
    (site / "llms.txt").write_text(index())


def pages() -> list[Path]:
    """Return the sources of all pages, in the order of their names."""
    return sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def with_names(page: str) -> str:
    """Return a page with names, signatures and first sentences in the place of directives."""
    module: Any = None

    def listed(directive: re.Match[str]) -> str:
        nonlocal module
        kind, name, options, text = directive.groups()
        if kind == "automodule":
            module = importlib.import_module(name)
            names = _members(module) if ":members:" in options else []
            return "\n".join(
                [_first_line(module), "", *(_entry(module, each) for each in names), ""]
            )
        if kind == "py:data":
            return f"- `{name}`: {text}\n"
        value = getattr(module, name)
        chosen = re.search(r":members:(.*)", options)
        members = re.findall(r"\w+", chosen[1]) or _members(value) if chosen else []
        entries = [_entry(module, name), *(f"  {_entry(value, member)}" for member in members)]
        return "\n".join([*entries, ""])

    return RST.sub(lambda block: DIRECTIVE.sub(listed, block[1]), page)


def _members(owner: Any) -> list[str]:
    """Return the documented functions, classes and properties of a module or a class."""
    return [
        name
        for name, value in inspect.getmembers(owner)
        if not name.startswith("_")
        and inspect.getdoc(value)
        and (inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, property))
        and (inspect.isclass(owner) or value.__module__ == owner.__name__)
    ]


def _entry(owner: Any, name: str) -> str:
    value = getattr(owner, name)
    return f"- `{name}{_signature(value)}`: {_first_line(value)}"


def _signature(value: Any) -> str:
    """Return the parameters of a function or class, without their types."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # a property, or a class of Python itself
        return ""
    empty = inspect.Signature.empty
    parameters = [
        parameter.replace(annotation=empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=empty))


def _first_line(value: Any) -> str:
    return (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ")


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

"""Reads errors.md: tables of wrong uses, with what they say and what to write instead.

    python docs/_errors.py    # writes what they say today into the page

A section has code blocks, which prepare what its table uses, and a table with three columns. The
first holds wrong code, the second the error that it raises, and the third code that works. Code
stands in code spans; several spans are several lines. Code that begins with `seqkeras ` is a
command.
"""

import contextlib
import doctest
import io
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "errors.md"

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
EXAMPLE = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BAR = re.compile(r"(?<!\\)\|")
SPAN = re.compile(r"(`+) ?(.+?) ?\1(?!`)")
#: Parts of messages that differ between runs and versions: numbers of layers, dtypes of pandas.
VARYING = (
    (r"\b(lstm|gru|sequential|dense|conv1d)(_\d+)?\b", r"\1..."),
    (r"\bdtype [\w\[\]]+", "dtype ..."),
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Use:
    """A line of a table.

    Attributes:
        wrong: code that is refused.
        message: the error that it raises; `...` stands for any text.
        right: code that works.
    """

    wrong: str
    message: str
    right: str

    def says(self, message: str) -> bool:
        """Return whether the documented error is this one."""
        return doctest.OutputChecker().check_output(f"{self.message}\n", f"{message}\n", FLAGS)


@dataclass(frozen=True)
class Section:
    """A section of the page: the code of its examples, and its table."""

    title: str
    code: str
    uses: list[Use] = field(compare=False)

    def prepare(self) -> dict[str, Any]:
        """Run the examples in the current folder, and return their variables."""
        variables: dict[str, Any] = {}
        exec(self.code, variables)
        return variables


def sections(page: str) -> list[Section]:
    """Return the sections of the page that have a table."""
    _, *parts = SECTION.split(page)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    every = [Section(title, _code(text), list(_uses(text))) for title, text in pairs]
    return [section for section in every if section.uses]


def _code(text: str) -> str:
    parser = doctest.DocTestParser()
    blocks = EXAMPLE.findall(text)
    return "".join(example.source for block in blocks for example in parser.get_examples(block))


def _uses(text: str) -> Iterator[Use]:
    for line in text.splitlines():
        if line.startswith("| `"):
            yield Use(*map(_spans, BAR.split(line)[1:-1]))


def _spans(cell: str) -> str:
    lines = [span.replace("\\|", "|") for _, span in SPAN.findall(cell)]
    return "\n".join(lines)


def run(code: str, variables: dict[str, Any]) -> str | None:
    """Run code or a command, and return the error of seqkeras that it raises, as it is printed."""
    from seqkeras.errors import SeqkerasError

    if code.startswith("seqkeras "):
        return _run_command(shlex.split(code)[1:])
    try:
        exec(code, dict(variables))
    except SeqkerasError as error:
        return f"{type(error).__name__}: {error}"
    return None


def _run_command(arguments: list[str]) -> str | None:
    from seqkeras.__main__ import main

    complaints = io.StringIO()
    with contextlib.redirect_stderr(complaints), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
    # Only the last line: the usage of a command stands before it.
    return complaints.getvalue().strip().splitlines()[-1] if status else None


def refreshed(page: str) -> str:
    """Return the page with the messages of today."""
    lines = page.splitlines()
    for section in sections(page):
        variables = section.prepare()
        for use in section.uses:
            message = run(use.wrong, variables) or "nothing"
            if not use.says(message):
                number = next(i for i, line in enumerate(lines) if _wrong_of(line) == use.wrong)
                wrong, _, right = BAR.split(lines[number])[1:-1]
                lines[number] = f"|{wrong}| {_as_span(message)} |{right}|"
    return "\n".join(lines) + "\n"


def _wrong_of(line: str) -> str | None:
    return _spans(BAR.split(line)[1]) if line.startswith("| `") else None


def _as_span(message: str) -> str:
    for pattern, replacement in VARYING:
        message = re.sub(pattern, replacement, message)
    message = " ".join(message.split()).replace("|", "\\|")
    return f"`` {message} ``" if "`" in message else f"`{message}`"


def main() -> None:
    page = PAGE.read_text()
    folder = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            page = refreshed(page)
        finally:
            os.chdir(folder)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()

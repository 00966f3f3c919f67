"""Parallel corpora in files."""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from seqkeras._checks import bad_argument, bad_data
from seqkeras._files import open_file


def read_pairs(
    path: str | os.PathLike[str], columns: tuple[int, int] = (0, 1)
) -> tuple[list[str], list[str]]:
    r"""Read a parallel corpus: a pair of texts on each line, with a TAB between them.

    Args:
        path: a file in UTF-8, which may be compressed with gzip.
        columns: the columns of the sources and of the targets, counted from 0, default `(0, 1)`.
            Further columns, such as the authors in files of Tatoeba, are not read.

    Returns:
        The sources and the targets, two lists of the same length.

    Raises:
        ArgumentError: `columns` are not two different columns.
        DataError: a line has too few columns, or one of its two texts is empty; the message has its
            number. Or the file is not in UTF-8.
        FileNotFoundError: there is no such file.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "pairs.tsv")
        ...     _ = path.write_text("Go.\tVa !\nRun!\tCours !\n", encoding="utf-8")
        ...     read_pairs(path)
        (['Go.', 'Run!'], ['Va !', 'Cours !'])
    """
    first, second = _check_columns(columns)
    sources, targets = [], []
    for number, line in numbered_lines(path):
        cells = line.split("\t")
        if len(cells) <= max(first, second):
            expected = f"have {max(first, second) + 1} columns with TABs between them"
            raise bad_data(f"Line {number} of {path}", f"{len(cells)}: {line[:80]!r}", expected)
        source, target = cells[first].strip(), cells[second].strip()
        if not source or not target:
            cells_text = f"{source[:40]!r} and {target[:40]!r}"
            raise bad_data(f"Line {number} of {path}", cells_text, "have a source and a target")
        sources.append(source)
        targets.append(target)
    return sources, targets


def numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not empty, with their numbers from 1.

    Raises:
        DataError: the file is not in UTF-8.
    """
    with _open_text(path) as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip("\n")
        except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            raise bad_data(f"{path}", str(error), "be a whole text file in UTF-8") from error


@contextmanager
def _open_text(path: str | os.PathLike[str]) -> Iterator[TextIOWrapper]:
    with open_file(path) as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        # A mark at the start of the file, which some editors write, is no part of the first word.
        binary = gzip.GzipFile(fileobj=file) if compressed else file
        with TextIOWrapper(binary, encoding="utf-8-sig", newline="\n") as text:
            yield text


def _check_columns(columns: tuple[int, int]) -> tuple[int, int]:
    whole = isinstance(columns, (tuple, list)) and all(
        isinstance(column, int) and not isinstance(column, bool) and column >= 0
        for column in columns
    )
    if not whole or len(set(columns)) != 2 or len(columns) != 2:
        raise bad_argument("columns", columns, "two different columns, such as (0, 1)")
    return columns[0], columns[1]

"""The header of a csv file, checked before anything is imported that is slow to import."""

import codecs
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqkeras._checks import bad_argument, bad_data, nearest
from seqkeras.errors import DataError

#: Separators that are tried.
SEPARATORS = (",", ";", "\t", "|")

#: Largest number of characters of a line that are read.
HEADER_LENGTH = 2**16


@dataclass(frozen=True)
class Keys:
    """The columns of a table to read.

    Attributes:
        time: column of timestamps; None: the table has none.
        target: column of targets; None: only those of `features`.
        id: column of series ids; None: `unique_id` if the table has it.
        features: further columns of numbers, each with the option that names it.
        covariates: further columns of any kind, each with the option that names it.
    """

    time: str | None = "ds"
    target: str | None = "y"
    id: str | None = None
    features: Mapping[str, str] = field(default_factory=dict)
    covariates: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, str]:
        """Return the option that names each column that must exist."""
        keys = {self.time: "--time-col", self.target: "--target-col", self.id: "--id-col"}
        options = {name: option for name, option in keys.items() if name is not None}
        return options | dict(self.features) | dict(self.covariates)

    @property
    def numbers(self) -> list[str]:
        """Return the columns of numbers."""
        return [*([] if self.target is None else [self.target]), *self.features]


def read_header(
    path: Path, keys: Keys, *, sep: str | None = None, encoding: str = "utf-8"
) -> tuple[str, list[str]]:
    """Return the separator of a csv file and the names of its columns.

    Args:
        path: the file.
        keys: columns that must exist.
        sep: the separator; None: the one that makes the header have the required columns.
        encoding: the encoding of the file.

    Raises:
        ArgumentError: a column is missing, or `sep` or `encoding` is invalid.
        DataError: the file has another separator or encoding, or two columns of one name.
        OSError: the file does not exist or cannot be opened.
    """
    _check_form(sep, encoding)
    try:
        with path.open(encoding=with_mark(encoding), newline="") as file:
            line = file.readline(HEADER_LENGTH)
    except UnicodeError as error:
        raise wrong_encoding(path, encoding) from error
    required = keys.options.keys()
    splits = {sign: _split(line, sign) for sign in SEPARATORS}
    complete = [sign for sign, names in splits.items() if required and required <= set(names)]
    best = complete[0] if complete else max(splits, key=lambda sign: len(splits[sign]))
    names = splits[best] if sep is None else _split(line, sep)
    # Without required columns, a single one may be a whole line.
    is_wrong = not required <= set(names) or (not required and len(names) == 1)
    if sep not in (None, best) and is_wrong and len(splits[best]) > 1:
        got = f"columns separated by {word_of(best)}"
        fix = f"Omit --sep, or use --sep {word_of(best)}."
        raise bad_data(str(path), got, f"have columns separated by {word_of(sep or ',')}", fix)
    if names:
        check_columns(path, keys, names)
    return sep or best, names


def check_columns(path: Path, keys: Keys, names: Sequence[Any]) -> None:
    """Check that a table has the columns to read, each once.

    Raises:
        ArgumentError: a column is missing.
        DataError: two columns have one name.
    """
    names = list(names)
    for name, option in keys.options.items():
        if name not in names:
            existing = ", ".join(repr(column) for column in names[:20])
            fix = nearest(name, names) or f"Pass the name of the column as {option}."
            raise bad_argument(option, name, f"a column of {path}, which has {existing}", fix)
        if names.count(name) > 1:
            got = f"{names.count(name)} columns called {name!r}"
            raise bad_data(str(path), got, "have one column of each name", "Rename the others.")


def wrong_encoding(path: Path, encoding: str) -> DataError:
    """Return the error for a file that is not text in an encoding."""
    with path.open("rb") as file:
        beginning = file.read(2)
    likely = "utf-16" if beginning in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "cp1252"
    fix = f"Use the encoding of the program that wrote it, such as --encoding {likely}."
    got = "bytes that are not text in this encoding"
    return bad_data(str(path), got, f"be text in {encoding}", fix)


def with_mark(encoding: str) -> str:
    """Return the name of an encoding that also reads a mark of UTF-8 at the beginning."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def word_of(sep: str) -> str:
    """Return a separator as it is written on the command line."""
    return "tab" if sep == "\t" else repr(sep)


def _check_form(sep: str | None, encoding: str) -> None:
    if sep is not None and len(sep) != 1:
        raise bad_argument("--sep", sep, "one character, or the word tab")
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        fix = "For example cp1252, latin-1 or utf-16."
        raise bad_argument("--encoding", encoding, "an encoding", fix) from error


def _split(line: str, sep: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=sep), [])
    except (csv.Error, ValueError):
        return []

"""Options for the format of a table in a file."""

import argparse

from seqkeras._cli._header import Keys, read_header


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe how a csv file is written."""
    add = parser.add_argument_group("format of the file").add_argument
    add("--sep", help="separator of the columns, such as ';' or tab (default: detected)")
    add("--decimal", help="decimal sign, a point or a comma (default: detected)")
    add("--thousands", help="sign between groups of three digits, such as ',' (default: none)")
    add("--encoding", default="utf-8", help="encoding such as cp1252 (default: utf-8)")
    add("--date-format", help="format of the timestamps, such as %%d.%%m.%%Y (default: detected)")
    add("--day-first", action="store_true", help="read 1/2/2024 as 1 February")
    add("--tz", help="time zone of the timestamps, such as Europe/Berlin; others are converted")


def check_file(options: argparse.Namespace, keys: Keys) -> None:
    """Check the columns of a csv file, before pandas is imported to read it.

    Raises:
        ArgumentError, DataError, OSError: as `read_header`.
    """
    if options.file.suffix.lower() == ".csv" and options.file.is_file():
        read_header(options.file, keys, sep=separator(options.sep), encoding=options.encoding)


def separator(word: str | None) -> str | None:
    """Return the separator that the option --sep names."""
    return "\t" if word == "tab" else word

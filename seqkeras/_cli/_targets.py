"""Checks of output files, made before the work of a command instead of after it."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from seqkeras._checks import bad_argument
from seqkeras._lazy import import_optional
from seqkeras.errors import ArgumentError

PICTURES = (".png", ".svg", ".pdf", ".jpg")
TABLES = (".csv", ".parquet")


def table_to_write(options: argparse.Namespace, name: str, ending: str) -> Path:
    """Return the table of an option, or the default one, after checking that it can be written.

    Raises:
        ArgumentError, MissingDependencyError: as `check_target`.
    """
    path: Path = getattr(options, name) or default_table(options.file, ending)
    check_target(f"--{name}", path, TABLES, force=options.force)
    return path


def picture_to_write(options: argparse.Namespace, ending: str) -> Path:
    """Return the picture of `--plot`, or the default one, after checking that it can be written.

    Raises:
        ArgumentError, MissingDependencyError: as `check_target`.
    """
    path: Path = options.plot or default_picture(options.file, ending)
    check_target("--plot", path, PICTURES, force=options.force)
    return path


def default_table(file: Path, ending: str) -> Path:
    """Return the table to write for a file, in the same format: `sales.csv`, `sales_ending.csv`."""
    suffix = ".parquet" if file.suffix.lower() == ".parquet" else ".csv"
    return Path(f"{file.stem}_{ending}{suffix}")


def default_picture(file: Path, ending: str) -> Path:
    """Return the picture to write for a file."""
    return Path(f"{file.stem}_{ending}.png")


def check_target(option: str, path: Path, suffixes: tuple[str, ...], *, force: bool) -> None:
    """Check that a table or a picture can be written.

    Args:
        option: the option that names the file.
        path: the file.
        suffixes: the suffixes that the file may have.
        force: whether an existing file is overwritten.

    Raises:
        ArgumentError: the file has another suffix, exists already or cannot be written.
        MissingDependencyError: writing it needs a package that is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise bad_argument(option, str(path), f"a file that ends in {' or '.join(suffixes)}")
    check_place(option, path, force=force)
    if suffix in PICTURES:
        import_optional("matplotlib", extra="plot")
    elif suffix == ".parquet":
        import_optional("pyarrow", extra="parquet")


def check_place(option: str, path: Path, *, force: bool) -> None:
    """Check that a file can be written.

    Raises:
        ArgumentError: the file exists already, or cannot be written.
    """
    if not path.absolute().parent.is_dir():
        raise ArgumentError(f"The folder {path.parent} does not exist. Create it first.")
    if path.exists() and not force:
        raise ArgumentError(f"{path} exists already. Use --force to overwrite it.")
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ArgumentError(f"{path} cannot be written. Use another file as {option}.")


def check_different(names: str, paths: Sequence[Path]) -> None:
    """Check that no two paths lead to the same file, directly or through a link.

    Raises:
        ArgumentError: two paths lead to the same file.
    """
    for number, path in enumerate(paths):
        if any(_is_same(path, other) for other in paths[:number]):
            raise bad_argument(names, [str(file) for file in paths], "different files")


def _is_same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()

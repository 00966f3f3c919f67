"""Files that are always complete, and the exceptions of damaged ones."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from seqkeras._checks import bad_argument


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the name of a temporary file that replaces `path` at the end of the block.

    It is in the same folder, with the suffix of `path`, which some writers need. After an error it
    is removed, and `path` stays as it was; if the process is killed, `.NAME.*.part*` is left.

    Raises:
        ArgumentError: `path` is not a file in a folder that exists.
    """
    folder, name = os.path.split(os.path.abspath(path))
    if os.path.isdir(path) or not os.path.isdir(folder):
        raise bad_argument("path", str(path), "a file in a folder that exists")
    writer = f"{os.getpid()}.{threading.get_ident()}"
    part = os.path.join(folder, f".{name}.{writer}.part{os.path.splitext(name)[1]}")
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)


#: Exceptions of JSON, NumPy and Keras for damaged files, to be raised as `FileFormatError`.
DAMAGE = (
    EOFError, RuntimeError, LookupError, AttributeError, TypeError, ValueError, ArithmeticError,
    MemoryError,
)  # fmt: skip


def zip_damage() -> tuple[type[Exception], ...]:
    """Return the exceptions for damaged zip files; zipfile is slow to import."""
    import zipfile
    import zlib

    return (zipfile.BadZipFile, zlib.error, *DAMAGE)

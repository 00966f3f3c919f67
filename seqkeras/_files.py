"""Files that are whole at any moment."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from seqkeras._checks import bad_argument


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """The name of a file beside `path`, which takes its place at the end of the block.

    After an error it is gone, and what was at `path` is as it was; where the process is killed, it
    stays behind as `.NAME.*.part*`. It ends as `path` does, which some writers ask for.

    Raises:
        ArgumentError: the path is no place for a file.
    """
    folder, name = os.path.split(os.path.abspath(path))
    if os.path.isdir(path) or not os.path.isdir(folder):
        raise bad_argument("path", str(path), "a file in a folder that exists")
    own = f"{os.getpid()}.{threading.get_ident()}"
    part = os.path.join(folder, f".{name}.{own}.part{os.path.splitext(name)[1]}")
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)


#: From JSON to NumPy and Keras; each is answered with a `FileFormatError`.
DAMAGE = (
    EOFError, RuntimeError, LookupError, AttributeError, TypeError, ValueError, ArithmeticError,
    MemoryError,
)  # fmt: skip


def zip_damage() -> tuple[type[Exception], ...]:
    """The same for zip files; zipfile is slow to import, and a program does without."""
    import zipfile
    import zlib

    return (zipfile.BadZipFile, zlib.error, *DAMAGE)

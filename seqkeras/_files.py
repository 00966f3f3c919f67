"""Write files that are always complete, and recognize the exceptions of damaged files."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from seqkeras._checks import Description, bad_argument
from seqkeras.errors import FileFormatError

#: Largest length of an error message about a file, which could else quote a whole damaged file.
MAX_MESSAGE = 300

#: Errors of a disk, a quota or a limit without room.
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))

#: Longest name of a file in bytes, on all common file systems.
_MAX_NAME = 255


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the name of a temporary file that replaces `path` at the end of the block.

    The temporary file is in the same folder and has the suffix of `path`, which some writers need.
    If `path` is a link, its target is replaced. The new file gets the permissions of the old one.
    After an error the temporary file is removed and `path` is unchanged; if the process is killed,
    the temporary file `.NAME.*.part*` is left.

    Raises:
        ArgumentError: `path` is not a file in a folder that exists.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if os.path.isdir(target) or not os.path.isdir(folder):
        raise bad_argument("path", str(path), "a file in a folder that exists")
    old = os.stat(target) if os.path.exists(target) else None
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise bad_argument("path", Description(f"{path}, a device or a pipe"), "a regular file")
    part = os.path.join(folder, _part_name(name))
    # Fail if the name already exists: another user may have put a link there, to redirect the data.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(part, flags, 0o666 if old is None else 0o600))
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        if old is not None:
            _copy_access(old, part)
        os.replace(part, target)
    finally:
        if os.path.exists(part):
            os.remove(part)


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read it.

    Raises:
        FileFormatError: it is a pipe or a device, from which reading may never end.
        OSError: the file does not exist, or cannot be read.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # `open` itself refuses folders
        raise FileFormatError(
            f"{path} must be a regular file. Got: a device or a pipe. Copy its content to a file."
        )
    return open(path, "rb")


@contextmanager
def locked(file: str | os.PathLike[str], refusal: Exception) -> Iterator[None]:
    """Lock by a file that is removed at the end; does nothing where there are no such locks.

    The system releases the lock when the process ends.

    Args:
        file: the file; it is created.
        refusal: what to raise if another process has locked it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(file, "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise refusal from error
        except OSError:  # the file system has no locks
            pass
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                os.remove(file)


def shortened(message: object, longest: int = MAX_MESSAGE) -> str:
    """Return a message, with its middle cut out if it has more than `longest` characters."""
    text = str(message)
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"


#: Exceptions that JSON, NumPy and Keras raise for damaged files; callers raise `FileFormatError`.
DAMAGE = (
    EOFError, RuntimeError, LookupError, AttributeError, TypeError, ValueError, ArithmeticError,
    MemoryError,
)  # fmt: skip


def zip_damage() -> tuple[type[Exception], ...]:
    """Return the exceptions for damaged zip files.

    It is a function because zipfile is slow to import. `OSError` is not included: damaged members
    can raise it, but so can a file that cannot be read.
    """
    import lzma
    import struct
    import zipfile
    import zlib

    return (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, *DAMAGE)


def _part_name(name: str) -> str:
    """Return a random name that nobody can guess and no other writer uses."""
    suffix = os.path.splitext(name)[1]
    tail = f".{os.getpid()}.{os.urandom(4).hex()}.part"
    if len(os.fsencode(suffix)) < 32:
        tail += suffix
    room = _MAX_NAME - len(os.fsencode(tail)) - 1
    return f".{os.fsencode(name)[:room].decode(errors='ignore')}{tail}"


def _copy_access(old: os.stat_result, path: str) -> None:
    """Give a file the permissions of another and, if the user may set it, the owner."""
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(path, old.st_uid, old.st_gid)
    os.chmod(path, stat.S_IMODE(old.st_mode))

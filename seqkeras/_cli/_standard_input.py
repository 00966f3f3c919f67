"""Standard input as a file that can be read more than once."""

import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType

#: The first bytes of a parquet file.
PARQUET = b"PAR1"


class StandardInput:
    """A copy of standard input in a temporary file, which is removed at the end of the block."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def __enter__(self) -> "StandardInput":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def file(self) -> Path:
        """Read standard input to its end, and return the path of the copy."""
        self._folder = Path(tempfile.mkdtemp(prefix="seqkeras-"))
        beginning = sys.stdin.buffer.read(len(PARQUET))
        suffix = ".parquet" if beginning == PARQUET else ".csv"
        path = self._folder / f"stdin{suffix}"
        with path.open("wb") as copy:
            copy.write(beginning)
            shutil.copyfileobj(sys.stdin.buffer, copy)
        return path

    def named(self, message: str) -> str:
        """Return a message with the words standard input in place of the path of the copy."""
        if self._folder is None:
            return message
        for suffix in (".csv", ".parquet"):
            message = message.replace(str(self._folder / f"stdin{suffix}"), "standard input")
        return message

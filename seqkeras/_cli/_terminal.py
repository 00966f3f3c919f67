"""Output to the terminal: messages and warnings of seqkeras, without those of other libraries."""

import io
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqkeras._checks import nearest
from seqkeras._cli._words import in_options, printable
from seqkeras._files import whole_file
from seqkeras.errors import SeqkerasWarning

if TYPE_CHECKING:
    import pandas as pd


def complain(message: str) -> None:
    """Print a message of the library to standard error, naming options instead of arguments."""
    print(f"seqkeras: {in_options(message)}", file=sys.stderr)


def message_of(error: Exception) -> str:
    """Return the message of an error; for a missing file, with the name that may be meant."""
    if not isinstance(error, FileNotFoundError) or error.filename is None:
        return str(error)
    path = Path(str(error.filename))
    names: list[str] = []
    with suppress(OSError):  # a folder that does not exist, or that cannot be listed
        names = os.listdir(path.parent)
    return f"No such file or directory: {str(path)!r}. {nearest(path.name, names)}".rstrip()


def notice(message: str) -> None:
    """Print what was found in a file to standard error."""
    print(f"seqkeras: {printable(message)}", file=sys.stderr)


def show(forecast: "pd.DataFrame", rows: int = 24) -> None:
    """Print the first rows of a forecast."""
    print(printable(forecast.head(rows).to_string(index=False, float_format="{:.5g}".format)))
    if len(forecast) > rows:
        print(f"... {len(forecast) - rows} more rows")


def tell_picture(path: Path, df: "pd.DataFrame", id_column: str | None) -> None:
    """Print the name of a picture, and how many of the series of `df` it shows."""
    from seqkeras.forecasting.frames._panel import PLOTTED

    count = 1 if id_column is None else df[id_column].nunique()
    part = f" of the first {PLOTTED} of {count} series" if count > PLOTTED else ""
    print(f"Picture{part}: {path}", flush=True)


def show_scores(scores: "pd.DataFrame", title: str) -> None:
    """Print a table of scores."""
    print(f"\n{title}:")
    print(scores.to_string(na_rep="", float_format="{:.4g}".format))


def records(df: "pd.DataFrame") -> Any:
    """Return the rows of a frame as JSON has them, with dates in ISO 8601 and null for NaN."""
    return json.loads(df.to_json(orient="records", date_format="iso"))


def score_records(scores: "pd.DataFrame") -> Any:
    """Return a table of scores, a row for each method, as JSON has it."""
    return records(scores.rename_axis("method").reset_index())


def save_picture(figure: Any, path: Path) -> None:
    """Write a figure to a file, which is replaced only by a complete one."""
    with whole_file(path) as part:
        figure.savefig(part)


@contextmanager
def only_own_warnings() -> Iterator[None]:
    """Print warnings of seqkeras like its errors, and hide those of other libraries."""

    def print_warning(message: Any, *_: Any, **__: Any) -> None:
        complain(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SeqkerasWarning)
        warnings.showwarning = print_warning
        yield


def open_streams() -> None:
    """Open standard output and error if they are closed, so that no file gets their descriptors."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            setattr(sys, name, io.TextIOWrapper(os.fdopen(number, "wb", closefd=False)))


@contextmanager
def hold_back_notices() -> Iterator[None]:
    """Hold back the notices of C++ code, such as TensorFlow's; print them if an error is raised."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notices:
        terminal = os.dup(2)
        os.dup2(notices.fileno(), 2)
        try:
            yield
        except BaseException:
            notices.seek(0)
            os.write(terminal, notices.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)

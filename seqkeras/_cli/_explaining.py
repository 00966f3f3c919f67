"""The command `explain`."""

import argparse
from pathlib import Path
from typing import Any

from seqkeras._checks import bad_argument
from seqkeras._cli._terminal import hold_back_notices
from seqkeras.errors import FileFormatError


def add_explain_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.add_argument("model", type=Path, help=".keras or .h5 file; code in it is not run")


def explain(options: argparse.Namespace) -> dict[str, Any]:
    """Print which kernels the recurrent layers of a model run, and its traps."""
    model = load_model(options.model)
    from seqkeras.diagnostics._report import report

    text = report(model)
    print(text)
    return {"report": text}


def load_model(path: Path) -> Any:
    """Load a model of Keras 3 or 2 that may have seqkeras layers; code in the file is not run."""
    if path.exists() and not path.is_file():
        raise bad_argument("MODEL", str(path), "a regular file")
    path.open("rb").close()  # raises OSError, which names the file
    with hold_back_notices():
        import seqkeras.layers  # noqa: F401  # registers the layers
        from seqkeras.conversion import load_legacy
    try:
        return load_legacy(path)
    except FileFormatError:
        raise
    except Exception as error:  # backends raise classes of their own, such as out of memory
        raise FileFormatError(f"{path} cannot be loaded as a .keras file: {error}") from error

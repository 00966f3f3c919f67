"""The commands `export` and `explain`."""

import argparse
from pathlib import Path
from typing import Any

from seqkeras._checks import bad_argument
from seqkeras._cli._targets import check_different, check_place
from seqkeras._cli._terminal import hold_back_notices
from seqkeras.errors import FileFormatError


def export(options: argparse.Namespace) -> None:
    """Write a .keras model as a program or an ONNX graph."""
    if options.onnx and options.float16:
        raise bad_argument("--float16", True, "omitted with --onnx")
    check_place("TARGET", options.target, force=options.force)
    check_different("MODEL, TARGET", [options.model, options.target])
    model = _load_model(options.model)
    form: dict[str, Any] = {"window": options.window, "features": options.features}
    if options.onnx:
        from seqkeras.export import save_onnx
        from seqkeras.runtime import load_onnx

        save_onnx(model, options.target, form=options.onnx, **form)
        print(f"{options.target}: {load_onnx(options.target)}")
        return
    from seqkeras.export import save_program
    from seqkeras.runtime import load

    if options.float16:
        form["storage"] = "float16"
    save_program(model, options.target, **form)
    print(f"{options.target}: {load(options.target)}")


def explain(options: argparse.Namespace) -> None:
    """Print which kernels the recurrent layers of a model run, and its traps."""
    model = _load_model(options.model)
    from seqkeras.diagnostics._report import report

    print(report(model))


def _load_model(path: Path) -> Any:
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

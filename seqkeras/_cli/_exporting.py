"""The command `export`."""

import argparse
from pathlib import Path
from typing import Any

from seqkeras._checks import bad_argument
from seqkeras._cli._explaining import load_model
from seqkeras._cli._targets import check_different, check_place


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="trained model, .keras or .h5")
    add("target", type=Path, metavar="TARGET", help="file to write")
    add("--window", type=int, help="timesteps that each output may read (default: all so far)")
    add("--features", nargs="+", metavar="NAME", help="names of the features, stored in the file")
    add("--float16", action="store_true", help="weights in half precision")
    add("--onnx", choices=["step", "sequence"], help="write an ONNX graph instead of a program")
    add("--force", action="store_true", help="overwrite an existing file")


def export(options: argparse.Namespace) -> dict[str, Any]:
    """Write a .keras model as a program or an ONNX graph."""
    if options.onnx and options.float16:
        raise bad_argument("--float16", True, "omitted with --onnx")
    check_place("TARGET", options.target, force=options.force)
    check_different("MODEL, TARGET", [options.model, options.target])
    model = load_model(options.model)
    form: dict[str, Any] = {"window": options.window, "features": options.features}
    if options.onnx:
        from seqkeras.export import save_onnx
        from seqkeras.runtime import load_onnx

        save_onnx(model, options.target, form=options.onnx, **form)
        description = str(load_onnx(options.target))
        print(f"{options.target}: {description}")
        return {"output": str(options.target), "graph": description}
    from seqkeras.export import save_program
    from seqkeras.runtime import load

    if options.float16:
        form["storage"] = "float16"
    save_program(model, options.target, **form)
    description = str(load(options.target))
    print(f"{options.target}: {description}")
    return {"output": str(options.target), "program": description}

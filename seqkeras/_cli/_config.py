"""Options in a TOML file: `--config FILE`, which `--write-config FILE` writes."""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

from seqkeras._checks import bad_argument, nearest
from seqkeras._cli._targets import check_place
from seqkeras._files import whole_file
from seqkeras.errors import FileFormatError

#: Options that a file of options does not hold.
EXCLUDED = ("run", "command", "config", "write_config", "force", "json")

#: Positional arguments of each command: they belong to a call, and a file serves several calls.
POSITIONAL = {
    "demo": (),
    "forecast": ("file",),
    "backtest": ("file",),
    "compare": ("file",),
    "detect": ("file",),
    "export": ("model", "target"),
    "explain": ("model",),
    "serve": ("program",),
    "launch": ("script", "arguments"),
}


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    group = parser.add_argument_group("options in a file, and output for programs")
    add = group.add_argument
    add("--config", type=Path, metavar="TOML", help="file of options; the command line wins")
    add(
        "--write-config", type=Path, metavar="TOML", help="write the options of this call to a file"
    )
    add("--json", action="store_true", help="print one JSON object instead of text")


def arguments_of(options: argparse.Namespace) -> list[str]:
    """Return the options in the file of `--config` as arguments of the command line.

    Args:
        options: the parsed options of a command.

    Raises:
        ArgumentError: the file has an option that the command does not have.
        FileFormatError: the file is not TOML.
        OSError: the file cannot be read.
    """
    path = options.config
    if path is None:
        return []
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{path} cannot be read as TOML: {error}") from error
    names = [name.replace("_", "-") for name in _options(options)]
    arguments = []
    for name, value in values.items():
        if name not in names:
            fix = nearest(name, names) or "Remove it."
            raise bad_argument(str(path), name, f"a file of options of {options.command}", fix)
        arguments += _arguments(name, value)
    # Ends the values of the last option, so that the file on the command line is not one of them.
    return [*arguments, "--config", str(path)]


def write_config(options: argparse.Namespace) -> None:
    """Write the options of a call to the file of `--write-config`; those that are None are omitted.

    Raises:
        ArgumentError: the file exists already, or cannot be written.
    """
    path = options.write_config
    check_place("--write-config", path, force=getattr(options, "force", False))
    lines = [f"# Options of seqkeras {options.command}, for --config."]
    for name, value in _options(options).items():
        if value is not None:
            lines.append(f"{name.replace('_', '-')} = {_toml(value)}")
    with whole_file(path) as part:
        Path(part).write_text("\n".join(lines) + "\n", "utf-8")


def _options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a call that a file can hold."""
    excluded = (*EXCLUDED, *POSITIONAL[options.command])
    return {name: value for name, value in vars(options).items() if name not in excluded}


def _arguments(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    if isinstance(value, (str, int, float)):
        return [f"--{name}={value}"]
    values = value if isinstance(value, list) else [None]
    if any(not isinstance(entry, (str, int, float)) or str(entry)[:2] == "--" for entry in values):
        raise bad_argument(name, value, "a word, a number, true, false, or a list of these")
    return [f"--{name}", *map(str, values)]


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    # A basic string of TOML has the escapes of JSON.
    return json.dumps(str(value), ensure_ascii=False)

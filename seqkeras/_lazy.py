"""Names that are imported on first use, and optional packages."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from seqkeras.errors import MissingDependencyError


def attach(
    package: str, table: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for the `__init__` of a package (PEP 562).

    Args:
        package: name of the package.
        table: the public names of each submodule. A submodule without a leading underscore is
            public itself. Each is imported when one of its names is first used.
    """
    home = {name: module for module, names in table.items() for name in names}
    modules = {module for module in table if not module.startswith("_")}
    public = sorted(home.keys() | modules)

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted(public + [name for name in vars(sys.modules[package]) if name[:2] == "__"])

    return __getattr__, __dir__, public


BACKENDS = ("tensorflow", "jax", "torch")


def optional(module: str, *, extra: str) -> ModuleType:
    """Import a package that belongs to the extra `extra`.

    Raises:
        MissingDependencyError: it is not installed; the message contains the command to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in BACKENDS:
            raise MissingDependencyError(
                f"Keras is set to run on {missing}, which is not installed. Install it with: "
                f'pip install "seqkeras[{missing}]", or set KERAS_BACKEND to another of '
                f"{', '.join(BACKENDS)}."
            ) from error
        # An installed package that lacks a dependency itself keeps its error.
        if missing != module.split(".")[0]:
            raise
        raise MissingDependencyError(
            f"This needs the package {missing!r}, which is not installed. "
            f'Install it with: pip install "seqkeras[{extra}]"'
        ) from error


def require(*packages: str) -> None:
    """Import packages that come with each of the extras tensorflow, jax and torch.

    A package that needs them calls this first, for an error with the command to install them.

    Raises:
        MissingDependencyError: a package is not installed.
    """
    for package in packages:
        optional(package, extra="tensorflow")

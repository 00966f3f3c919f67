"""Names that are imported when first used, and optional packages with the way to install them."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from seqkeras.errors import MissingDependencyError


def attach(
    package: str, table: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` for the `__init__` of `package` (PEP 562).

    `table` says, for each submodule, which names it gives to the package; a submodule without a
    leading underscore is itself public. Nothing is imported until a name is asked for.
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
    """Imports a package that belongs to the extra `extra`.

    Raises:
        MissingDependencyError: it is not installed; the message has the install command.
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
        # A package that is there, but itself misses something, keeps its own error.
        if missing != module.split(".")[0]:
            raise
        raise MissingDependencyError(
            f"This needs the package {missing!r}, which is not installed. "
            f'Install it with: pip install "seqkeras[{extra}]"'
        ) from error


def require(*packages: str) -> None:
    """Imports packages that come with each of the extras tensorflow, jax and torch.

    Called first in a package that needs them, so that a missing one is answered with the command
    that installs it.

    Raises:
        MissingDependencyError: one is not installed.
    """
    for package in packages:
        optional(package, extra="tensorflow")

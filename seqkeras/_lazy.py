"""Names that are imported on first use, and optional packages."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from seqkeras.errors import MissingDependencyError


def attach(
    package: str, exports: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for the `__init__` of a package (PEP 562).

    `__dir__` lists all public names. `__all__`, of which `from package import *` imports each, is
    computed when it is read: the public names whose packages are installed.

    Args:
        package: name of the package.
        exports: the public names of each submodule, which is imported when a name is first used. A
            submodule is itself public unless a part of its path has a leading underscore.
    """
    module_of = {name: module for module, names in exports.items() for name in names}
    modules = {module for module in exports if "._" not in f".{module}"}
    public = sorted(module_of.keys() | modules)

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name == "__all__":
            return [public_name for public_name in public if _is_usable(package, public_name)]
        if name in modules:
            return _import(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(_import(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        own_names = [name for name in vars(sys.modules[package]) if name.startswith("__")]
        return sorted(public + own_names)

    return __getattr__, __dir__


def _import(module: str) -> ModuleType:
    """Import a module of seqkeras.

    Raises:
        MissingDependencyError: it needs a package of the backend extras that is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in MODELLING:
            require(missing)
        if missing in BACKENDS:
            require("keras")
        raise


def _is_usable(package: str, name: str) -> bool:
    """Return whether the packages that a name needs are installed."""
    try:
        getattr(sys.modules[package], name)
    except MissingDependencyError:
        return False
    return True


#: What every backend extra installs besides the backend.
MODELLING = ("keras", "pandas", "sklearn", "scipy", "tqdm")
BACKENDS = ("tensorflow", "jax", "torch")


def import_optional(module: str, *, extra: str) -> ModuleType:
    """Import a package installed by `seqkeras[extra]`.

    Raises:
        MissingDependencyError: the package, or the backend of Keras, is not installed; the message
            contains the command to install it.
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if package == "keras" and missing in BACKENDS:
            others = " or ".join(backend for backend in BACKENDS if backend != missing)
            raise MissingDependencyError(
                f"Keras is set to run on {missing}, which is not installed. Install it with: "
                f'pip install "seqkeras[{missing}]", or set KERAS_BACKEND to {others}.'
            ) from error
        # The package is installed but lacks one of its own dependencies.
        if missing != package:
            raise
        raise MissingDependencyError(
            f"This needs the package {missing!r}, which is not installed. "
            f'Install it with: pip install "seqkeras[{extra}]"'
        ) from error


def require(*packages: str) -> None:
    """Import packages that every backend extra installs, or raise with the install command.

    Subpackages call this at the top of their `__init__`.

    Raises:
        MissingDependencyError: a package is not installed.
    """
    for package in packages:
        import_optional(package, extra="tensorflow")  # any backend extra works

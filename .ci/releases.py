"""Test the oldest and the newest supported releases of everything, on each backend and Python.

    python .ci/releases.py [--wheel WHEEL] [NAME ...]    # by default all; gigabytes

Each has an environment of its own in build/releases, which stays for the next time. With --wheel,
that wheel is installed and tested, else this checkout. `.ci/run` tests the newest releases only.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build/releases"


class Release(NamedTuple):
    """Packages to test with, in a Python that this machine may have or not."""

    backend: str
    packages: tuple[str, ...]
    python: str = "python3.11"
    tests: tuple[str, ...] = ()


# Whatever a release of a package could break: the native kernels, Keras, pandas.
KERNELS = (
    "tests/kernels/fused/test_bindings.py",
    "tests/kernels/fused/test_devices.py",
    "tests/layers/test_bidirectional.py",
)
ALL = (
    *KERNELS,
    "tests/layers/test_recurrent.py",
    "tests/models/test_many_to_one.py",
    "tests/models/test_encoder_decoder.py",
    "tests/export/test_trace.py",
    "tests/windows/test_dataset.py",
    "tests/forecasting/test_forecaster.py",
    "tests/forecasting/frames",
    "tests/forecasting/calendars",
)
# This release of pandas cannot read its own offset LWOM.
ALL_BUT_LWOM = (
    *ALL,
    "--deselect=tests/forecasting/calendars/test_calendar.py::"
    "test_the_season_follows_from_the_frequency[LWOM-FRI-12]",
)
# The lower bounds of pyproject.toml, which a test compares with these.
OLDEST = (
    "keras==3.10.0",
    "numpy==1.26.0",
    "pandas==2.2.0",
    "scikit-learn==1.4.0",
    "scipy==1.10.0",
    "tqdm==4.65.0",
)
NEWEST = ("keras", "numpy", "pandas>=3", "scikit-learn", "scipy", "tqdm")
RELEASES = {
    "tensorflow-oldest": Release(
        "tensorflow", ("tensorflow-cpu==2.18.0", *OLDEST), tests=ALL_BUT_LWOM
    ),
    "tensorflow-newest": Release("tensorflow", ("tensorflow-cpu", *NEWEST), tests=ALL),
    "tensorflow-newest-python3.12": Release(
        "tensorflow", ("tensorflow-cpu", *NEWEST), "python3.12", ALL
    ),
    "tensorflow-newest-python3.13": Release(
        "tensorflow", ("tensorflow-cpu", *NEWEST), "python3.13", ALL
    ),
    "jax-oldest": Release("jax", ("jax==0.4.36", "jaxlib==0.4.36", *OLDEST), tests=KERNELS),
    "jax-newest": Release("jax", ("jax", *NEWEST), tests=KERNELS),
    "torch-oldest": Release("torch", ("torch==2.6.0", *OLDEST), tests=KERNELS),
    "torch-newest": Release("torch", ("torch", *NEWEST), tests=KERNELS),
    # Older than what is supported, or in between: the kernels are one binary for all releases.
    "tensorflow-2.16": Release("tensorflow", ("tensorflow-cpu==2.16.2", "keras"), tests=KERNELS),
    "tensorflow-2.20": Release("tensorflow", ("tensorflow-cpu==2.20.0", "keras"), tests=KERNELS),
    "jax-0.4.38": Release("jax", ("jax==0.4.38", "jaxlib==0.4.38", "keras"), tests=KERNELS),
}
TOOLS = ("pytest", "hypothesis", "holidays>=0.40")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RELEASES))
    parser.add_argument("--wheel", type=Path, help="the wheel to test; by default, this checkout")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(RELEASES):
        parser.error(f"unknown releases: {', '.join(unknown)}; known: {', '.join(RELEASES)}")
    wheel = arguments.wheel and arguments.wheel.resolve()
    names = arguments.names or list(RELEASES)
    lines = {name: check(name, wheel) for name in names}
    print("\n".join(f"{name}: {line}" for name, line in lines.items()))
    if any(line.startswith("FAILED") for line in lines.values()):
        sys.exit(1)


def check(name: str, wheel: Path | None) -> str:
    """Test a release, and return the result in one line."""
    release = RELEASES[name]
    interpreter = find(release.python)
    if not interpreter:
        return f"not tested: this machine has no {release.python}"
    python = FOLDER / name / "bin/python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", python.parents[1]], check=True)
    if not install(python, release.packages, wheel):
        return "FAILED: pip cannot install it"
    print(f"{name}: {versions(python)}", flush=True)
    paths = {} if wheel else {"PYTHONPATH": str(ROOT)}
    environment = {**os.environ, "KERAS_BACKEND": release.backend, **paths}
    # Without its library, the tests of the kernels would be skipped.
    use = [python, "-P", "-c", "from seqkeras import native; native.library()"]
    if wheel and subprocess.run(use, env=environment, check=False).returncode:
        return "FAILED: the library of the wheel does not load"
    # Warnings are only errors with the newest releases.
    command = [python, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"]
    done = subprocess.run([*command, *release.tests], cwd=ROOT, env=environment, check=False)
    return "FAILED" if done.returncode else f"passed, with {versions(python)}"


def install(python: Path, packages: tuple[str, ...], wheel: Path | None) -> bool:
    """Install packages and a wheel into an environment, and return whether that worked."""
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Without --upgrade, an environment of last time would keep what was newest then.
    commands = [[*pip, "--upgrade", *packages, *TOOLS]]
    if wheel:  # also if a wheel of the same version is installed
        commands.append([*pip, "--no-deps", "--force-reinstall", wheel])
    return not any(subprocess.run(command, check=False).returncode for command in commands)


def find(python: str) -> str | None:
    """Return the path of a Python of this machine, or None if there is no such Python."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [shutil.which(python), *sorted(pyenv.glob(f"versions/*/bin/{python}"), reverse=True)]
    for place in filter(None, places):
        # What pyenv puts into the path does not run in every folder.
        if not subprocess.run([place, "--version"], capture_output=True, check=False).returncode:
            return str(place)
    return None


def versions(python: Path) -> str:
    """Return the versions of Python and of the packages that matter, in an environment."""
    command = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wanted = ("tensorflow", "tensorflow-cpu", "jax", "torch", "keras", "pandas", "numpy")
    installed = done.stdout.replace("_", "-").split()
    lines = [line for line in installed if line.partition("==")[0] in wanted]
    version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True)
    return ", ".join([version.stdout.strip(), *lines])


if __name__ == "__main__":
    main()

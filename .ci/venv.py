"""Create `.venv` and install the requirements of a target, once, with one line of progress.

    python .ci/venv.py [--layer] NAME REQUIREMENT [REQUIREMENT ...]

NAME is stored with a fingerprint of the requirements, pyproject.toml and the sources to compile. A
second call with the same fingerprint does nothing. The full log is in `install-NAME.log`.

With --layer, the requirements go into an environment of their own, `.venv/NAME`, that has the
packages of `.venv` as well. `.venv` stays as it is and can be used meanwhile.
"""

import hashlib
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)


def main() -> None:
    layered = sys.argv[1] == "--layer"
    name, *requirements = sys.argv[1 + layered :]
    if sys.version_info < OLDEST:
        have = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"seqkeras needs Python 3.11 or later. This is {have}: use make PYTHON=python3.11")
    # An installation compiles the native library, so its sources count.
    sources = sorted((ROOT / "seqkeras/native/src").iterdir())
    files = [ROOT / "pyproject.toml", ROOT / "setup.py", *sources]
    state = "\n".join([*(file.read_text() for file in files), sys.version, *requirements])
    fingerprint = hashlib.sha256(state.encode()).hexdigest()
    folder = VENV / name if layered else VENV
    stamp = folder / f"installed-{name}"
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    if layered:
        make_layer(folder, VENV)
    else:
        make(folder)
    # Bytecode is compiled by the first import: most of these modules are never imported.
    pip = [str(python(folder)), "-m", "pip", "install", "--disable-pip-version-check"]
    log = folder / f"install-{name}.log"
    install([*pip, "--no-compile", *requirements], log, " ".join(requirements))
    stamp.write_text(fingerprint)


def python(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / "bin/python"


def make(folder: Path) -> None:
    """Create the environment, also if an interrupted run has left one without pip."""
    pip = [str(python(folder)), "-m", "pip", "--version"]
    has_pip = (
        python(folder).exists()
        and subprocess.run(pip, capture_output=True, check=False).returncode == 0
    )
    if not has_pip:
        create(folder)


def make_layer(folder: Path, below: Path) -> None:
    """Create an environment that also has the packages, and the pip, of the one below."""
    create(folder, "--without-pip")
    packages, packages_below = (
        Path(sysconfig.get_path("purelib", "venv", {"base": str(base)})) for base in (folder, below)
    )
    line = f"import site; site.addsitedir({str(packages_below)!r})\n"
    (packages / "below.pth").write_text(line)


def create(folder: Path, *options: str) -> None:
    """Create an empty environment, instead of the one that may be there."""
    command = [sys.executable, "-m", "venv", "--clear", *options, str(folder)]
    if subprocess.run(command, check=False).returncode:
        sys.exit("Cannot create a virtual environment; on Debian: apt install python3-venv")


def install(command: list[str], log: Path, what: str) -> None:
    """Run pip with its output in the log, and the elapsed time on the screen."""
    start = time.monotonic()
    print(f"Installing {what}, once: a few minutes ", end="", flush=True)
    with log.open("w") as file:
        pip = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        while pip.poll() is None:
            time.sleep(0.2)
            if int(time.monotonic() - start) % 5 == 0:
                print(".", end="", flush=True)
                time.sleep(0.8)
    print(f" {time.monotonic() - start:.0f} s")
    if pip.returncode:
        print("".join(log.open().readlines()[-25:]), file=sys.stderr)
        sys.exit(f"The installation failed; the whole log is in {log}")


if __name__ == "__main__":
    main()

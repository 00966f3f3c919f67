"""Create `.venv` and install the requirements of a target, once, with one line of progress.

    python .ci/venv.py NAME REQUIREMENT [REQUIREMENT ...]

NAME is stored with a fingerprint of the requirements, pyproject.toml and the sources to compile. A
second call with the same fingerprint does nothing. The full log is in `.venv/install-NAME.log`.
"""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
OLDEST = (3, 11)


def main() -> None:
    name, *requirements = sys.argv[1:]
    if sys.version_info < OLDEST:
        have = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"seqkeras needs Python 3.11 or later. This is {have}: use make PYTHON=python3.11")
    # An installation compiles the native library, so its sources count.
    sources = sorted((ROOT / "seqkeras/native/src").iterdir())
    files = [ROOT / "pyproject.toml", ROOT / "setup.py", *sources]
    state = "\n".join([*(file.read_text() for file in files), sys.version, *requirements])
    fingerprint = hashlib.sha256(state.encode()).hexdigest()
    stamp = VENV / f"installed-{name}"
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    log = VENV / f"install-{name}.log"
    make()
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *requirements]
    install(command, log, " ".join(requirements))
    stamp.write_text(fingerprint)


def make() -> None:
    """Create the environment, also if an interrupted run has left one without pip."""
    pip = [str(PYTHON), "-m", "pip", "--version"]
    if PYTHON.exists() and not subprocess.run(pip, capture_output=True, check=False).returncode:
        return
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(command, check=False).returncode:
        sys.exit("Cannot create a virtual environment; on Debian: apt install python3-venv")


def install(command: list[str], log: Path, what: str) -> None:
    """Run pip with its output in the log, and the elapsed time on the screen."""
    start = time.monotonic()
    print(f"Installing {what} into .venv, once: a few minutes ", end="", flush=True)
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

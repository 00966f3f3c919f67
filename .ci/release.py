"""Prove that a release can be made from this checkout: `make release-check`.

    python .ci/release.py [STEP ...]    # by default all; one to two hours, 30 GB

Every step runs, also after one that fails, and the end lists what each has found. Nothing is
uploaded. The wheels and the sdist are in build/release.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / ".ci"
WORK = ROOT / "build/release"
DIST = WORK / "dist"


class FailedError(Exception):
    """A step that failed; its text says why."""


def version_step() -> str:
    """Compare the version in the package, the changelog and CITATION.cff."""
    version = version_of_package()
    if not re.fullmatch(r"\d+(\.\d+){1,2}((a|b|rc)\d+)?", version):
        raise FailedError(f"{version} is not the version of a release")
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if headings[0].split()[0] != version:
        raise FailedError(f"CHANGELOG.md begins with {headings[0]}, and the version is {version}")
    cited = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    if cited != [version]:
        raise FailedError(f"CITATION.cff has the version {cited}, and the package {version}")
    dated = "" if "unreleased" not in headings[0] else "; the changelog has no date yet"
    return f"{version}{dated}"


def citation_step() -> str:
    """Validate CITATION.cff."""
    tool("cffconvert", "--validate", "--infile", ROOT / "CITATION.cff")
    return "valid"


def build_step() -> str:
    """Build the sdist and the wheels of all platforms, and test those that can run here."""
    shutil.rmtree(DIST, ignore_errors=True)
    lines = run(sys.executable, HERE / "wheels.py", "--folder", DIST)
    files = f"{len(list(DIST.iterdir()))} files in {DIST.relative_to(ROOT)}"
    return f"{files}; not run: {names_with(lines, 'not run')}"


def files_step() -> str:
    """Check that an index shows the README, and that the sdist has the license and all sources."""
    tool("twine", "check", "--strict", *sorted(DIST.iterdir()))
    (sdist,) = DIST.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = [
        f"seqkeras/native/src/{file.name}" for file in (ROOT / "seqkeras/native/src").iterdir()
    ]
    missing = {"LICENSE", "README.md", "pyproject.toml", "setup.py", *sources} - names
    if missing:
        raise FailedError(f"the sdist lacks {sorted(missing)}")
    links = re.findall(r"\]\((?!https?:|#)[^)]*\)", (ROOT / "README.md").read_text())
    return f"the README shows, but {len(links)} of its links lead to files that no index has"


def docs_step() -> str:
    """Build the site, with warnings as errors, and lay it out by versions."""
    pages, site = WORK / "docs", WORK / "site"
    for folder in (pages, site):
        shutil.rmtree(folder, ignore_errors=True)
    tool("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", pages)
    run(sys.executable, HERE / "llms.py", pages)
    run(sys.executable, HERE / "links.py", pages)
    run(sys.executable, ROOT / "docs/_versions.py", pages, site)
    return f"{len(list(pages.rglob('*.html')))} pages"


def demo_step() -> str:
    """Install the wheel into a new environment, as a user does, and run the demo."""
    folder = WORK / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "venv", folder)
    install = (folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-compile")
    run(*install, f"seqkeras[tensorflow,plot] @ {wheel().as_uri()}", CC="false", CXX="false")
    run(folder / "bin/seqkeras", "demo", cwd=folder)
    picture = folder / "forecast.png"
    if not picture.exists():
        raise FailedError("the demo has drawn nothing")
    return f"a picture of {picture.stat().st_size / 1000:.0f} kB"


def releases_step() -> str:
    """Test the wheel with the oldest and the newest releases of what it needs."""
    lines = run(sys.executable, HERE / "releases.py", "--wheel", wheel())
    return f"passed: {names_with(lines, 'passed')}; not tested: {names_with(lines, 'not tested')}"


STEPS: dict[str, Callable[[], str]] = {
    "version": version_step,
    "citation": citation_step,
    "build": build_step,
    "files": files_step,
    "docs": docs_step,
    "demo": demo_step,
    "releases": releases_step,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    steps = parser.parse_args().steps or list(STEPS)
    if unknown := set(steps) - set(STEPS):
        parser.error(f"unknown steps: {', '.join(unknown)}; known: {', '.join(STEPS)}")
    WORK.mkdir(parents=True, exist_ok=True)
    results = {name: attempt(name) for name in steps}
    print("\n".join(f"{name:9}{line}" for name, (_, line) in results.items()))
    if not all(passed for passed, _ in results.values()):
        sys.exit("This is not ready for a release.")


def attempt(name: str) -> tuple[bool, str]:
    """Return whether a step passed, and what it found."""
    step = STEPS[name]
    print(f"== {name}: {step.__doc__}", flush=True)
    start = time.monotonic()
    try:
        passed, line = True, f"ok: {step()}"
    except FailedError as failure:
        passed, line = False, f"FAILED: {failure}"
    return passed, f"{line} ({time.monotonic() - start:.0f} s)"


def version_of_package() -> str:
    """Return the version of the package in this checkout."""
    text = (ROOT / "seqkeras/__init__.py").read_text()
    return re.findall(r'^__version__ = "(.*)"$', text, re.MULTILINE)[0]


def wheel() -> Path:
    """Return the wheel for this machine, which an earlier step has built."""
    machine = os.uname().machine
    wheels = list(DIST.glob(f"seqkeras-*manylinux*_{machine}.whl"))
    if not wheels:
        raise FailedError(f"there is no wheel for {machine} in {DIST}: run the step build")
    return wheels[0]


def tool(name: str, *arguments: str | Path) -> None:
    """Run a program of this environment, or of the development environment below it."""
    folders = (Path(sys.executable).parent, ROOT / ".venv/bin")
    program = next((folder / name for folder in folders if (folder / name).exists()), Path(name))
    run(program, *arguments)


def names_with(lines: list[str], result: str) -> str:
    """Return the names in the lines `NAME: RESULT...` of a script that have a result."""
    pairs = [line.split(": ", 1) for line in lines if ": " in line]
    return ", ".join(name for name, text in pairs if text.startswith(result)) or "none"


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> list[str]:
    """Run a command, its output on the screen, and return the lines of its standard output.

    Raises:
        FailedError: its exit status is not 0.
    """
    words = [str(part) for part in command]
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    lines = []
    with subprocess.Popen(
        words, cwd=cwd, env=variables, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    if process.returncode:
        raise FailedError(f"`{' '.join(words[:6])}` failed; its output is above")
    return lines


if __name__ == "__main__":
    main()

"""Build the wheels of all platforms on one Linux machine, check each, and test what can run here.

    python .ci/wheels.py [--folder FOLDER] [PLATFORM ...]    # by default all, into dist

Zig's C++ compiler compiles for every platform; it comes from PyPI as `ziglang`. The sources are
those of the sdist, which is built first. The wheel of this machine is tested in a new environment.
The one for ARM is tested in an emulator, and the library for Windows runs in Wine, both packages of
Debian: `apt-get install qemu-user wine64`. The wheels for macOS are checked, but cannot run here.
"""

import argparse
import shutil
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import NamedTuple

import wheel_checks
import wheel_tests
import ziglang

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/wheels"
ZIG = f"{sys.executable} -m ziglang"


class Platform(NamedTuple):
    """A platform as Python and as the compiler call it."""

    python: str
    zig: str


# By the tag of the wheel. macOS: the oldest release that NumPy's wheels install on.
PLATFORMS = {
    "manylinux_2_17_x86_64": Platform("linux-x86_64", "x86_64-linux-gnu.2.17"),
    "manylinux_2_17_aarch64": Platform("linux-aarch64", "aarch64-linux-gnu.2.17"),
    "macosx_10_13_x86_64": Platform("macosx-10.13-x86_64", "x86_64-macos.10.13"),
    "macosx_11_0_arm64": Platform("macosx-11.0-arm64", "aarch64-macos.11.0"),
    "win_amd64": Platform("win-amd64", "x86_64-windows-gnu"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("platforms", nargs="*", metavar="PLATFORM", help=", ".join(PLATFORMS))
    parser.add_argument("--folder", type=Path, default=ROOT / "dist", help="default: dist")
    arguments = parser.parse_args()
    unknown = set(arguments.platforms) - set(PLATFORMS)
    if unknown:
        parser.error(f"unknown platforms: {', '.join(unknown)}; known: {', '.join(PLATFORMS)}")
    folder = arguments.folder.resolve()
    sdist = build_sdist(folder)
    for tag in arguments.platforms or PLATFORMS:
        print(f"{tag}: builds", flush=True)
        wheel = build_wheel(sdist, tag, folder)
        print(f"{tag}: {wheel_checks.check(wheel, tag)}", flush=True)
        print(f"{tag}: {wheel_tests.test(wheel, tag, BUILD)}", flush=True)
    print(f"The wheels are in {folder}")


def build_sdist(folder: Path) -> Path:
    """Return the new sdist, without those of earlier builds beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("seqkeras-*.tar.gz"), *folder.glob("seqkeras-*.whl")]:
        old.unlink()
    wheel_tests.run(
        sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", folder, ROOT
    )
    (sdist,) = folder.glob("seqkeras-*.tar.gz")
    return sdist


def build_wheel(sdist: Path, tag: str, folder: Path) -> Path:
    """Build the wheel of a platform from the sdist, in a folder of its own."""
    work = BUILD / tag
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(work, filter="data")
    (source,) = work.iterdir()
    add_licenses(source, tag)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder]
    command += [f"-C--build-option=--plat-name={tag}", source]
    wheel_tests.run(*command, **compilers(PLATFORMS[tag]))
    (wheel,) = folder.glob(f"seqkeras-*-{tag}.whl")
    return wheel


def add_licenses(source: Path, tag: str) -> None:
    """Add the licenses of what the compiler links into the library, which the wheel then holds."""
    zig = Path(ziglang.__file__).parent
    (source / "LICENSE-zig").write_text((zig / "LICENSE").read_text())
    if tag.startswith("win"):
        mingw = zig / "lib/libc/mingw"
        # That of the threads is the comment at the top of each of their sources.
        heads = [
            (mingw / f"winpthreads/{name}.c").read_text().partition("*/")[0].removeprefix("/*")
            for name in ("thread", "mutex")
        ]
        words = [(mingw / "COPYING").read_text(), *heads]
        (source / "LICENSE-mingw-w64").write_text("\n\n".join(words))


def compilers(platform: Platform) -> dict[str, str]:
    """Return the variables by which setup.py compiles for another platform."""
    common = f"-target {platform.zig}"
    if platform.python.startswith("macosx"):
        # The interpreter, which loads the library, has the functions of Python.
        common += " -undefined dynamic_lookup"
    if platform.python.startswith("win"):
        common += f" -I{windows_headers()} -L{windows_import_library()}"
    c, cxx = (f"{ZIG} {name} {common}" for name in ("cc", "c++"))
    return {
        "SEQKERAS_BUILD_NATIVE": "1",
        "_PYTHON_HOST_PLATFORM": platform.python,
        "CC": c,
        "CXX": cxx,
        "LDSHARED": f"{c} -shared",
        "ARCHFLAGS": "",
    }


def windows_headers() -> Path:
    """Return the folder of Python's headers, as they are on Windows."""
    folder = BUILD / "windows/include"
    shutil.copytree(sysconfig.get_path("include"), folder, dirs_exist_ok=True)
    shutil.copy(ROOT / ".ci/windows/pyconfig.h", folder)
    return folder


def windows_import_library() -> Path:
    """Return the folder of the library that says what is in python3.dll."""
    folder = BUILD / "windows/lib"
    folder.mkdir(parents=True, exist_ok=True)
    definition = ROOT / ".ci/windows/python3.def"
    library = folder / "python3.lib"
    wheel_tests.run(*ZIG.split(), "dlltool", "-m", "i386:x86-64", "-d", definition, "-l", library)
    return folder


if __name__ == "__main__":
    main()

"""Tests of a wheel on the machine it is for: this one, or an emulated one."""

import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import wheel_checks

ROOT = Path(__file__).resolve().parent.parent
TESTS = "tests/native"
PACKAGES = ("numpy", "pytest", "hypothesis")

# The library must be that of the wheel, and be there, or all tests would be skipped; and it must
# use the best instructions of the processor.
USE = """
import sys
from pathlib import Path
import packaging.tags
from seqkeras import native

library = native.library()
assert Path(sys.argv[1]) in library.path.parents, library.path
assert sys.argv[2] in map(str, packaging.tags.sys_tags()), "pip would not install it"
assert library.isa == sys.argv[3], library.isa
"""

# In the emulator: these test no compiled code, start processes of this machine, take minutes, or
# fork a process that has threads, at which QEMU 7 aborts.
NOT_EMULATED = (
    "the_reference_is_keras",
    "gradients_of_the_reference",
    "by_the_environment",
    "everything_is_as_in_the_reference",
    "two_thousand_timesteps",
    "eight_threads_at_once",
    "many_threads_with_one_object",
    "a_forked_process",
)

# Parts of Debian that make a Python for ARM on which NumPy loads, with what they need.
DEBIAN = ("python3", "libstdc++6")


def test(wheel: Path, tag: str, build: Path) -> str:
    """Test a wheel if it can run here, and return what was done, in one line.

    Raises:
        SystemExit: a test failed.
    """
    folder = build / f"tested-{tag}"
    shutil.rmtree(folder, ignore_errors=True)
    if tag.startswith("manylinux") and tag.endswith(platform.machine()):
        return here(wheel, tag, folder)
    if tag.endswith("linux_2_17_aarch64"):
        return emulated(wheel, tag, folder, build / "debian-arm64")
    if tag.startswith("win"):
        return in_wine(wheel, folder)
    return "not run: that takes another machine"


def here(wheel: Path, tag: str, folder: Path) -> str:
    """Test a wheel in a new environment."""
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin/python"
    install = (python, "-m", "pip", "install", "--no-compile", "--disable-pip-version-check")
    run(*install, wheel, *PACKAGES)
    return f"in a new environment, {tests([python], folder, tag)}"


def emulated(wheel: Path, tag: str, folder: Path, debian: Path) -> str:
    """Test a wheel for ARM with a Python for ARM in an emulator."""
    tools = ("qemu-aarch64", "apt-get", "dpkg-deb")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        return f"not run: this machine has no {missing[0]} (Debian: apt-get install qemu-user)"
    if not (debian / "root/usr/bin/python3").exists():
        unpack_debian(debian)
    python = ["qemu-aarch64", "-L", debian / "root", debian / "root/usr/bin/python3"]
    version = run(*python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    accepted = [f"--platform=manylinux_2_{glibc}_aarch64" for glibc in (17, 28)]
    accepted += ["--platform=manylinux2014_aarch64", f"--python-version={version}"]
    install = (sys.executable, "-m", "pip", "install", "--no-compile", "--only-binary=:all:")
    run(*install, *accepted, "--target", folder, wheel, *PACKAGES)
    words = f"not ({' or '.join(NOT_EMULATED)})"
    return f"emulated, {tests(python, folder, tag, '-k', words, PYTHONPATH=folder)}"


def unpack_debian(folder: Path) -> None:
    """Unpack a Python for ARM; the packages of this machine and their lists are not touched."""
    for part in ("lists/partial", "archives/partial", "root"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder,
    }
    apt = ["apt-get", "-qq", "-y", *(f"-o{name}={value}" for name, value in options.items())]
    run(*apt, "update")
    run(*apt, "--no-install-recommends", "--download-only", "install", *DEBIAN)
    for package in sorted((folder / "archives").glob("*.deb")):
        run("dpkg-deb", "-x", package, folder / "root")


def in_wine(wheel: Path, folder: Path) -> str:
    """Run the native library of the wheel for Windows, but not Python, in Wine."""
    places = (shutil.which("wine64"), shutil.which("wine"), "/usr/lib/wine/wine64")
    wine = next((place for place in places if place and Path(place).exists()), None)
    if not wine:
        return "not run: this machine has no Wine (Debian: apt-get install wine64)"
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        (folder / "_core.pyd").write_bytes(archive.read("seqkeras/native/_core.pyd"))
    zig = (sys.executable, "-m", "ziglang")
    # As setup.py compiles, so that Zig need not compile the libraries of Windows once more.
    target = ("-target", "x86_64-windows-gnu", "-O3", "-s")
    # In place of Python's library, one with its names: what is tested here calls none of them.
    names = (ROOT / ".ci/windows/python3.def").read_text().partition("EXPORTS\n")[2]
    lines = [f"__declspec(dllexport) int {line.split()[0]};" for line in names.splitlines()]
    lines.append("int DllMainCRTStartup(void *a, unsigned b, void *c) { return 1; }")
    (folder / "python3.c").write_text("\n".join(lines))
    stub = ("-shared", "-nostdlib", folder / "python3.c", "-o", folder / "python3.dll")
    run(*zig, "cc", *target, *stub)
    functions = "\n".join(sorted(wheel_checks.interface("_core")))
    (folder / "core.def").write_text(f"LIBRARY _core.pyd\nEXPORTS\n{functions}\n")
    library = ("-d", folder / "core.def", "-l", folder / "core.lib")
    run(*zig, "dlltool", "-m", "i386:x86-64", *library)
    sources = (f"-I{ROOT}/seqkeras/native/src", ROOT / "tests/native/sanitize.cpp")
    program = folder / "sanitize.exe"
    run(*zig, "c++", *target, "-std=c++17", *sources, folder / "core.lib", "-o", program)
    output = run(wine, program, WINEPREFIX=folder / "wine", WINEDEBUG="-all")
    return f"only the library, in Wine: {', '.join(output.split(chr(10))).strip(', ')}"


def tests(
    python: Sequence[str | Path], folder: Path, tag: str, *options: str, **environment: Path
) -> str:
    """Run the tests of the kernels against the wheel in a folder, and return their result."""
    isa = "neon" if tag.endswith("aarch64") else best_of_this_processor()
    # Without the folder of this checkout, whose modules Python would import.
    run(*python, "-c", USE, folder, f"cp311-abi3-{tag}", isa, PYTHONSAFEPATH="1", **environment)
    pytest = (*python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, TESTS)
    output = run(*pytest, PYTHONSAFEPATH="1", **environment)
    return f"with {isa}: {output.strip().splitlines()[-1]}"


def best_of_this_processor() -> str:
    """Return the best instruction set that Linux finds in this processor."""
    flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text()))
    avx2 = {"avx2", "fma"} <= flags
    if avx2 and {"avx512f", "avx512dq", "avx512vl", "avx512bw"} <= flags:
        return "avx512"
    return "avx2" if avx2 else "sse2"


def run(*command: str | Path, **environment: str | Path) -> str:
    """Return the output of a command. If it fails, end with that.

    Raises:
        SystemExit: it failed.
    """
    words = [str(part) for part in command]
    added = {name: str(value) for name, value in environment.items()}
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **added}
    done = subprocess.run(
        words, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\n{done.stderr}\nfailed: {' '.join(words)}")
    return done.stdout

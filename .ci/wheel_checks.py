"""Checks of a wheel that need not run it: files, tags, format, exports and needed libraries."""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import lief

ROOT = Path(__file__).resolve().parent.parent
NATIVE = "seqkeras/native"

# By the beginning of a platform tag: the libraries of the system that a native library may need.
# Linux: those of glibc, whose versions auditwheel checks.
NEEDED = {
    "manylinux": r"(libc\.so\.6|lib(pthread|dl|m)\.so\.[02-6]|ld-linux-[\w-]+\.so\.\d)",
    "macosx": r"/usr/lib/libSystem\.B\.dylib",
    "win": r"(python3|KERNEL32|api-ms-win-crt-[\w-]+)\.dll",
}
MACHINES = {
    "x86_64": {"X86_64"},
    "amd64": {"AMD64"},
    "aarch64": {"AARCH64"},
    "arm64": {"ARM64"},
}
FORMATS = {"manylinux": "ELF", "macosx": "MACHO", "win": "PE"}


def check(wheel: Path, tag: str) -> str:
    """Check a wheel of a platform, and return what was found, in one line.

    Raises:
        SystemExit: something is wrong with it.
    """
    lief.logging.disable()
    system = next(system for system in FORMATS if tag.startswith(system))
    check_files(wheel, tag)
    run("abi3audit", "--strict", wheel)
    if system == "manylinux":
        words = run("auditwheel", "show", wheel)
        oldest = re.search(r'following platform tag:\s+"manylinux_2_(\d+)_', words)
        promised = int(tag.split("_")[2])
        expect(oldest and int(oldest[1]) <= promised, f"auditwheel: {words}")
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        modules = sorted(name for name in archive.namelist() if name.endswith((".so", ".pyd")))
        expected = ["_core.pyd"] if system == "win" else ["_core.abi3.so", "_tensorflow.abi3.so"]
        expect(modules == [f"{NATIVE}/{name}" for name in expected], f"it contains {modules}")
        for module in modules:
            check_library(Path(archive.extract(module, folder)), system, tag)
    megabytes = wheel.stat().st_size / 1e6
    return (
        f"{', '.join(expected)}; format, exports, libraries and ABI as expected; {megabytes:.1f} MB"
    )


def check_files(wheel: Path, tag: str) -> None:
    """Check the name, the tags in the metadata, the license, and that no module is missing."""
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        (metadata,) = (name for name in files if name.endswith(".dist-info/WHEEL"))
        tags = re.findall(r"^Tag: (.*)$", archive.read(metadata).decode(), re.MULTILINE)
    expect(wheel.name.endswith(f"-cp311-abi3-{tag}.whl"), f"it is called {wheel.name}")
    expect(tags == [f"cp311-abi3-{tag}"], f"its metadata has the tags {tags}")
    licenses = {name.rpartition("/")[2] for name in files if "/licenses/" in name}
    linked = {"LICENSE-zig", "LICENSE-mingw-w64"} if tag.startswith("win") else {"LICENSE-zig"}
    expect(licenses == {"LICENSE", *linked}, f"it has the licenses {licenses}")
    tracked = run("git", "-C", ROOT, "ls-files", "seqkeras").split()
    missing = [
        name for name in tracked if not name.startswith(f"{NATIVE}/src/") and name not in files
    ]
    expect(not missing, f"it does not contain {missing}")


def check_library(path: Path, system: str, tag: str) -> None:
    """Check one native library."""
    binary = lief.parse(path)
    format_ = binary.format.name
    expect(format_ == FORMATS[system], f"{path.name} has the format {format_}")
    header = binary.header
    field = {"ELF": "machine_type", "MACHO": "cpu_type", "PE": "machine"}[format_]
    machine = getattr(header, field).name
    wanted = next(names for end, names in MACHINES.items() if tag.endswith(end))
    expect(machine in wanted, f"{path.name} is for {machine}")
    needed = {getattr(library, "name", library) for library in binary.libraries}
    # A library of macOS also names itself.
    needed = {name for name in needed if not name.endswith(path.name)}
    strange = {name for name in needed if not re.fullmatch(NEEDED[system], name)}
    expect(not strange, f"{path.name} needs {strange}")
    check_exports(binary, path)
    if system == "macosx":
        command = binary.build_version or binary.version_min
        release = command.minos if binary.has_build_version else command.version
        oldest = "_".join(str(part) for part in release[:2])
        expect(f"macosx_{oldest}_" in tag, f"{path.name} needs macOS {oldest}")
        # Processors of Apple run no code without a signature, if only one that the linker made.
        expect(binary.has_code_signature or "arm64" not in tag, f"{path.name} is not signed")


def check_exports(binary: lief.Binary, path: Path) -> None:
    """Check that a library exports the functions of its interface, and nothing else."""
    exports = {function.name for function in binary.exported_functions}
    if binary.format.name == "MACHO":
        linker = {"__mh_dylib_header", "___dso_handle"}
        exports = {name.removeprefix("_") for name in exports - linker}
    declared = interface(path.name.partition(".")[0])
    expect(exports == declared, f"{path.name} exports {exports ^ declared} too many or too few")


def interface(module: str) -> set[str]:
    """Return the functions that a native library must export, by the sources."""
    functions = {"PyInit__core"} if module == "_core" else set()
    for source in (ROOT / NATIVE / "src").iterdir():
        if (source.stem == "tensorflow") == (module == "_tensorflow"):
            pattern = r"^SQK_EXPORT [^;{(]*?(\w+)\("
            functions.update(re.findall(pattern, source.read_text(), re.MULTILINE))
    return functions


def expect(right: object, otherwise: str) -> None:
    if not right:
        sys.exit(f"the wheel is wrong: {otherwise}")


def run(program: str, *arguments: str | Path) -> str:
    """Return the output of a program, which may be one of this environment."""
    here = Path(sys.executable).parent / program
    command = [here if here.exists() else program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expect(not done.returncode, f"{program}: {done.stdout}{done.stderr}")
    return done.stdout

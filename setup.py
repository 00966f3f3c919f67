"""Build the native library if there is a C++ compiler, and continue without it otherwise.

Everything else about the package is in pyproject.toml. SEQKERAS_BUILD_NATIVE=0 omits the library;
with SEQKERAS_BUILD_NATIVE=1, a build without it is an error. _PYTHON_HOST_PLATFORM, a variable of
Python, names the platform to build for, if CXX compiles for another: .ci/wheels.py sets both.
"""

import os
import platform
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

# isort: split
# A part of setuptools, only available after its import.
from distutils.ccompiler import new_compiler
from distutils.sysconfig import customize_compiler

# The native library, which is also a module of Python; and the operations of TensorFlow, a library
# that TensorFlow loads. The operations call the native library, and are built without TensorFlow.
CORE = "seqkeras.native._core"
TENSORFLOW = "seqkeras.native._tensorflow"
SOURCES = Path("seqkeras/native/src")
FLAGS = ["-std=c++17", "-O3", "-g0", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi"]
# For example linux-x86_64, macosx-11.0-arm64 or win-amd64.
SYSTEM, _, MACHINE = sysconfig.get_platform().partition("-")
MACHINE = MACHINE.rpartition("-")[2].lower()
# The sources need no C++ runtime, so none is linked: the library then runs on machines where it is
# older, and cannot clash with that of another library in the process.
LINK = ["-static-libgcc", "-pthread", "-ldl", "-s"]
LINK = {"macosx": [], "win": ["-lpython3", "-s"]}.get(SYSTEM, LINK)

# Instruction sets, best first: the floats in a vector, and the compiler's flags.
AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma"]
X86 = {"avx512": (16, AVX512), "avx2": (8, ["-mavx2", "-mfma"]), "sse2": (4, [])}
ARM = {"neon": (4, [])}
GENERIC = {"generic": (4, [])}
# A source, the folder of its object file, flags and macros.
Job: TypeAlias = tuple[str, str, list[str], list[tuple[str, str]]]
ISAS = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}


def isas() -> dict[str, tuple[int, list[str]]]:
    """Return the instruction sets of the target machine."""
    if os.environ.get("ARCHFLAGS", "").count("-arch") > 1:  # several machines in one file
        return GENERIC
    return ISAS.get(MACHINE) or ISAS.get(platform.machine().lower()) or GENERIC


def core_jobs() -> list[Job]:
    """Return the compiler jobs of the native library."""
    macros = [("SQK_ISAS", " ".join(f"X({isa})" for isa in isas()))]
    jobs = [(name, name, [], macros) for name in ("api", "memory", "pool", "door", "xla")]
    for isa, (lanes, flags) in isas().items():
        jobs.append(("isa", isa, flags, [("SQK_ISA", isa), ("SQK_LANES", str(lanes))]))
    return jobs


class BuildNative(build_ext):
    """Compiles `isa.cpp` once for each instruction set, other sources once, and links."""

    def build_extension(self, extension: Extension) -> None:
        """Build one library; setuptools calls this."""
        tensorflow_jobs: list[Job] = [("tensorflow", "tensorflow", [], [])]
        jobs = core_jobs() if extension.name == CORE else tensorflow_jobs
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [path for paths in pool.map(self.compile, jobs) for path in paths]
        self.compiler.link_shared_object(
            objects,
            self.get_ext_fullpath(extension.name),
            extra_postargs=LINK,
        )

    def get_ext_filename(self, fullname: str) -> str:
        """Return the file of a module; setuptools would name it as on the machine that builds."""
        if SYSTEM == "win":
            return f"{os.path.join(*fullname.split('.'))}.pyd"
        return super().get_ext_filename(fullname)

    def compile(self, job: Job) -> list[str]:
        """Compile one source; the folder keeps several objects of one source apart."""
        source, folder, flags, macros = job
        return self.compiler.compile(
            [str(SOURCES / f"{source}.cpp")],
            output_dir=str(Path(self.build_temp) / folder),
            macros=macros,
            extra_postargs=[*FLAGS, *flags],
        )


def why_not() -> str:
    """Return why the library cannot be built here, or an empty string."""
    if os.environ.get("SEQKERAS_BUILD_NATIVE") == "0":
        return "SEQKERAS_BUILD_NATIVE is 0"
    compiler = new_compiler()
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "try.cpp"
        source.write_text(
            "#include <Python.h>\n#include <pthread.h>\n#include <atomic>\n"
            "typedef float Four __attribute__((vector_size(16)));\n"
        )
        include = [sysconfig.get_path("include")]
        try:
            compiler.compile([str(source)], folder, include_dirs=include, extra_postargs=FLAGS)
        except (CCompilerError, ExecError, PlatformError) as error:
            return f"there is no working C++ compiler: {error}"
    return ""


def extensions() -> list[Extension]:
    """Return the libraries to build. If there are none, print the reason, or exit with it."""
    reason = why_not()
    must = os.environ.get("SEQKERAS_BUILD_NATIVE") == "1"
    if reason and must:
        sys.exit(f"seqkeras: {reason}")
    if reason:
        print(f"seqkeras: built without the native library: {reason}", flush=True)
        return []
    # On Windows, TensorFlow exports no stable C interface that operations could be built on.
    names = [CORE] if SYSTEM == "win" else [CORE, TENSORFLOW]
    sources = sorted(str(path) for path in SOURCES.glob("*.cpp"))
    headers = sorted(str(path) for path in SOURCES.glob("*.h"))
    return [
        Extension(name, sources, depends=headers, py_limited_api=True, optional=not must)
        for name in names
    ]


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

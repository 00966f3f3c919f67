"""Builds the native kernels where there is a C++ compiler, and goes on without them elsewhere.

All else about the package is in pyproject.toml. With SEQKERAS_BUILD_NATIVE=0 the kernels are left
out; with SEQKERAS_BUILD_NATIVE=1 a build without them is an error.
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
# A part of setuptools, there once setuptools is imported.
from distutils.ccompiler import new_compiler
from distutils.sysconfig import customize_compiler

# The library of the kernels, which is also a module of Python, and the operations of TensorFlow,
# which TensorFlow loads: they use the first, and are built without TensorFlow.
KERNELS, TENSORFLOW = "seqkeras.native._core", "seqkeras.native._tensorflow"
SOURCES = Path("seqkeras/native/src")
FLAGS = ["-std=c++17", "-O3", "-g0", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi"]
# What the compiler's own libraries define is taken in and hidden: the file runs where they are
# older, and no other library of the process, with another C++ runtime, can meet it.
LINK = ["-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", "-pthread", "-ldl", "-s"]
LINK = [] if sys.platform == "darwin" else LINK

# Instruction sets, the best first: floats in a vector, and the compiler's flags for it.
AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma"]
X86 = {"avx512": (16, AVX512), "avx2": (8, ["-mavx2", "-mfma"]), "sse2": (4, [])}
ARM = {"neon": (4, [])}
GENERIC = {"generic": (4, [])}
# A source, the folder of its object, flags and macros.
Job: TypeAlias = tuple[str, str, list[str], list[tuple[str, str]]]
ISAS = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}


def isas() -> dict[str, tuple[int, list[str]]]:
    """The instruction sets of the machine that is built for."""
    if os.environ.get("ARCHFLAGS", "").count("-arch") > 1:  # several machines in one file
        return GENERIC
    target = sysconfig.get_platform().rpartition("-")[2]
    return ISAS.get(target.lower()) or ISAS.get(platform.machine().lower()) or GENERIC


def kernel_jobs() -> list[Job]:
    """What the library of the kernels is made of."""
    macros = [("SQK_ISAS", " ".join(f"X({isa})" for isa in isas()))]
    jobs = [(name, name, [], macros) for name in ("api", "memory", "pool", "door", "xla")]
    for isa, (lanes, flags) in isas().items():
        jobs.append(("isa", isa, flags, [("SQK_ISA", isa), ("SQK_LANES", str(lanes))]))
    return jobs


class BuildKernels(build_ext):
    """Compiles `isa.cpp` once for each instruction set, all else once, and links each library."""

    def build_extension(self, extension: Extension) -> None:
        """Called by setuptools, for each library."""
        jobs = (
            kernel_jobs() if extension.name == KERNELS else [("tensorflow", "tensorflow", [], [])]
        )
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [path for paths in pool.map(self.compile, jobs) for path in paths]
        self.compiler.link_shared_object(
            objects,
            self.get_ext_fullpath(extension.name),
            extra_postargs=LINK,
            target_lang="c++",
        )

    def compile(self, job: Job) -> list[str]:
        """One call of the compiler; `folder` keeps objects of the same source apart."""
        source, folder, flags, macros = job
        return self.compiler.compile(
            [str(SOURCES / f"{source}.cpp")],
            output_dir=str(Path(self.build_temp) / folder),
            macros=macros,
            extra_postargs=[*FLAGS, *flags],
        )


def trouble() -> str:
    """Why no kernels can be compiled here, or an empty string."""
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
            return f"no C++ compiler works here: {error}"
    return ""


def kernels() -> list[Extension]:
    """The libraries where they can be built; else none, and one line in the log."""
    reason = trouble()
    must = os.environ.get("SEQKERAS_BUILD_NATIVE") == "1"
    if reason and must:
        sys.exit(f"seqkeras: {reason}")
    if reason:
        print(f"seqkeras: built without the native kernels, for {reason}", flush=True)
        return []
    sources = sorted(str(path) for path in SOURCES.glob("*.cpp"))
    headers = sorted(str(path) for path in SOURCES.glob("*.h"))
    return [
        Extension(name, sources, depends=headers, py_limited_api=True, optional=not must)
        for name in (KERNELS, TENSORFLOW)
    ]


setup(
    ext_modules=kernels(),
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

"""The compiled library, where it is there: loaded and checked.

Nothing is compiled here, and nothing is raised because a library is missing: `load` returns None
then, and `why_not` says why.
"""

import ctypes
import functools
import importlib.util
from pathlib import Path
from types import ModuleType

from seqkeras._checks import check_integer
from seqkeras.errors import ArgumentError
from seqkeras.native._interface import (
    ABI_VERSION,
    ACTIVATIONS,
    PRECISIONS,
    SIGNATURES,
    UNSUPPORTED,
    LayerStruct,
)


class Library:
    """The compiled library: its C functions, and what it says of itself."""

    def __init__(self, module: ModuleType, functions: ctypes.CDLL) -> None:
        self.module = module
        self.path = Path(str(module.__file__))
        self.functions = functions

    @property
    def isa(self) -> str:
        """The instruction set whose kernels run: `avx512`, `avx2`, `sse2`, `neon`, `generic`."""
        return str(self.functions.sqk_isa_name().decode())

    def set_isa(self, name: str) -> None:
        """Takes the kernels for another instruction set. For tests; not while others compute."""
        self.check(self.functions.sqk_set_isa(name.encode()))

    @property
    def threads(self) -> int:
        """Threads that work on one call, the calling one included."""
        return int(self.functions.sqk_threads())

    def set_threads(self, threads: int) -> None:
        """Sets `threads`, which begins as SEQKERAS_THREADS or the number of cores."""
        self.check(self.functions.sqk_set_threads(check_integer("threads", threads)))

    @functools.cached_property
    def bfloat16(self) -> bool:
        """Whether this processor has kernels whose products are in bfloat16."""
        struct = LayerStruct(
            recurrent_activation=ACTIVATIONS.index("sigmoid"),
            precision=PRECISIONS.index("bfloat16"),
            **dict.fromkeys(("threads", "batch", "timesteps", "features", "units"), 1),
        )
        return int(self.functions.sqk_workspace_floats(ctypes.byref(struct))) >= 0

    def calls(self) -> tuple[int, int]:
        """How many calls of forward and of backward have run since the library was loaded."""
        forward, backward = (int(self.functions.sqk_calls(which)) for which in (0, 1))
        return forward, backward

    def address(self, name: str) -> int:
        """The address of a C function, for code in another language."""
        return int(ctypes.cast(getattr(self.functions, name), ctypes.c_void_p).value or 0)

    def check(self, code: int) -> None:
        """Raises what an error code of the C interface stands for.

        Raises:
            ArgumentError: a size or a pointer cannot be right.
            NotImplementedError: the library has no kernel for this.
            MemoryError: there is not enough memory.
        """
        if not code:
            return
        message = self.functions.sqk_last_error().decode()
        kinds = {UNSUPPORTED: NotImplementedError, 3: MemoryError}
        raise kinds.get(code, ArgumentError)(f"The native library refuses this: {message}.")


@functools.cache
def _look() -> tuple[Library | None, str | None]:
    """The library and why it is not there, one of them None."""
    name = f"{__package__}._core"
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None, (
            "the native library is not built: install seqkeras from a wheel, or where there is a "
            "C++ compiler with pip install ."
        )
    try:
        module = importlib.import_module(name)
        functions = ctypes.CDLL(spec.origin)
        for function, (result, arguments) in SIGNATURES.items():
            entry = getattr(functions, function)
            entry.restype, entry.argtypes = result, arguments
    except (ImportError, OSError, AttributeError) as error:
        return None, f"the native library {spec.origin} does not load on this machine: {error}"
    version = functions.sqk_abi_version()
    if version != ABI_VERSION:
        return None, (
            f"the native library {spec.origin} is of another version of seqkeras: it has the "
            f"interface {version}, this needs {ABI_VERSION}. Build it again with pip install ."
        )
    return Library(module, functions), None


def load() -> Library | None:
    """The library, or None where there is none that works here; `why_not` then has the reason.

    >>> from seqkeras import native
    >>> (native.load() is None) == (native.why_not() is not None)
    True
    """
    return _look()[0]


def why_not() -> str | None:
    """Why there is no native library on this machine, or None where there is one."""
    return _look()[1]


def library() -> Library:
    library, reason = _look()
    if library is None:
        raise NotImplementedError(f"There are no native kernels: {reason}.")
    return library

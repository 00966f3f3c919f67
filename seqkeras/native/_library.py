"""Loading and checking the native library.

Nothing is compiled here. A missing library is not an error: `load` then returns None, and `why_not`
returns the reason.
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
    """The native library, with its C functions."""

    def __init__(self, module: ModuleType, functions: ctypes.CDLL) -> None:
        self.module = module
        self.path = Path(str(module.__file__))
        self.functions = functions

    @property
    def isa(self) -> str:
        """Return the instruction set in use: `avx512`, `avx2`, `sse2`, `neon` or `generic`."""
        return str(self.functions.sqk_isa_name().decode())

    def set_isa(self, name: str) -> None:
        """Use another instruction set. For tests; no other thread may be computing meanwhile."""
        self.check(self.functions.sqk_set_isa(name.encode()))

    @property
    def threads(self) -> int:
        """Return the number of threads that work on one call, the calling one included."""
        return int(self.functions.sqk_threads())

    def set_threads(self, threads: int) -> None:
        """Set `threads`, which is SEQKERAS_THREADS at first, or else the number of cores."""
        self.check(self.functions.sqk_set_threads(check_integer("threads", threads)))

    @functools.cached_property
    def bfloat16(self) -> bool:
        """Return whether this processor can compute products in bfloat16."""
        struct = LayerStruct(
            recurrent_activation=ACTIVATIONS.index("sigmoid"),
            precision=PRECISIONS.index("bfloat16"),
            **dict.fromkeys(("threads", "batch", "timesteps", "features", "units"), 1),
        )
        return int(self.functions.sqk_workspace_floats(ctypes.byref(struct))) >= 0

    def calls(self) -> tuple[int, int]:
        """Return the numbers of forward and backward calls since the library was loaded."""
        forward, backward = (int(self.functions.sqk_calls(which)) for which in (0, 1))
        return forward, backward

    def address(self, name: str) -> int:
        """Return the address of a C function, for code in another language."""
        return int(ctypes.cast(getattr(self.functions, name), ctypes.c_void_p).value or 0)

    def check(self, code: int) -> None:
        """Raise the exception for an error code of the C interface; 0 is no error.

        Raises:
            ArgumentError: a size or a pointer is invalid.
            NotImplementedError: the library does not support the layer.
            MemoryError: there is not enough memory.
        """
        if not code:
            return
        message = self.functions.sqk_last_error().decode()
        kinds = {UNSUPPORTED: NotImplementedError, 3: MemoryError}
        kind = kinds.get(code, ArgumentError)
        raise kind(f"The native library rejected the call: {message}.")


@functools.cache
def _look() -> tuple[Library | None, str | None]:
    """Return the library and None, or None and the reason."""
    name = f"{__package__}._core"
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None, (
            "the native library is not built: install seqkeras from a wheel, or from source with "
            "pip install . on a machine with a C++ compiler"
        )
    try:
        module = importlib.import_module(name)
        functions = ctypes.CDLL(spec.origin)
        for function, (result, arguments) in SIGNATURES.items():
            entry = getattr(functions, function)
            entry.restype = result
            entry.argtypes = arguments
    except (ImportError, OSError, AttributeError) as error:
        return None, f"the native library {spec.origin} does not load on this machine: {error}"
    version = functions.sqk_abi_version()
    if version != ABI_VERSION:
        return None, (
            f"the native library {spec.origin} belongs to another version of seqkeras: it has the "
            f"interface {version}, and this version needs {ABI_VERSION}. Rebuild it with pip "
            "install ."
        )
    return Library(module, functions), None


def load() -> Library | None:
    """Return the library, or None if it is not available; `why_not` then returns the reason.

    >>> from seqkeras import native
    >>> (native.load() is None) == (native.why_not() is not None)
    True
    """
    return _look()[0]


def why_not() -> str | None:
    """Return why the native library is not available on this machine, or None if it is."""
    return _look()[1]


def library() -> Library:
    """Return the library.

    Raises:
        NotImplementedError: the library is not available.
    """
    library, reason = _look()
    if library is None:
        raise NotImplementedError(f"Native kernels are not available: {reason}.")
    return library

"""Loads the native library and checks that it fits this version of seqkeras.

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
    NO_MEMORY,
    PRECISIONS,
    SIGNATURES,
    UNSUPPORTED,
    LayerStruct,
)

_HOW_TO_REBUILD = "run `pip install .` in the source of seqkeras, on a machine with a C++ compiler"


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
        """Use another instruction set, in tests, while no other thread uses the library."""
        self.check(self.functions.sqk_set_isa(name.encode()))

    @property
    def threads(self) -> int:
        """Return the number of threads that compute one call, including the calling thread."""
        return int(self.functions.sqk_threads())

    def set_threads(self, threads: int) -> None:
        """Set the number of threads that compute one call, for the whole process.

        By default it is the value of the environment variable SEQKERAS_THREADS, or else the number
        of cores.

        Raises:
            ArgumentError: `threads` is not a positive integer, or is 2**20 or more.
        """
        self.check(self.functions.sqk_set_threads(check_integer("threads", threads)))

    @functools.cached_property
    def bfloat16(self) -> bool:
        """Return whether the library can compute products in bfloat16 on this processor."""
        # The C interface has no function for this. But the size of a workspace is negative if the
        # library rejects the layer, so ask for the workspace of a layer that uses bfloat16.
        struct = LayerStruct(
            recurrent_activation=ACTIVATIONS.index("sigmoid"),
            precision=PRECISIONS.index("bfloat16"),
            **dict.fromkeys(("threads", "batch", "timesteps", "features", "units"), 1),
        )
        return int(self.functions.sqk_workspace_floats(ctypes.byref(struct))) >= 0

    def calls(self) -> tuple[int, int]:
        """Return how many forward and how many backward calls have succeeded in this process.

        The counts include all threads, since the library was loaded. A call for two layers counts
        once.
        """
        forward = int(self.functions.sqk_calls(0))
        backward = int(self.functions.sqk_calls(1))
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
        kinds = {UNSUPPORTED: NotImplementedError, NO_MEMORY: MemoryError}
        kind = kinds.get(code, ArgumentError)
        raise kind(f"The native library rejected the call: {message}.")


@functools.cache
def _look() -> tuple[Library | None, str | None]:
    """Return the library and None, or None and the reason why it is not available."""
    name = f"{__package__}._core"
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None, (
            f"the native library is not built: install seqkeras from a wheel, or {_HOW_TO_REBUILD}"
        )
    # One file is opened in two ways: as a Python module, for a `step` without the cost of ctypes,
    # and by ctypes, for all other functions. The operating system loads it only once.
    try:
        module = importlib.import_module(name)
        functions = ctypes.CDLL(spec.origin)
        # Check the version first: a library of another version may lack some of the functions.
        _declare(functions, "sqk_abi_version")
        version = functions.sqk_abi_version()
        if version != ABI_VERSION:
            return None, (
                f"the native library {spec.origin} belongs to another version of seqkeras (its "
                f"interface is {version}, and this version needs {ABI_VERSION}): {_HOW_TO_REBUILD}"
            )
        for function in SIGNATURES:
            _declare(functions, function)
    except (ImportError, OSError, AttributeError) as error:
        return None, f"the native library {spec.origin} does not load on this machine: {error}"
    return Library(module, functions), None


def _declare(functions: ctypes.CDLL, name: str) -> None:
    """Set the types of the result and the arguments of a C function."""
    function = getattr(functions, name)
    function.restype, function.argtypes = SIGNATURES[name]


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
    loaded, reason = _look()
    if loaded is None:
        raise NotImplementedError(f"Native kernels are not available: {reason}.")
    return loaded

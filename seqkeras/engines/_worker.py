"""What runs in a worker process: one item at a time, with the settings of the caller.

Nothing here imports NumPy or Keras before these settings are made.
"""

import os
import pickle
import random
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

#: Environment variables for the number of threads of TensorFlow, BLAS, PyTorch, the native library
#: and JAX, which are read when these are loaded or first used.
THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "SEQKERAS_THREADS",
    "NPROC",
)

#: The number of threads with which this process was first set up.
_first_threads: int | None = None

#: An engine may run several tasks in one process, but fits share the random state of Keras.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class KerasSettings:
    """Settings of Keras that change numbers, and classes that networks of the user need.

    Attributes:
        backend: name of the backend.
        floatx: the default dtype.
        dtype_policy: name of the default dtype policy.
        registered: the name and the packed class or function of what the user has registered with
            `keras.saving.register_keras_serializable`.
    """

    backend: str
    floatx: str
    dtype_policy: str
    registered: tuple[tuple[str, bytes], ...]

    @classmethod
    def current(cls) -> "KerasSettings | None":
        """Return the settings of this process; None if it has not loaded Keras."""
        keras = sys.modules.get("keras")
        if keras is None:
            return None
        config = keras.config
        registered = tuple(
            (name, pack(value))
            for name, value in keras.saving.get_custom_objects().items()
            if ">" in name and value.__module__.partition(".")[0] not in ("keras", "seqkeras")
        )
        return cls(config.backend(), config.floatx(), config.dtype_policy().name, registered)

    def apply(self) -> None:
        """Set them in this process.

        Raises:
            RuntimeError: it has already loaded another backend.
        """
        os.environ["KERAS_BACKEND"] = self.backend
        import keras

        if keras.config.backend() != self.backend:
            raise RuntimeError(
                f"A worker process must run Keras on {self.backend}, as the caller does. Got: one "
                f"that has loaded it on {keras.config.backend()}. Start the workers with the "
                f"environment variable KERAS_BACKEND={self.backend}."
            )
        keras.config.set_floatx(self.floatx)
        if keras.config.dtype_policy().name != self.dtype_policy:
            keras.config.set_dtype_policy(self.dtype_policy)
        for name, packed in self.registered:
            # What a worker cannot import may not be needed; otherwise Keras names it.
            with suppress(ImportError, AttributeError):
                package, _, own = name.rpartition(">")
                keras.saving.register_keras_serializable(package, own)(pickle.loads(packed))


@dataclass(frozen=True)
class Setup:
    """How a worker process is set up.

    Attributes:
        threads: threads of one worker process.
        keras: settings of Keras, or None if the caller has not loaded it.
    """

    threads: int
    keras: KerasSettings | None

    @classmethod
    def like_here(cls, threads: int) -> "Setup":
        """Return the settings of this process, with another number of threads."""
        return cls(threads, KerasSettings.current())


def compute(setup: Setup, function: bytes, item: bytes) -> bytes:
    """Apply a function to an item in a worker process.

    An exception is returned and not raised, as engines would repeat the work and wrap the error.

    Args:
        setup: how the process is set up.
        function: the packed function; it is unpacked once in each process.
        item: the packed item.

    Returns:
        What `pack` makes of the result, the exception and its traceback, of which the first or the
        other two are None.
    """
    with _one_at_a_time:
        try:
            _set_up(setup, threading.get_ident())
            _keep_random_numbers_apart()
            return pack((_unpacked(function)(pickle.loads(item)), None, None))
        except Exception as error:
            return _pack_error(error)


def pack(value: Any) -> bytes:
    """Return a value as bytes for another process, functions of the user's script included."""
    try:
        import cloudpickle
    except ImportError:  # older versions of joblib bring their own
        from joblib.externals import cloudpickle
    data: bytes = cloudpickle.dumps(value)
    return data


@lru_cache(maxsize=1)
def _set_up(setup: Setup, thread: int) -> None:
    """Set up the process, and the thread: some settings of Keras are those of a thread.

    Raises:
        RuntimeError: it was set up with another number of threads, or has loaded another backend.
    """
    global _first_threads
    if _first_threads is None:
        _first_threads = setup.threads
    if _first_threads != setup.threads:
        raise RuntimeError(
            f"A worker process must run with {setup.threads} threads. Got: one that has begun with "
            f"{_first_threads}, which its frameworks keep. Restart the workers, or pass "
            f"threads={_first_threads}."
        )
    for name in THREADS:
        os.environ[name] = str(setup.threads)
    from threadpoolctl import threadpool_limits

    threadpool_limits(setup.threads)  # of libraries that the worker has already loaded
    if setup.keras is not None:
        setup.keras.apply()


def _keep_random_numbers_apart() -> None:
    """Give the other threads of a Dask worker random numbers of their own.

    Dask estimates sizes with samples of the module `random`, from which Keras draws the seeds of
    initializers. A sample in the middle of a fit would change its weights.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith(("dask.", "distributed.")) and vars(module).get("random") is random:
            module.random = random.Random()  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def _unpacked(function: bytes) -> Callable[[Any], Any]:
    unpacked: Callable[[Any], Any] = pickle.loads(function)
    return unpacked


def _pack_error(error: Exception) -> bytes:
    text = traceback.format_exc()
    try:
        packed = pack((None, error, text))
        pickle.loads(packed)  # some exceptions can be packed, but not unpacked
    except Exception:
        packed = pack((None, RuntimeError(f"{type(error).__name__}: {error}"), text))
    return packed

"""Several processes that train one model: who they are, and how they exchange arrays."""

import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument

#: Set by `seqkeras launch`, whose processes are connected as soon as training is imported.
LAUNCHED = "SEQKERAS_LAUNCHED"


def connect() -> None:
    """Connect this process to the others it was started with, once; does nothing if it is alone.

    Raises:
        ArgumentError: the backend is TensorFlow, or JAX cannot be connected any more.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        from seqkeras.kernels.processes import _jax

        _jax.connect()
        if started() > 1 and _jax.count() == 1:
            fix = (
                f"Start JAX as seqkeras launch -n {started()} SCRIPT, or call "
                "keras.distribution.initialize(...) at the top of the script."
            )
            raise bad_argument(
                "WORLD_SIZE", started(), "1 where the processes of JAX are not connected", fix
            )
    elif started() == 1:
        return
    elif backend == "torch":
        from seqkeras.kernels.processes import _torch

        _torch.connect()
    else:
        fix = (
            "TensorFlow cannot train Keras models in several processes. Run it as "
            f"KERAS_BACKEND=jax seqkeras launch -n {started()} SCRIPT, or with KERAS_BACKEND=torch."
        )
        raise bad_argument("KERAS_BACKEND", Description(backend), "jax or torch", fix)


def started() -> int:
    """Return how many processes were started together, according to the environment.

    Raises:
        ArgumentError: the variable is not a number.
    """
    number = os.environ.get("WORLD_SIZE", "1")
    if not number.isdecimal():
        fix = "Unset it, or start the script with seqkeras launch or torchrun."
        raise bad_argument("WORLD_SIZE", number, "the number of processes", fix)
    return int(number)


def count() -> int:
    """Return the number of connected processes."""
    backend = _backend()
    return 1 if backend is None else int(backend.count())


def index() -> int:
    """Return the number of this process, from 0."""
    backend = _backend()
    return 0 if backend is None else int(backend.index())


def broadcast(arrays: Sequence[Array]) -> list[Array]:
    """Return the arrays of the first process, in each process; shapes and dtypes are the same."""
    if count() == 1:
        return list(arrays)
    # As the bytes of one array: backends would round numbers of 64 bits.
    sent = np.frombuffer(b"".join(array.tobytes() for array in arrays), np.uint8)
    received = _backend().broadcast(sent).tobytes()
    ends = itertools.accumulate(array.nbytes for array in arrays)
    return [
        np.frombuffer(received[end - array.nbytes : end], array.dtype).reshape(array.shape)
        for array, end in zip(arrays, ends, strict=True)
    ]


def collect(number: float) -> list[float]:
    """Return the numbers of all processes, in order, in each process."""
    if count() == 1:
        return [number]
    sent = np.frombuffer(np.float64(number).tobytes(), np.uint8)
    numbers: list[float] = np.frombuffer(_backend().collect(sent).tobytes(), np.float64).tolist()
    return numbers


def place(batch: Any) -> Any:
    """Return a batch of arrays, the same in each process, in the form that `together` trains on."""
    return _backend().place(batch)


def together(model: keras.Model, share: Callable[[Any], Any]) -> AbstractContextManager[None]:
    """Let `fit` of a compiled model take each step together with the other processes.

    Args:
        model: a compiled model.
        share: for PyTorch, takes the `call` of the model, and returns one that shares the rows
            among the processes. JAX does that by itself.
    """
    scope: AbstractContextManager[None] = _backend().together(model, share)
    return scope


def make_whole(model: keras.Model, states: Sequence[Any]) -> None:
    """Give this process all variables of a model as they are between two steps of `together`.

    Args:
        model: the model.
        states: variables of which, on PyTorch, each process has written only its own rows.
    """
    _backend().make_whole(model, states)


def gather(tensor: Any) -> Any:
    """Return the rows of all processes, in order, with their gradients; on PyTorch."""
    return _backend().gather(tensor)


def row_draws(own: slice, rows: int) -> AbstractContextManager[None]:
    """Draw random numbers for all rows of a batch, and use those of the own rows; on PyTorch."""
    scope: AbstractContextManager[None] = _backend().row_draws(own, rows)
    return scope


def _backend() -> Any:
    """Return the module of the backend; None for TensorFlow, which has none."""
    backend = keras.backend.backend()
    if backend == "jax":
        from seqkeras.kernels.processes import _jax

        return _jax
    if backend == "torch":
        from seqkeras.kernels.processes import _torch

        return _torch
    return None

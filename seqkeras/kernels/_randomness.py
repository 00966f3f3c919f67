"""The state of random generators that are not variables of a model."""

import random
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import keras
import numpy as np

from seqkeras._arrays import Array


def random_state() -> dict[str, Array]:
    """Return the states of the backend's own generators, by device.

    On PyTorch, Keras draws dropout from these. On TensorFlow and JAX it uses no such generators.
    """
    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {
            f"cuda:{number}": torch.cuda.get_rng_state(number)
            for number in range(torch.cuda.device_count())
        }
    return {device: state.numpy() for device, state in states.items()}


def set_random_state(states: Mapping[str, Array]) -> None:
    """Restore the states that `random_state` returned, except those of missing devices."""
    if keras.backend.backend() != "torch":
        return
    import torch

    for device, state in states.items():
        numbers = torch.from_numpy(np.array(state))
        if device == "cpu":
            torch.set_rng_state(numbers)
        elif torch.cuda.is_available() and int(device[5:]) < torch.cuda.device_count():
            torch.cuda.set_rng_state(numbers, device)


_alike = 0  # blocks of `same_draws` that are open


@contextmanager
def same_draws() -> Iterator[None]:
    """Mark draws that are not for rows of a batch, such as dropout of weights.

    Processes that share the rows of a batch draw the same numbers in such a block.
    """
    global _alike
    _alike += 1
    try:
        yield
    finally:
        _alike -= 1


def draws_alike() -> bool:
    """Return whether `same_draws` is open."""
    return _alike > 0


@contextmanager
def seeded(seed: int | None) -> Iterator[int]:
    """Seed Python, NumPy and Keras, and afterwards restore the state of Python and NumPy."""
    seed = seed if seed is not None else secrets.randbelow(2**31)
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield seed
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)

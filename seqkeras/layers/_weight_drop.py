"""Dropout of recurrent weights, drawn once for a whole sequence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from seqkeras.kernels._randomness import same_draws


@contextmanager
def dropped_weights(cell: Any, rate: float) -> Iterator[None]:
    """Let a cell, and every kernel that runs it, read a recurrent kernel with dropped weights.

    Args:
        cell: a built cell with a `recurrent_kernel` and a `seed_generator`.
        rate: share of the weights that become 0; the others are divided by `1 - rate`. With 0 the
            cell stays as it is.
    """
    if not rate:
        yield
        return
    kernel = cell.recurrent_kernel
    with same_draws():
        dropped = keras.random.dropout(
            ops.convert_to_tensor(kernel), rate, seed=cell.seed_generator
        )
    # Bypass Keras, which would track the tensor, or refuse it.
    object.__setattr__(cell, "recurrent_kernel", dropped)
    try:
        yield
    finally:
        object.__setattr__(cell, "recurrent_kernel", kernel)

"""A trained network as a program in memory, which runs without Keras."""

import hashlib

import keras

from seqkeras.export._save_program import verified_parts
from seqkeras.runtime import Program


def program_of(model: keras.Model, *, window: int | None = None) -> Program:
    """Return a model as a program, as `save_program` and `load` would.

    Args:
        model: the trained model.
        window: as for `save_program`.
    """
    parts = verified_parts(model, window, None, None, None)
    digest = hashlib.sha256(repr(parts.header).encode())
    for name in sorted(parts.arrays):
        digest.update(parts.arrays[name].tobytes())
    return Program(parts.header, parts.arrays, digest.hexdigest(), use_native=True)

"""A trained network as a program in memory, which runs without Keras."""

import keras

from seqkeras.anomaly._memory_program import in_memory_program
from seqkeras.export._save_program import verified_parts
from seqkeras.runtime import Program


def program_of(model: keras.Model, *, window: int | None = None) -> Program:
    """Return a model as a program, as `save_program` and `load` would.

    Args:
        model: the trained model.
        window: as for `save_program`.
    """
    parts = verified_parts(model, window, None, None, None)
    return in_memory_program(parts.header, parts.arrays)

"""Models that read tokens: an embedding of ids, and a stack on it."""

from collections.abc import Callable
from typing import Unpack

import keras

from seqkeras._checks import check_flag, check_integer
from seqkeras.models._stack import Stack, StackOptions


def token_reader(
    vocabulary_size: int,
    head: Callable[[keras.KerasTensor], keras.KerasTensor],
    *,
    embedding: int | None,
    mask_zero: bool,
    return_sequences: bool,
    name: str,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model from ids `(batch, timesteps)` to a head on the outputs of the stack.

    Args:
        vocabulary_size: number of ids.
        head: function from the outputs of the stack to those of the model.
        embedding: width of the embedding. None: that of the first layer.
        mask_zero: whether id 0 is padding.
        return_sequences: whether the head reads every timestep of the last layer, or the last.
        name: name of the model.
        **stack: the stack keywords, see `StackOptions`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.
    """
    plan = Stack.parse(**stack)
    vocabulary_size = check_integer("vocabulary_size", vocabulary_size, minimum=2)
    width = check_integer("embedding", embedding) if embedding is not None else plan.units[0]
    ids = plan.input(None, name="sequence", dtype="int32")
    layer = keras.layers.Embedding(
        vocabulary_size, width, mask_zero=check_flag("mask_zero", mask_zero), name="embedding"
    )

    def read(reset: keras.KerasTensor | None) -> keras.KerasTensor:
        return head(plan(layer(ids), return_sequences=return_sequences, reset=reset))

    return plan.model(ids, read, name)

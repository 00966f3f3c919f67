"""Many-to-many: one answer for each timestep."""

from typing import Unpack

import keras

from seqkeras._checks import check_integer
from seqkeras.models._stack import Stack, StackOptions


def many_to_many(
    features: int,
    *,
    outputs: int = 1,
    timesteps: int | None = None,
    activation: str | None = None,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """A model that answers at every timestep, from what it has read up to there.

    For labelling, filtering, or next-value training. With `bidirectional=True` an answer also
    sees what comes after it.

    Args:
        features: of each timestep.
        outputs: width of each answer.
        timesteps: length of the sequences, or None for any length.
        activation: of the head, such as `"softmax"`; None is linear.
        name: of the model.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, stateful, batch_size;
            see `StackOptions`.

    Returns:
        An uncompiled functional model, `(batch, timesteps, features)` to
        `(batch, timesteps, outputs)`. A mask of the inputs reaches the loss.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> many_to_many(3, outputs=2, cell="gru").output_shape
        (None, None, 2)
    """
    plan = Stack.parse(**stack)
    if timesteps is not None:
        timesteps = check_integer("timesteps", timesteps)
    x = plan.input(timesteps, check_integer("features", features))
    outputs = check_integer("outputs", outputs)

    def read(reset: keras.KerasTensor | None) -> keras.KerasTensor:
        sequence = plan(x, return_sequences=True, reset=reset)
        # Dense, not TimeDistributed(Dense): the same numbers, and the mask passes.
        return keras.layers.Dense(outputs, activation, name="head")(sequence)

    return plan.model(x, read, name=name or "many_to_many")

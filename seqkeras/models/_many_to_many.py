"""Many-to-many: one output for each timestep."""

from typing import Unpack

import keras

from seqkeras._checks import check_integer
from seqkeras.models._stack import Stack, StackOptions, check_activation


def many_to_many(
    features: int,
    *,
    outputs: int = 1,
    timesteps: int | None = None,
    activation: str | None = None,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model with an output at every timestep, computed from the timesteps read so far.

    For labeling, filtering, or training on the next value. With `bidirectional=True` an output
    also depends on the timesteps after it.

    Args:
        features: number of features of each timestep.
        outputs: width of each output, default 1.
        timesteps: length of the sequences. Default: any length.
        activation: activation of the head, such as `"softmax"`. Default: linear.
        name: name of the model, default `"many_to_many"`.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, implementation, stateful,
            reset_input, batch_size; see `StackOptions`.

    Returns:
        An uncompiled functional model, `(batch, timesteps, features)` to
        `(batch, timesteps, outputs)`. A mask of the input reaches the loss.

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
        states = plan(x, return_sequences=True, reset=reset)
        # Dense, not TimeDistributed(Dense): the numbers are the same, and Dense keeps the mask.
        return keras.layers.Dense(outputs, check_activation(activation), name="head")(states)

    return plan.model(x, read, name=name or "many_to_many")

"""Many-to-one: a sequence in, one vector out."""

from typing import Unpack

import keras

from seqkeras._checks import check_integer
from seqkeras.models._stack import Stack, StackOptions, check_activation


def many_to_one(
    features: int,
    *,
    outputs: int = 1,
    timesteps: int | None = None,
    activation: str | None = None,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that reads a sequence and returns one output, computed from the last state.

    For classification, regression, or a forecast of several steps at once.

    Args:
        features: number of features of each timestep.
        outputs: width of the output, default 1.
        timesteps: length of the sequences. Default: any length.
        activation: activation of the head, such as `"softmax"`. Default: linear.
        name: name of the model, default `"many_to_one"`.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, implementation, stateful,
            reset_input, batch_size; see `StackOptions`.

    Returns:
        An uncompiled functional model, `(batch, timesteps, features)` to `(batch, outputs)`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> many_to_one(3, outputs=2, units=(64, 32)).output_shape
        (None, 2)
    """
    plan = Stack.parse(**stack)
    if timesteps is not None:
        timesteps = check_integer("timesteps", timesteps)
    x = plan.input(timesteps, check_integer("features", features))
    outputs = check_integer("outputs", outputs)

    def read(reset: keras.KerasTensor | None) -> keras.KerasTensor:
        state = plan(x, return_sequences=False, reset=reset)
        return keras.layers.Dense(outputs, check_activation(activation), name="head")(state)

    return plan.model(x, read, name=name or "many_to_one")

"""One-to-many: one vector in, a sequence out."""

from typing import Unpack

import keras

from seqkeras._checks import check_integer
from seqkeras.models._stack import Stack, StackOptions, check_activation


def one_to_many(
    features: int,
    *,
    steps: int,
    outputs: int = 1,
    activation: str | None = None,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that unfolds one vector into a sequence of `steps` outputs.

    The vector is repeated as the input of every timestep (`RepeatVector`). To feed each output
    back as the next input instead, see `next_step`.

    Args:
        features: number of features of the vector.
        steps: length of the output sequence.
        outputs: width of each output, default 1.
        activation: activation of the head, such as `"softmax"`. Default: linear.
        name: name of the model, default `"one_to_many"`.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, implementation, stateful,
            reset_input, batch_size; see `StackOptions`.

    Returns:
        An uncompiled functional model, `(batch, features)` to `(batch, steps, outputs)`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> one_to_many(5, steps=12, units=16).output_shape
        (None, 12, 1)
    """
    plan = Stack.parse(**stack)
    x = plan.input(check_integer("features", features))
    repeated = keras.layers.RepeatVector(check_integer("steps", steps), name="repeat")(x)
    outputs = check_integer("outputs", outputs)

    def read(reset: keras.KerasTensor | None) -> keras.KerasTensor:
        states = plan(repeated, return_sequences=True, reset=reset)
        return keras.layers.Dense(outputs, check_activation(activation), name="head")(states)

    return plan.model(x, read, name=name or "one_to_many")

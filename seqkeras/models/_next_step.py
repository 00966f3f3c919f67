"""Next step: a sequence model that predicts its next input."""

from typing import Unpack

import keras

from seqkeras._checks import bad_argument
from seqkeras.models._many_to_many import many_to_many
from seqkeras.models._stack import Stack, StackOptions


def next_step(
    features: int,
    *,
    timesteps: int | None = None,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model for the feedback loop: its output is the next input.

    Train it one step ahead (inputs `series[:-1]`, targets `series[1:]`), then feed each output
    back as the next input.

    Args:
        features: number of features of each timestep, of the input and of the output.
        timesteps: length of the sequences. Default: any length.
        name: name of the model, default `"next_step"`.
        **stack: units, cell, dropout, recurrent_dropout, implementation, stateful, reset_input,
            batch_size; see `StackOptions`. `bidirectional` is refused: the backward direction
            would read the value to predict.

    Returns:
        An uncompiled functional model, `(batch, timesteps, features)` to the same shape.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> next_step(2, units=8, stateful=True, batch_size=1).output_shape
        (1, None, 2)
    """
    # `Stack.parse` also refuses unknown keywords, before `bidirectional` is read.
    if Stack.parse(**stack).bidirectional:
        fix = "The backward direction reads the value that is to be predicted."
        raise bad_argument("bidirectional", True, "False for next_step", fix)
    return many_to_many(
        features, outputs=features, timesteps=timesteps, name=name or "next_step", **stack
    )

"""Next step: a sequence model that predicts its own next input."""

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
    """A model for the feedback loop: its output is the next input.

    Train it one step ahead (inputs `series[:-1]`, targets `series[1:]`), then feed each output
    back as the next input.

    Args:
        features: of each timestep, in and out.
        timesteps: length of the sequences, or None for any length.
        name: of the model.
        **stack: units, cell, dropout, recurrent_dropout, stateful, batch_size; see
            `StackOptions`. `bidirectional` is refused: it would read the answer.

    Returns:
        An uncompiled functional model, `(batch, timesteps, features)` to the same shape.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> next_step(2, units=8, stateful=True, batch_size=1).output_shape
        (1, None, 2)
    """
    if Stack.parse(**stack).bidirectional:  # parsed first: what it does not know is refused here
        fix = "The backward direction reads the value that is to be predicted."
        raise bad_argument("bidirectional", True, "False for next_step", fix)
    return many_to_many(
        features, outputs=features, timesteps=timesteps, name=name or "next_step", **stack
    )

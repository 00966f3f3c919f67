"""A label for a whole sequence of tokens."""

from typing import Unpack

import keras

from seqkeras._checks import check_integer
from seqkeras.models._stack import StackOptions
from seqkeras.models._token_reader import token_reader


def classifier(
    vocabulary_size: int,
    classes: int,
    *,
    embedding: int | None = None,
    mask_zero: bool = True,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that labels a whole sequence of tokens: topics, languages, opinions.

    Tokens are embedded and read by a recurrent stack; a Dense layer on its last output gives logits
    of the classes.

    Args:
        vocabulary_size: number of ids of tokens.
        classes: number of classes; two classes have two logits.
        embedding: width of the embedding. Default: the units of the first layer,
            64 with a Keras cell.
        mask_zero: whether id 0 is padding, default True. Padding changes no output.
        name: name of the model, default `"classifier"`.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, implementation, stateful,
            reset_input, batch_size; see `StackOptions`.

    Returns:
        An uncompiled functional model, ids `(batch, timesteps)` to logits `(batch, classes)`.
        Compile it with `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> classifier(5000, 4, units=64, cell="gru", bidirectional=True).output_shape
        (None, 4)
    """
    head = keras.layers.Dense(check_integer("classes", classes, minimum=2), name="head")
    return token_reader(
        vocabulary_size,
        head,
        embedding=embedding,
        mask_zero=mask_zero,
        return_sequences=False,
        name=name or "classifier",
        **stack,
    )

"""A label for each token of a sequence."""

from typing import Unpack

import keras

from seqkeras._checks import check_integer
from seqkeras.models._stack import StackOptions
from seqkeras.models._token_reader import token_reader


def tagger(
    vocabulary_size: int,
    tags: int,
    *,
    embedding: int | None = None,
    mask_zero: bool = True,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that labels each token: parts of speech, names, segments.

    Tokens are embedded, read by a recurrent stack, and a Dense layer gives logits of the tags. With
    `bidirectional=True` a tag also depends on the tokens after it, as in Huang et al. 2015
    (arXiv 1508.01991).

    Args:
        vocabulary_size: number of ids of tokens.
        tags: number of tags.
        embedding: width of the embedding. Default: the units of the first layer,
            64 with a Keras cell.
        mask_zero: whether id 0 is padding, default True. Padding changes no other output, and does
            not count in losses and metrics.
        name: name of the model, default `"tagger"`.
        **stack: units, cell, bidirectional, dropout, recurrent_dropout, implementation, stateful,
            reset_input, batch_size; see `StackOptions`.

    Returns:
        An uncompiled functional model, ids `(batch, timesteps)` to logits
        `(batch, timesteps, tags)`. Compile it with
        `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> model = tagger(5000, 17, units=(64, 64), cell="gru", bidirectional=True)
        >>> model.output_shape
        (None, None, 17)
    """
    head = keras.layers.Dense(check_integer("tags", tags, minimum=2), name="head")
    return token_reader(
        vocabulary_size,
        head,
        embedding=embedding,
        mask_zero=mask_zero,
        return_sequences=True,
        name=name or "tagger",
        **stack,
    )

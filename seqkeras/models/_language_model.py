"""Language models: a distribution of the next token at each timestep."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Unpack

import keras

from seqkeras._checks import bad_argument, check_flag, check_fraction, check_integer
from seqkeras.layers import TokenVectors
from seqkeras.models._stack import Stack, StackOptions


def language_model(
    vocabulary_size: int,
    *,
    embedding: int | None = None,
    locked_dropout: bool = False,
    weight_drop: float = 0.0,
    tied: bool = False,
    initializer: str | keras.initializers.Initializer | None = None,
    mask_zero: bool = False,
    name: str | None = None,
    **stack: Unpack[StackOptions],
) -> keras.Model:
    """Build a model that predicts the next token at each timestep.

    Train it on targets that are the inputs moved on by one token, in random windows, or with
    `stateful=True` on batches that continue each other (`seqkeras.training.fit_stateful`), with
    `seqkeras.text.TokenCrossEntropy` as the loss.

    Args:
        vocabulary_size: number of ids.
        embedding: width of the vectors of ids. Default: the units of the first layer, 64 with a
            Keras cell.
        locked_dropout: draw one dropout mask for all timesteps of a sequence (Gal and Ghahramani
            2016, arXiv 1512.05287), default False: a new one for each timestep.
        weight_drop: share of the recurrent weights that training sets to 0, drawn anew for each
            batch (Merity et al. 2018, arXiv 1708.02182), on every kernel. Default: 0.
        tied: use the vectors of the embedding as the weights of the output layer too (Press and
            Wolf 2017, arXiv 1608.05859), default False. If the last layer has other units, a linear
            layer in between maps them to the width of the embedding.
        initializer: initializer of the embedding, the kernels of the recurrent layers and that of
            the output layer. Default: those of Keras.
        mask_zero: whether id 0 is padding, which is neither read nor predicted. Default: False.
        name: name of the model, default `"language_model"`.
        **stack: units, cell, recurrent_dropout, implementation, stateful, reset_input, batch_size,
            input_projection, layer_options; see `StackOptions`. `dropout` applies to the inputs of
            each layer and to the outputs of the last (Zaremba et al. 2014, arXiv 1409.2329).
            `bidirectional` is refused: the backward direction would read the tokens to predict.

    Returns:
        An uncompiled functional model, ids `(batch, timesteps)` to logits
        `(batch, timesteps, vocabulary_size)`.

    Raises:
        ArgumentError: a keyword is unknown, or a value cannot work.

    Example:
        >>> model = language_model(65, embedding=16, units=(32, 32), dropout=0.2, tied=True)
        >>> model.output_shape
        (None, None, 65)
    """
    plan = Stack.parse(**stack)
    if plan.bidirectional:
        fix = "The backward direction reads the tokens that are to be predicted."
        raise bad_argument("bidirectional", True, "False for language_model", fix)
    vocabulary_size = check_integer("vocabulary_size", vocabulary_size, minimum=2)
    width = check_integer("embedding", embedding) if embedding is not None else plan.units[0]
    initializer = keras.initializers.get(initializer)
    drop = _Dropout(plan.dropout, check_flag("locked_dropout", locked_dropout))
    ends = _Ends(vocabulary_size, width, initializer, check_flag("mask_zero", mask_zero))
    embed, predict = ends.layers(check_flag("tied", tied))
    layers = replace(plan, dropout=0.0, layer_options=_options(plan, weight_drop, initializer))
    ids = plan.input(None, name="sequence", dtype="int32")

    def read(reset: keras.KerasTensor | None) -> keras.KerasTensor:
        x = layers(drop(embed(ids)), return_sequences=True, reset=reset, between=drop)
        return predict(drop(x))

    return plan.model(ids, read, name or "language_model")


class _Dropout:
    """Adds dropout layers, each with a name of its own, or none at rate 0."""

    def __init__(self, rate: float, is_locked: bool) -> None:
        self._rate = rate
        self._kind = keras.layers.SpatialDropout1D if is_locked else keras.layers.Dropout
        self._count = 0

    def __call__(self, x: keras.KerasTensor) -> keras.KerasTensor:
        if not self._rate:
            return x
        self._count += 1
        return self._kind(self._rate, name=f"dropout_{self._count}")(x)


@dataclass(frozen=True)
class _Ends:
    """The layers from ids to vectors, and from outputs of the stack to logits."""

    vocabulary_size: int
    width: int
    initializer: Any
    mask_zero: bool

    def layers(self, tied: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
        start = self.initializer.clone() if self.initializer is not None else "uniform"
        options: dict[str, Any] = {"mask_zero": self.mask_zero, "name": "embedding"}
        if tied:
            both = TokenVectors(self.vocabulary_size, self.width, start, **options)
            return both, partial(self._predict, both)
        embed = keras.layers.Embedding(self.vocabulary_size, self.width, start, **options)
        return embed, partial(self._predict, None)

    def _predict(self, tied: TokenVectors | None, x: keras.KerasTensor) -> keras.KerasTensor:
        kernel = self.initializer.clone() if self.initializer is not None else "glorot_uniform"
        units = x.shape[-1]
        if tied is None:
            return TokenVectors(self.vocabulary_size, units, kernel, name="head")(x, reverse=True)
        if units != self.width:
            x = keras.layers.Dense(self.width, kernel_initializer=kernel, name="to_vectors")(x)
        return tied(x, reverse=True)


def _options(plan: Stack, weight_drop: float, initializer: Any) -> dict[str, Any]:
    """Return the arguments of the recurrent layers; those of `layer_options` come first."""
    options: dict[str, Any] = {}
    if initializer is not None:
        options |= {"kernel_initializer": initializer, "recurrent_initializer": initializer}
    if check_fraction("weight_drop", weight_drop):
        options["weight_drop"] = weight_drop
    return {**options, **plan.layer_options}

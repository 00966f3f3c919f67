"""The Keras layers that replace the vectors of tokens."""

from typing import Any

import keras
from keras import ops

from seqkeras.layers import TokenVectors


class TokenLayers:
    """The Keras layers for the `TokenVectors` of a model: an Embedding, a Dense, or both.

    Keras has no layer that turns ids into vectors and vectors into logits with a bias, so a layer
    that is called both ways becomes two layers with a copy of the vectors each.
    """

    def __init__(self) -> None:
        self._copies: dict[tuple[int, bool], tuple[TokenVectors, Any]] = {}

    def copy(self, layer: TokenVectors, reverse: bool, is_tied: bool) -> Any:
        """Return the Keras layer for the calls of a layer in one direction, always the same."""
        key = (id(layer), reverse)
        if key not in self._copies:
            make = _dense if reverse else _embedding
            name = f"{layer.name}_logits" if reverse and is_tied else layer.name
            self._copies[key] = (layer, make(layer, name))
        return self._copies[key][1]

    def copy_weights(self) -> None:
        """Copy the weights of all layers, which must be built, and their trainable flags."""
        for (_, reverse), (layer, copy) in self._copies.items():
            vectors, bias = (ops.convert_to_numpy(weight) for weight in layer.weights)
            copy.set_weights([vectors.T, bias] if reverse else [vectors])
            copy.trainable = layer.trainable

    def __bool__(self) -> bool:
        """Return whether a layer was replaced."""
        return bool(self._copies)


def _embedding(layer: TokenVectors, name: str) -> keras.layers.Embedding:
    return keras.layers.Embedding(
        layer.vocabulary_size,
        layer.width,
        layer.get_config()["initializer"],
        mask_zero=layer.mask_zero,
        name=name,
        dtype=layer.dtype_policy,
    )


def _dense(layer: TokenVectors, name: str) -> keras.layers.Dense:
    return keras.layers.Dense(
        layer.vocabulary_size,
        kernel_initializer=layer.get_config()["initializer"],
        name=name,
        dtype=layer.dtype_policy,
    )

"""The Keras layers that replace the vectors of tokens."""

from collections.abc import Iterable
from itertools import count
from typing import Any

import keras
from keras import ops

from seqkeras.layers import TokenVectors


class TokenLayers:
    """The Keras layers for the `TokenVectors` of a model: an Embedding, a Dense, or both.

    Keras has no layer that turns ids into vectors and vectors into logits with a bias, so a layer
    that is called both ways becomes two layers with a copy of the vectors each.

    Args:
        names: names of all layers of the model, which new layers must not have.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._copies: dict[tuple[int, bool], tuple[TokenVectors, Any]] = {}

    def copy(self, layer: TokenVectors, reverse: bool, is_tied: bool) -> Any:
        """Return the Keras layer for the calls of a layer in one direction, always the same."""
        key = (id(layer), reverse)
        if key not in self._copies:
            make = _dense if reverse else _embedding
            name = self._free_name(f"{layer.name}_logits") if reverse and is_tied else layer.name
            self._copies[key] = (layer, make(layer, name))
        return self._copies[key][1]

    def _free_name(self, name: str) -> str:
        candidates = (name if number == 1 else f"{name}_{number}" for number in count(1))
        free = next(candidate for candidate in candidates if candidate not in self._names)
        self._names.add(free)
        return free

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

"""A vector for each token: the weights of an embedding, of the layer of logits, or of both."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import check_flag, check_integer


@keras.saving.register_keras_serializable(package="seqkeras")
class TokenVectors(keras.layers.Layer):
    """A layer that turns ids into vectors, and with `reverse=True` vectors into logits of ids.

    A model that calls it both ways has tied weights: fewer of them, and often better ones (Press
    and Wolf 2017, https://arxiv.org/abs/1608.05859). With `reverse=True` only it computes what a
    Dense layer does, but the weights of a token are a row, so training some of the tokens does not
    touch the others; see `seqkeras.training.sampled_softmax`.

    Args:
        vocabulary_size: number of ids.
        width: width of the vectors.
        initializer: initializer of the vectors. Default: `"uniform"`, that of an embedding.
        mask_zero: whether id 0 is padding. Default: False.

    Called with ids, it returns vectors. Called with vectors `(..., width)` and `reverse=True`, it
    returns logits `(..., vocabulary_size)`: the products with the vectors of all ids, and a bias
    that starts with zeros.

    Example:
        >>> import numpy as np
        >>> layer = TokenVectors(50, 8)
        >>> vectors = layer(np.array([[1, 2, 3]]))
        >>> layer(vectors, reverse=True).shape == (1, 3, 50)
        True
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        initializer: Any = "uniform",
        mask_zero: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.vocabulary_size = check_integer("vocabulary_size", vocabulary_size)
        self.width = check_integer("width", width)
        self.initializer = keras.initializers.get(initializer)
        self.mask_zero = check_flag("mask_zero", mask_zero)
        self.supports_masking = True

    @property
    def input_dim(self) -> int:
        """Return the number of ids, by the name that `keras.layers.Embedding` gives it."""
        return self.vocabulary_size

    def build(self, input_shape: Any) -> None:
        """Create the vectors, and the bias of the logits."""
        self.vectors = self.add_weight(
            shape=(self.vocabulary_size, self.width), initializer=self.initializer, name="vectors"
        )
        self.bias = self.add_weight(shape=(self.vocabulary_size,), initializer="zeros", name="bias")

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """Return the vectors of ids, or with `reverse` the logits of vectors."""
        if reverse:
            return ops.matmul(inputs, ops.transpose(self.vectors)) + self.bias
        vectors = ops.take(self.vectors, ops.cast(inputs, "int32"), axis=0)
        return ops.cast(vectors, self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of ids that are not padding; logits have the mask of their vectors."""
        if "float" in keras.backend.standardize_dtype(inputs.dtype):
            return previous_mask
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_spec(self, inputs: Any, reverse: bool = False) -> Any:
        """Return the shape and dtype of the vectors, or of the logits."""
        leading = inputs.shape[:-1] if reverse else inputs.shape
        last = self.vocabulary_size if reverse else self.width
        return keras.KerasTensor((*leading, last), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "width": self.width,
            "initializer": keras.initializers.serialize(self.initializer),
            "mask_zero": self.mask_zero,
        }

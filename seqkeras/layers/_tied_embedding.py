"""An embedding whose vectors are also the weights of the output layer."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import check_flag, check_integer


@keras.saving.register_keras_serializable(package="seqkeras")
class TiedEmbedding(keras.layers.Layer):
    """A layer that turns ids into vectors, and vectors back into logits with the same weights.

    A language model with tied weights has fewer of them, and is often better (Press and Wolf 2017,
    https://arxiv.org/abs/1608.05859). Call the layer twice: on ids, and with `reverse=True` on
    vectors of the same width.

    Args:
        input_dim: number of ids.
        output_dim: width of the vectors.
        embeddings_initializer: initializer of the vectors. Default: `"uniform"`.
        mask_zero: whether id 0 is padding. Default: False.

    Call arguments:
        inputs: ids, or with `reverse` vectors `(..., output_dim)`.
        reverse: return logits `(..., input_dim)`: the products of the vectors with those of all
            ids, and a bias that starts with zeros. Default: False.

    Example:
        >>> import numpy as np
        >>> layer = TiedEmbedding(50, 8)
        >>> vectors = layer(np.array([[1, 2, 3]]))
        >>> layer(vectors, reverse=True).shape == (1, 3, 50)
        True
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        mask_zero: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.input_dim = check_integer("input_dim", input_dim)
        self.output_dim = check_integer("output_dim", output_dim)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.mask_zero = check_flag("mask_zero", mask_zero)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Create the vectors, and the bias of the logits."""
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
        )
        self.bias = self.add_weight(shape=(self.input_dim,), initializer="zeros", name="bias")

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """Return the vectors of ids, or with `reverse` the logits of vectors."""
        if reverse:
            return ops.matmul(inputs, ops.transpose(self.embeddings)) + self.bias
        vectors = ops.take(self.embeddings, ops.cast(inputs, "int32"), axis=0)
        return ops.cast(vectors, self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of ids that are not padding; logits have the mask of their vectors."""
        if "float" in keras.backend.standardize_dtype(inputs.dtype):
            return previous_mask
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_spec(self, inputs: Any, reverse: bool = False) -> Any:
        """Return the shape and dtype of the vectors, or of the logits."""
        leading = inputs.shape[:-1] if reverse else inputs.shape
        width = self.input_dim if reverse else self.output_dim
        return keras.KerasTensor((*leading, width), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "mask_zero": self.mask_zero,
        }

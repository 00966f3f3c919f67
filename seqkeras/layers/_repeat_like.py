"""A vector repeated at every timestep of a sequence."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import Description, bad_argument


@keras.saving.register_keras_serializable(package="seqkeras")
class RepeatLike(keras.layers.Layer):
    """A layer that repeats a vector at every timestep of a sequence.

    Called as `layer([vector, sequence])` with `(batch, width)` and `(batch, timesteps, features)`,
    it returns `(batch, timesteps, width)`. Unlike `keras.layers.RepeatVector` it works for any
    number of timesteps, and the output carries the mask of the sequence. It reads no value of the
    sequence.

    Raises:
        ArgumentError: the call does not get a vector and a sequence.

    Example:
        >>> import numpy as np
        >>> vector, sequence = np.ones((2, 3), "float32"), np.zeros((2, 5, 1), "float32")
        >>> RepeatLike()([vector, sequence]).shape == (2, 5, 3)
        True
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Check the shapes of the vector and the sequence."""
        ranks = [len(shape) if isinstance(shape, (list, tuple)) else 0 for shape in input_shape]
        if ranks != [2, 3]:
            actual = Description(f"shapes {input_shape}")
            expected = "a vector (batch, width) and a sequence (batch, timesteps, features)"
            raise bad_argument("inputs", actual, expected)

    def call(self, inputs: Any) -> Any:
        """Repeat the vector at every timestep of the sequence."""
        return repeat_like(*inputs)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the sequence."""
        return previous_mask[1] if previous_mask is not None else None

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return `(batch, timesteps, width)`."""
        vector, sequence = input_shape
        return vector[0], sequence[1], vector[1]


def repeat_like(vector: Any, sequence: Any) -> Any:
    """Return what the layer returns, with operations of Keras."""
    # Zeros of the shape of the sequence keep every length that the graph knows.
    zeros = ops.zeros_like(sequence[:, :, :1], dtype=vector.dtype)
    # Keras on TensorFlow would take an addend with a single axis longer than 1 for a bias.
    return ops.expand_dims(vector, 1) - zeros

"""Sequences from their end to their start."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="seqkeras")
class ReverseTime(keras.layers.Layer):
    """A layer that reverses the order of the timesteps, and of their mask.

    Example:
        >>> import numpy as np
        >>> y = ReverseTime()(np.array([[[1.0], [2.0], [3.0]]]))
        >>> keras.ops.convert_to_numpy(y).ravel().tolist()
        [3.0, 2.0, 1.0]
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Reverse `(batch, timesteps, ...)`."""
        return reverse_time(inputs)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask in the order of the output."""
        return reverse_time(previous_mask) if previous_mask is not None else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape


def reverse_time(x: Any) -> Any:
    """Return what the layer returns, with operations of Keras."""
    return ops.flip(x, axis=1)

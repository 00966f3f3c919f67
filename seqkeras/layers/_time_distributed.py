"""TimeDistributed for any number of timesteps."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="seqkeras")
class TimeDistributed(keras.layers.TimeDistributed):
    """`keras.layers.TimeDistributed` that is correct for an unknown number of timesteps.

    A graph that is called with several lengths does not know the number of timesteps. Keras 3.15 on
    TensorFlow then loops over as many timesteps as the batch has rows, which raises an error or
    drops timesteps. This class passes all timesteps of all rows to the inner layer as one batch.

    A mask of timesteps passes through in every version of Keras. A mask with more axes, such as
    that of padded words in padded sentences, is passed to the inner layer. If the inner layer
    returns no mask, a timestep counts if any part of it does.
    """

    def __init__(self, layer: keras.layers.Layer, **options: Any) -> None:
        super().__init__(layer, **options)
        self.supports_masking = True  # Keras 3.16 sets it to False

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Run the inner layer on each timestep of `(batch, timesteps, ...)`."""
        if inputs.shape[1] is not None:
            return super().call(inputs, training=training, mask=self._mask_within(mask))
        options: dict[str, Any] = {}
        if self.layer._call_has_training_arg:
            options["training"] = training
        mask = self._mask_within(mask)
        if self.layer._call_has_mask_arg and mask is not None:
            options["mask"] = _as_batch(mask)
        outputs = self.layer.call(_as_batch(inputs), **options)
        rows, timesteps = ops.shape(inputs)[:2]
        return ops.reshape(outputs, (rows, timesteps, *outputs.shape[1:]))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the outputs: that of the inputs, if need be reduced to timesteps."""
        if previous_mask is None or len(previous_mask.shape) == 2:
            return previous_mask
        rank = len(previous_mask.shape)
        shape = self.compute_output_shape(tuple(inputs.shape))
        if len(shape) > rank and self._passes_masks(inputs, previous_mask):
            return previous_mask
        return ops.any(previous_mask, axis=tuple(range(2, rank)))

    def _passes_masks(self, inputs: Any, mask: Any) -> bool:
        if isinstance(self.layer, keras.Model):
            return True  # its own layers pass them on
        return self.layer.supports_masking and self.layer.compute_mask(inputs, mask) is not None

    def _mask_within(self, mask: Any) -> Any:
        """Return the mask to pass to the inner layer, or None.

        A mask of timesteps is not passed, as the inner layer would apply it to the axis after time.
        Batch normalization gets it, to exclude masked timesteps from its statistics.
        """
        is_normalization = isinstance(self.layer, keras.layers.BatchNormalization)
        if mask is None or len(mask.shape) > 2 or is_normalization:
            return mask
        return None


def _as_batch(x: Any) -> Any:
    inner_shape = ops.shape(x)[2:] if None in x.shape[2:] else x.shape[2:]
    return ops.reshape(x, (-1, *inner_shape))

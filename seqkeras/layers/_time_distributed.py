"""TimeDistributed for any number of timesteps."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="seqkeras")
class TimeDistributed(keras.layers.TimeDistributed):
    """`keras.layers.TimeDistributed` that is right where a graph knows no number of timesteps.

    There Keras 3.15 on TensorFlow goes through as many timesteps as the batch has rows: an error,
    or outputs that lack timesteps. A graph forgets the number when it is called with several. Here
    all timesteps of all rows are one batch of the layer within.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Runs the layer within on each timestep of `(batch, timesteps, ...)`."""
        if inputs.shape[1] is not None:
            return super().call(inputs, training=training, mask=mask)
        options: dict[str, Any] = {}
        if self.layer._call_has_training_arg:
            options["training"] = training
        if self.layer._call_has_mask_arg and mask is not None and len(mask.shape) > 2:
            options["mask"] = _as_batch(mask)
        outputs = self.layer.call(_as_batch(inputs), **options)
        rows, timesteps = ops.shape(inputs)[:2]
        return ops.reshape(outputs, (rows, timesteps, *outputs.shape[1:]))


def _as_batch(x: Any) -> Any:
    known = None not in x.shape[2:]
    return ops.reshape(x, (-1, *(x.shape[2:] if known else ops.shape(x)[2:])))

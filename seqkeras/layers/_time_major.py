"""Recurrent layers on sequences whose first axis is time."""

from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import bad_argument


@keras.saving.register_keras_serializable(package="seqkeras")
class TimeMajor(keras.layers.Layer):
    """A recurrent layer that reads and returns `(timesteps, batch, features)`.

    For code that comes from TensorFlow 1 or PyTorch, whose layers read such sequences with
    `time_major=True` or without `batch_first=True`. The layer inside runs on its kernel; only the
    axes are swapped, of the sequence, of its mask and of the outputs. States are `(batch, units)`
    in any case.

    `fit` and `predict` divide their arrays along the first axis, the batch: there, swap the axes of
    the arrays with `x.swapaxes(0, 1)`, which copies nothing, and use the layer itself.

    Args:
        layer: a recurrent layer, or a Bidirectional of recurrent layers.

    Raises:
        ArgumentError: it is another layer.

    Example:
        >>> import numpy as np
        >>> from seqkeras.layers import LSTM
        >>> layer = TimeMajor(LSTM(4, return_sequences=True))
        >>> layer(np.ones((10, 2, 3), "float32")).shape == (10, 2, 4)
        True
    """

    def __init__(self, layer: keras.layers.Layer, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(layer, (keras.layers.RNN, keras.layers.Bidirectional)):
            raise bad_argument("layer", layer, "a recurrent layer, or a Bidirectional")
        self.layer = layer
        self.supports_masking = True

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build the layer inside."""
        timesteps, batch, *features = sequences_shape
        self.layer.build((batch, timesteps, *features))

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Run the layer.

        Args:
            sequences: `(timesteps, batch, features)`.
            initial_state: the states before the first timestep, as the layer inside takes them.
            mask: the timesteps that count, `(timesteps, batch)`.
            training: whether dropout applies.

        Returns:
            What the layer inside returns, with sequences as `(timesteps, batch, units)`.
        """
        mask = ops.swapaxes(mask, 0, 1) if mask is not None else None
        options = {"initial_state": initial_state} if initial_state is not None else {}
        outputs = self.layer(ops.swapaxes(sequences, 0, 1), mask=mask, training=training, **options)
        if not self.layer.return_sequences:
            return outputs
        flat = tree.flatten(outputs)
        count = self._sequences
        flat[:count] = [ops.swapaxes(output, 0, 1) for output in flat[:count]]
        return flat if len(flat) > 1 else flat[0]

    def compute_mask(self, sequences: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the outputs that are sequences; None for the others."""
        mask = previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
        if not self.layer.return_sequences:
            mask = None
        outputs = self._sequences + self._states
        return mask if outputs == 1 else [mask] * self._sequences + [None] * self._states

    @property
    def _sequences(self) -> int:
        """Return the number of outputs besides states: 2 for directions that are not merged."""
        return 2 if getattr(self.layer, "merge_mode", "concat") is None else 1

    @property
    def _states(self) -> int:
        """Return the number of states that are returned."""
        if not self.layer.return_state:
            return 0
        if isinstance(self.layer, keras.layers.Bidirectional):
            directions = (self.layer.forward_layer, self.layer.backward_layer)
            return sum(len(tree.flatten(layer.cell.state_size)) for layer in directions)
        return len(tree.flatten(self.layer.cell.state_size))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TimeMajor":
        """Recreate the layer."""
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})

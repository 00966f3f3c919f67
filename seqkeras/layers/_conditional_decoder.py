"""Recurrent layers that read what they have written."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops, tree

from seqkeras._checks import Description, bad_argument


@keras.saving.register_keras_serializable(package="seqkeras")
class ConditionalDecoder(keras.layers.Layer):
    """A stack of recurrent layers and a Dense head, whose output is fed back as an input.

    Called as `layer([inputs, targets])` with `(batch, timesteps, width)` and `(batch, timesteps,
    features)`. At each timestep, the stack reads the inputs and the value of the previous timestep,
    zeros at the first. In training that is the previous target (teacher forcing, Williams and
    Zipser 1989), so all timesteps run on the kernels of the layers. Otherwise it is the previous
    output, and the layers run in one loop; the targets are then not read. Srivastava et al. 2015
    (arXiv 1502.04681) call such a decoder conditional.

    A mask of the inputs is passed on. Masked timesteps are skipped: the value of the last timestep
    that counts is fed back.

    Args:
        layers: recurrent layers, the lowest first. Each returns sequences and nothing else, reads
            forward, and keeps no state between batches.
        features: number of features of the targets and the outputs.

    Raises:
        ArgumentError: a layer cannot be run in such a stack.

    Example:
        >>> import numpy as np
        >>> from seqkeras.layers import LSTM
        >>> decoder = ConditionalDecoder([LSTM(4, return_sequences=True)], features=2)
        >>> x, targets = np.zeros((8, 5, 3), "float32"), np.zeros((8, 5, 2), "float32")
        >>> decoder([x, targets]).shape == (8, 5, 2)
        True
    """

    def __init__(self, layers: Sequence[keras.layers.RNN], features: int, **options: Any) -> None:
        super().__init__(**options)
        for layer in layers:
            _check_layer(layer)
        self.layers = list(layers)
        self.features = features
        self.head = keras.layers.Dense(features, name="head")
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Create the weights of the layers and the head."""
        (*length, width), _ = input_shape
        width += self.features
        for layer in self.layers:
            layer.build((*length, width))
            width = layer.compute_output_shape((*length, width))[-1]
        self.head.build((*length, width))

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Return the outputs, in training for the previous targets."""
        x, targets = inputs
        mask = mask[0] if mask is not None else None
        if not training:
            return self._run_free(x, mask)
        x = ops.concatenate([x, previous_values(targets, mask)], axis=-1)
        for layer in self.layers:
            x = layer(x, mask=mask, training=True)
        return self.head(x)

    def _run_free(self, x: Any, mask: Any) -> Any:
        cell = _FeedbackCell(self.layers, self.head, name=self.name, dtype=self.dtype_policy)
        # An automatic name would advance Keras' counter of layer names.
        loop = keras.layers.RNN(
            cell, return_sequences=True, name=self.name, dtype=self.dtype_policy
        )
        return loop(x, mask=mask)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the inputs."""
        return previous_mask[0] if previous_mask is not None else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return `(batch, timesteps, features)`."""
        return (*input_shape[0][:2], self.features)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers, "features": self.features}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ConditionalDecoder":
        """Recreate the layer."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})


class _FeedbackCell(keras.layers.Layer):
    """The cells of a stack and its head as one cell, whose first state is its last output.

    (On JAX, Keras' loop shows the first state at masked timesteps.)
    """

    def __init__(self, layers: Sequence[Any], head: Any, **options: Any) -> None:
        super().__init__(**options)
        self.cells = [layer.cell for layer in layers]
        self.head = head
        self._initial_states = [layer.get_initial_state for layer in layers]
        self.output_size = head.units
        sizes = [size for cell in self.cells for size in tree.flatten(cell.state_size)]
        self.state_size = [head.units, *sizes]
        self.built = True

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        states = [initial(batch_size) for initial in self._initial_states]
        zeros = ops.zeros((batch_size, self.output_size), dtype=self.compute_dtype)
        return [zeros, *tree.flatten(states)]

    def call(self, inputs: Any, states: Any, training: bool | None = None) -> Any:
        previous, *before = states
        x = ops.concatenate([inputs, previous], axis=-1)
        after: list[Any] = []
        for cell in self.cells:
            own = tree.pack_sequence_as(cell.state_size, before[len(after) :][: _count(cell)])
            x, new = cell(x, own)
            after += tree.flatten(new)
        y = self.head(x)
        return y, [y, *after]


def previous_values(x: Any, mask: Any) -> Any:
    """Return for each timestep the value of the last timestep before it that counts, or zeros.

    Args:
        x: `(batch, timesteps, features)`.
        mask: `(batch, timesteps)`, True for timesteps that count; None if all do.
    """
    if mask is None:
        return ops.pad(x, [[0, 0], [1, 0], [0, 0]])[:, :-1]
    counts = ops.cast(mask, "int32")
    length = ops.shape(counts)[1]
    # The timesteps that count come first, in their order.
    order = ops.argsort(ops.arange(length) + length * (1 - counts), axis=1)
    before = ops.cumsum(counts, axis=1) - counts
    places = ops.take_along_axis(order, ops.maximum(before - 1, 0), axis=1)
    values = ops.take_along_axis(x, ops.expand_dims(places, -1), axis=1)
    return ops.where(ops.expand_dims(before > 0, -1), values, ops.zeros_like(values))


def _count(cell: Any) -> int:
    return len(tree.flatten(cell.state_size))


def _check_layer(layer: Any) -> None:
    is_recurrent = isinstance(layer, keras.layers.RNN)
    if not is_recurrent or not layer.return_sequences or layer.return_state:
        actual = Description(f"a {type(layer).__name__}")
        raise bad_argument("layers", actual, "recurrent layers that return only sequences")
    if layer.go_backwards or layer.stateful:
        option = "go_backwards" if layer.go_backwards else "stateful"
        actual = Description(f"{option}=True in {layer.name!r}")
        raise bad_argument("layers", actual, f"layers with {option}=False")

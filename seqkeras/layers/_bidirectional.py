"""Bidirectional, with both directions in one call of the fused kernel where that can be."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from seqkeras import kernels
from seqkeras.layers._recurrent import Dispatched

_MERGE: dict[str, Callable[[Any, Any], Any]] = {
    "concat": lambda y, backward: ops.concatenate([y, backward], axis=-1),
    "sum": ops.add,
    "ave": lambda y, backward: (y + backward) / 2,
    "mul": ops.multiply,
}


@keras.saving.register_keras_serializable(package="seqkeras")
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` that runs both directions at once.

    Two layers of seqkeras that differ in nothing but their weights and their direction are one call
    of the fused kernel: they share its threads, which a small batch alone does not keep busy. Else
    they run one after the other, each on the kernel that it chooses, also on a GPU. Layers of other
    classes, and stateful ones, run as they do in Keras.

    Example:
        >>> import numpy as np
        >>> from seqkeras import layers
        >>> both = layers.Bidirectional(layers.GRU(8, return_sequences=True), merge_mode="sum")
        >>> both(np.zeros((2, 5, 3), "float32")).shape == (2, 5, 8)
        True
    """

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        """Runs `(batch, timesteps, features)` both ways, and merges what that gives."""
        if not self._at_once:
            return super().call(sequences, initial_state, mask, training)
        pair = (self.forward_layer, self.backward_layer)
        states = _halves(initial_state) or [
            layer.get_initial_state(ops.shape(sequences)[0]) for layer in pair
        ]
        begun = [layer.begin(sequences, state) for layer, state in zip(pair, states, strict=True)]
        found = kernels.run_both(pair, sequences, begun, mask, training)
        (y, *state), (backward, *backward_state) = (
            layer.end(*one) for layer, one in zip(pair, found, strict=True)
        )
        output = self._merged(y, backward)
        if not self.return_state:
            return output
        outputs = output if self.merge_mode is None else (output,)
        return (*outputs, *state, *backward_state)

    @property
    def _at_once(self) -> bool:
        """Whether nothing is lost where the layers are not called one by one."""
        pair = (self.forward_layer, self.backward_layer)
        return not self.stateful and all(
            isinstance(layer, Dispatched)
            and layer.compute_dtype == self.compute_dtype
            and layer.activity_regularizer is None
            and not layer.unroll
            for layer in pair
        )

    def _merged(self, y: Any, backward: Any) -> Any:
        if self.return_sequences:
            backward = ops.flip(backward, axis=1)
        if self.merge_mode is None:
            return y, backward
        return _MERGE[self.merge_mode](y, backward)


def _halves(states: Any) -> list[Any] | None:
    if states is None:
        return None
    middle = len(states) // 2
    return [list(states[:middle]), list(states[middle:])]

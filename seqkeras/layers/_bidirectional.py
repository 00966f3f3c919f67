"""Bidirectional, which runs both directions in one call of the fused kernel where possible."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from seqkeras import kernels
from seqkeras._checks import Description, bad_argument, check_one_of
from seqkeras.layers._recurrent import Dispatched
from seqkeras.layers._resettable import mask_of_call

_MERGE: dict[str, Callable[[Any, Any], Any]] = {
    "concat": lambda forward, backward: ops.concatenate([forward, backward], axis=-1),
    "sum": ops.add,
    "ave": lambda forward, backward: (forward + backward) / 2,
    "mul": ops.multiply,
}


@keras.saving.register_keras_serializable(package="seqkeras")
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` that runs both directions at once.

    Two layers of seqkeras that differ only in their weights, width and direction run in one call
    of the fused kernel. They share its threads, which one direction of a small batch cannot keep
    busy. Otherwise, also on a GPU, they run one after the other, each on the kernel that it
    chooses. Layers of other classes, and stateful layers, run as they do in Keras.

    In every version of Keras, a mask passes through with `return_sequences=True`, and ends at a
    last output. It also applies next to `initial_state`, where Keras' own layer drops it.

    Example:
        >>> import numpy as np
        >>> from seqkeras import layers
        >>> both = layers.Bidirectional(layers.GRU(8, return_sequences=True), merge_mode="sum")
        >>> both(np.zeros((2, 5, 3), "float32")).shape == (2, 5, 8)
        True
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: keras.layers.Layer | None = None,
        **options: Any,
    ) -> None:
        for name, direction in (("layer", layer), ("backward_layer", backward_layer)):
            if direction is not None and not hasattr(direction, "go_backwards"):
                raise bad_argument(name, direction, "a recurrent layer, such as layers.LSTM(8)")
        if merge_mode is not None:
            check_one_of("merge_mode", merge_mode, _MERGE)
        super().__init__(layer, merge_mode, weights, backward_layer, **options)
        self.supports_masking = True  # Keras 3.16 sets it to False

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the outputs, or None for last outputs."""
        mask = tree.flatten(previous_mask)[0] if self.return_sequences else None
        return mask if self.merge_mode is not None else (mask, mask)

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """Return the shapes of the outputs; the directions may have different widths.

        Raises:
            ArgumentError: the widths differ, and the merge mode needs equal ones.
        """
        pair = (self.forward_layer, self.backward_layer)
        shapes = [layer.compute_output_shape(sequences_shape) for layer in pair]
        (forward, *forward_states), (backward, *backward_states) = (
            shape if self.return_state else [shape] for shape in shapes
        )
        if self.merge_mode is None:
            merged = [tuple(forward), tuple(backward)]
        elif self.merge_mode == "concat":
            merged = [(*forward[:-1], forward[-1] + backward[-1])]
        else:
            self._check_widths(forward[-1], backward[-1])
            merged = [tuple(forward)]
        outputs = (*merged, *forward_states, *backward_states)
        return outputs if len(outputs) > 1 else merged[0]

    def _check_widths(self, forward: int, backward: int) -> None:
        if forward != backward:
            actual = f"{self.merge_mode!r} for widths of {forward} and {backward}"
            expected = "'concat' or None for different widths"
            raise bad_argument("merge_mode", Description(actual), expected)

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: Any = None,
        sequences_mask: Any = None,
    ) -> Any:
        """Run `(batch, timesteps, features)` in both directions and merge the outputs."""
        mask = mask_of_call(mask, sequences_mask)
        if not self._runs_at_once:
            return super().call(sequences, initial_state, mask, training)
        pair = (self.forward_layer, self.backward_layer)
        states = _halves(initial_state) or [
            layer.get_initial_state(ops.shape(sequences)[0]) for layer in pair
        ]
        try:
            states = [
                layer.begin(sequences, state) for layer, state in zip(pair, states, strict=True)
            ]
            results = kernels.run_both(pair, sequences, states, mask, training)
        except BaseException:
            for layer in pair:
                layer.forget_dropout()
            raise
        (forward, *forward_state), (backward, *backward_state) = (
            layer.end(*result) for layer, result in zip(pair, results, strict=True)
        )
        output = self._merged(forward, backward)
        if not self.return_state:
            return output
        outputs = (output,) if self.merge_mode is not None else output
        return (*outputs, *forward_state, *backward_state)

    @property
    def _runs_at_once(self) -> bool:
        pair = (self.forward_layer, self.backward_layer)
        return not self.stateful and all(
            isinstance(layer, Dispatched)
            and layer.compute_dtype == self.compute_dtype
            and layer.activity_regularizer is None
            and not layer.unroll
            and not layer.weight_drop
            for layer in pair
        )

    def _merged(self, forward: Any, backward: Any) -> Any:
        if self.return_sequences:
            backward = ops.flip(backward, axis=1)
        if self.merge_mode is None:
            return forward, backward
        return _MERGE[self.merge_mode](forward, backward)


def _halves(states: Any) -> list[Any] | None:
    if states is None:
        return None
    middle = len(states) // 2
    return [list(states[:middle]), list(states[middle:])]

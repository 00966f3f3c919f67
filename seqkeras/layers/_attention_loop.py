"""The loop of an attention cell over time, without what does not need to be in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras import ops

from seqkeras import kernels
from seqkeras.layers._attention_cell import AttentionCell, joined
from seqkeras.layers._weight_drop import dropped_weights


def run_attention(
    cell: AttentionCell,
    x: Any,
    mask: Any,
    states: Sequence[Any],
    constants: Sequence[Any],
    training: bool,
) -> tuple[Any, Any]:
    """Run an attention cell over `(batch, timesteps, features)`.

    What the output needs beyond the states is left to the caller, for all timesteps at once.
    Timesteps that are masked do not change the states. (To compute the products of the inputs with
    the kernel before the loop as well saved no time.)

    Returns:
        What `cell.read_out` takes, or with input feeding what it returned; and the weights.
    """

    def advance(column: Any, before: Sequence[Any]) -> tuple[Any, list[Any]]:
        (h, context, weights), after = cell.advance(column, before, constants, training)
        features = [after[-1]] if cell.input_feeding else [h, context]
        return joined([*features, weights]), after

    # Automatic names would advance Keras' counter of layer names.
    options = {"name": cell.name, "dtype": cell.dtype_policy}
    loop_cell = _LoopCell(advance, states, mask is not None, **options)
    if mask is not None:
        x = joined([x, ops.expand_dims(ops.cast(mask, x.dtype), -1)])
    loop = keras.layers.RNN(loop_cell, return_sequences=True, **options)
    outputs = loop(x, initial_state=list(states))
    width = cell.output_units if cell.input_feeding else cell.readout.kernel.shape[0]
    return outputs[..., :width], outputs[..., width:]


@contextmanager
def weight_drop(layers: Sequence[Any], training: bool) -> Iterator[None]:
    """Drop recurrent weights of the cells of layers, as the layers do in training."""
    with ExitStack() as stack:
        for layer in layers:
            rate = getattr(layer, "weight_drop", 0.0) if training else 0.0
            stack.enter_context(dropped_weights(layer.cell, rate))
        yield


class _LoopCell(keras.layers.Layer):
    """A function of one timestep as a Keras cell; the last column of its input can be the mask."""

    def __init__(
        self,
        advance: Callable[[Any, Sequence[Any]], tuple[Any, list[Any]]],
        states: Sequence[Any],
        is_masked: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.advance = advance
        self.state_size = [state.shape[-1] for state in states]
        self.is_masked = is_masked
        self.built = True

    def call(self, inputs: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        if not self.is_masked:
            return self.advance(inputs, states)
        output, after = self.advance(inputs[:, :-1], states)
        return output, kernels.where_rows(inputs[:, -1] > 0, after, list(states))

"""The loop of an attention cell over time, without what does not need to be in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras import ops, tree

from seqkeras import kernels
from seqkeras.layers._attention_cell import AttentionCell, Inner, advance_cell, joined, parts
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

    The products of the inputs with the kernel of the lowest cell are computed for all timesteps at
    once, if the cell allows. Timesteps that are masked do not change the states.

    Returns:
        What `cell.read_out` takes, or with input feeding what it returned; and the weights.
    """
    x, inner = _inner(cell, x, training)

    def advance(column: Any, before: Sequence[Any]) -> tuple[Any, list[Any]]:
        (h, context, weights), after = cell.advance(column, before, constants, training, inner)
        features = [after[-1]] if cell.input_feeding else [h, context]
        return joined([*features, weights]), after

    # Automatic names would advance Keras' counter of layer names.
    options = {"name": cell.name, "dtype": cell.dtype_policy}
    loop_cell = _LoopCell(advance, states, mask is not None, **options)
    if mask is not None:
        x = joined([x, ops.expand_dims(ops.cast(mask, x.dtype), -1)])
    loop = keras.layers.RNN(loop_cell, return_sequences=True, **options)
    outputs = loop(x, initial_state=list(states))
    width = cell.output_size if cell.input_feeding else cell.readout.kernel.shape[0]
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


def _inner(cell: AttentionCell, x: Any, training: bool) -> tuple[Any, Inner | None]:
    """Return the columns that the loop reads, and how the inner cell runs on them.

    (None: on the inputs themselves.)
    """
    lowest, *upper = parts(cell.cell)
    step = kernels.product_step(lowest)
    if step is None or (training and lowest.recurrent_dropout):
        return x, None
    width = x.shape[-1]
    kernel = ops.convert_to_tensor(lowest.kernel)
    own_kernel, fed_kernel = kernel[:width], kernel[width:]
    recurrent_kernel = ops.convert_to_tensor(lowest.recurrent_kernel)
    bias, recurrent_bias = kernels.biases(lowest)
    # The dropout was drawn before, so Keras ignores the argument.
    factors = lowest.get_dropout_mask(None) if training and lowest.dropout else None
    if isinstance(factors, list):
        return x, None
    if factors is not None:
        x = x * factors[:, None, :width]
    count = len(tree.flatten(lowest.state_size))

    def run(product: Any, fed: Sequence[Any], states: Sequence[Any]) -> tuple[Any, list[Any]]:
        rest = joined(fed)
        if factors is not None:
            rest = rest * factors[:, width:]
        product = product + ops.matmul(rest, fed_kernel)
        recurrent = ops.matmul(states[0], recurrent_kernel) + recurrent_bias
        after = step(lowest, product, recurrent, *states[:count])
        return _run_upper(upper, after, list(states[count:]), training)

    return ops.matmul(x, own_kernel) + bias, run


def _run_upper(
    cells: Sequence[Any], after: list[Any], states: list[Any], training: bool
) -> tuple[Any, list[Any]]:
    """Run the cells above the lowest, whose new states are `after`."""
    h = after[0]
    for cell in cells:
        count = len(tree.flatten(cell.state_size))
        h, new = advance_cell(cell, h, states[:count], training)
        after = [*after, *new]
        states = states[count:]
    return h, after

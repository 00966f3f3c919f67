"""One step of a recurrent layer for each of many inputs, all from the same state."""

from collections.abc import Sequence

import keras
from keras import ops, tree

from seqkeras import kernels
from seqkeras.layers._recurrent import Dispatched


def branch(
    layer: keras.layers.RNN,
    queries: keras.KerasTensor,
    initial_state: Sequence[keras.KerasTensor],
) -> keras.KerasTensor:
    """Run one step of a layer for each timestep of the queries, all from the same state.

    Our LSTM, GRU and SimpleRNN, without variants and dropout, multiply the state by the recurrent
    kernel once for all queries. In other layers, each timestep runs from its own copy of the state.

    Args:
        layer: recurrent layer with any cell, not stateful.
        queries: `(rows, timesteps, features)`. `rows` is the number of rows of the state or a
            divisor of it; the rows of the state then cycle through the rows of the queries.
        initial_state: list of the states of the layer, each `(batch, units)`.

    Returns:
        `(batch, timesteps, units)`.

    Raises:
        ArgumentError: the layer is stateful, the state does not match the layer, or the queries
            have another shape.

    Example:
        >>> import numpy as np
        >>> from seqkeras import layers
        >>> layer = layers.GRU(8, return_state=True)
        >>> _, state = layer(np.zeros((32, 10, 3), "float32"))
        >>> layers.branch(layer, np.zeros((1, 5, 3), "float32"), [state]).shape == (32, 5, 8)
        True
    """
    kernels.check_branch(layer, queries, initial_state)
    if isinstance(layer, Dispatched) and kernels.why_not_branch(layer) is None:
        return layer(queries, initial_state=list(initial_state), branch=True)
    rows, timesteps, features = queries.shape
    first_state = tree.flatten(initial_state)[0]
    if rows not in (None, first_state.shape[0]):
        # Broadcast the queries to every row of the state: in a graph, Keras cannot repeat an axis
        # a number of times that is not known yet.
        zeros = ops.reshape(ops.zeros_like(first_state[:, :1]), (-1, rows, 1, 1))
        queries = zeros + queries
    single_steps = ops.reshape(queries, (-1, 1, features))
    copies = tree.map_structure(lambda x: ops.repeat(x, timesteps, axis=0), list(initial_state))
    outputs = layer(single_steps, initial_state=copies)
    output = outputs[0] if layer.return_state else outputs
    return ops.reshape(output, (-1, timesteps, output.shape[-1]))

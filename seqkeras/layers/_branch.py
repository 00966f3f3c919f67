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
    """What a layer gives for each timestep of the queries, as if each came first after the state.

    Our LSTM, GRU and SimpleRNN, without variants and dropout, make the product of the state once
    for all of them; each timestep of any other layer runs from a copy of the state.

    Args:
        layer: of any cell, not stateful.
        queries: `(rows, timesteps, features)`: as many rows as the state, or a number that divides
            them; then the rows of the state read those of the queries in turns.
        initial_state: a list of what the layer hands on, each `(batch, units)`.

    Returns:
        `(batch, timesteps, units)`.

    Raises:
        ArgumentError: the layer keeps its state, the state is not one of the layer, or the queries
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
    first = tree.flatten(initial_state)[0]
    if rows not in (None, first.shape[0]):
        # The queries for every row of the state: Keras repeats no axis in a graph by what it does
        # not know yet.
        every = ops.reshape(ops.zeros_like(first[:, :1]), (-1, rows, 1, 1))
        queries = every + queries
    alone = ops.reshape(queries, (-1, 1, features))
    copies = tree.map_structure(lambda x: ops.repeat(x, timesteps, axis=0), list(initial_state))
    answer = layer(alone, initial_state=copies)
    answer = answer[0] if layer.return_state else answer
    return ops.reshape(answer, (-1, timesteps, answer.shape[-1]))

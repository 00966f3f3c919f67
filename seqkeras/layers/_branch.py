"""One step of a recurrent layer for each of many inputs, all from the same state."""

from collections.abc import Sequence

import keras
from keras import ops

from seqkeras import kernels
from seqkeras.layers._dispatched import Dispatched


def branch(
    layer: keras.layers.RNN, queries: keras.KerasTensor, state: Sequence[keras.KerasTensor]
) -> keras.KerasTensor:
    """What a recurrent layer gives for each timestep of the queries, if it is the first one.

    Our LSTM, GRU and SimpleRNN, without variants and dropout, make the product of the state once
    (see `Dispatched`); each timestep of any other layer runs from a copy of the state.

    Args:
        layer: of any cell.
        queries: `(rows, timesteps, features)`, as many rows as the state, or a number of them that
            is read again and again.
        state: of the layer, each `(batch, units)`.

    Returns:
        `(batch, timesteps, units)`.

    Example:
        >>> import numpy as np
        >>> from seqkeras import layers
        >>> layer = layers.GRU(8, return_state=True)
        >>> _, state = layer(np.zeros((32, 10, 3), "float32"))
        >>> layers.branch(layer, np.zeros((1, 5, 3), "float32"), [state]).shape == (32, 5, 8)
        True
    """
    if isinstance(layer, Dispatched) and kernels.why_not_branch(layer) is None:
        return layer(queries, initial_state=list(state), branch=True)
    rows, timesteps, features = queries.shape
    if rows is not None:
        each = ops.reshape(ops.zeros_like(state[0][:, :1]), (-1, rows, 1, 1))
        queries = each + queries
    alone = ops.reshape(queries, (-1, 1, features))
    copies = [ops.repeat(one, timesteps, axis=0) for one in state]
    answer = layer(alone, initial_state=copies)
    answer = answer[0] if layer.return_state else answer
    return ops.reshape(answer, (-1, timesteps, answer.shape[-1]))

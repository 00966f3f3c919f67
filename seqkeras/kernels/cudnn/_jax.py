"""cuDNN's LSTM through `jax.experimental.rnn`; it has no GRU."""

from typing import Any

import jax.numpy as jnp
from jax.experimental import rnn

from seqkeras.gates import Weights
from seqkeras.kernels.cudnn._masks import Sequences


def run(x: Any, lengths: Any, state: list[Any], weights: Weights) -> Sequences:
    """Run `lengths[i]` timesteps of row `i`, or all timesteps if `lengths` is None."""
    rows, timesteps, features = x.shape
    if lengths is None:
        lengths = jnp.full((rows,), timesteps, jnp.int32)
    h0, c0 = (array[None] for array in state)
    y, h_n, c_n = rnn.lstm(
        x,
        h0,
        c0,
        flat_weights(weights),
        lengths,
        input_size=features,
        hidden_size=h0.shape[-1],
        num_layers=1,
        dropout=0.0,
        bidirectional=False,
    )
    return Sequences(y, [h_n[0], c_n[0]])


def flat_weights(weights: Weights) -> Any:
    """Join all weights in one row: transposed kernel and recurrent kernel, then both biases."""
    kernels = [jnp.ravel(weights.kernel.T), jnp.ravel(weights.recurrent_kernel.T)]
    return jnp.concatenate([*kernels, jnp.ravel(jnp.asarray(weights.bias))])

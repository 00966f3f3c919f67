"""cuDNN through TensorFlow's op `CudnnRNNV3`."""

from typing import Any

import tensorflow as tf

from seqkeras.gates import Weights
from seqkeras.kernels.cudnn._masks import Sequences


def run(x: Any, lengths: Any, state: list[Any], weights: Weights) -> Sequences:
    """Run `lengths[i]` timesteps of row `i`, or all timesteps if `lengths` is None.

    `state` has two arrays for an LSTM, one for a GRU.
    """
    lstm = len(state) == 2
    if lengths is None:
        lengths = tf.fill([tf.shape(x)[0]], tf.shape(x)[1])
    h, *c = (tf.expand_dims(array, 1) for array in state)
    y, h_n, c_n, _, _ = tf.raw_ops.CudnnRNNV3(
        input=x,
        input_h=h,
        input_c=c[0] if lstm else tf.zeros((), x.dtype),
        params=_parameters(weights, gates=4 if lstm else 3),
        rnn_mode="lstm" if lstm else "gru",
        sequence_lengths=lengths,
        time_major=False,
        is_training=True,  # otherwise the op saves nothing for its gradient
    )
    states = [h_n, c_n] if lstm else [h_n]
    return Sequences(y, [tf.squeeze(array, 1) for array in states])


def _parameters(weights: Weights, gates: int) -> Any:
    """Join all weights in one row: the transposed kernels of each gate, then the biases."""
    kernels = [
        tf.reshape(tf.transpose(gate), [-1])
        for kernel in (weights.kernel, weights.recurrent_kernel)
        for gate in tf.split(kernel, gates, axis=1)
    ]
    return tf.concat([*kernels, tf.reshape(weights.bias, [-1])], axis=0)

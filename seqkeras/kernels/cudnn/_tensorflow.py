"""cuDNN through TensorFlow's op `CudnnRNNV3`."""

from typing import Any

import tensorflow as tf

from seqkeras.gates import Weights
from seqkeras.kernels.cudnn._masks import Sequences


def run(x: Any, lengths: Any, state: list[Any], weights: Weights) -> Sequences:
    """Runs `lengths[i]` timesteps of row `i`, or all; one state is a GRU's, two are an LSTM's."""
    lstm = len(state) == 2
    if lengths is None:
        lengths = tf.fill([tf.shape(x)[0]], tf.shape(x)[1])
    h, *c = (tf.expand_dims(one, 1) for one in state)
    y, h_n, c_n, _, _ = tf.raw_ops.CudnnRNNV3(
        input=x,
        input_h=h,
        input_c=c[0] if lstm else tf.zeros((), x.dtype),
        params=_parameters(weights, gates=4 if lstm else 3),
        rnn_mode="lstm" if lstm else "gru",
        sequence_lengths=lengths,
        time_major=False,
        is_training=True,
    )
    return Sequences(y, [tf.squeeze(one, 1) for one in ([h_n, c_n] if lstm else [h_n])])


def _parameters(weights: Weights, gates: int) -> Any:
    """All weights in one row: each gate's kernels, transposed, and then its biases."""
    kernels = [
        tf.reshape(tf.transpose(gate), [-1])
        for kernel in (weights.kernel, weights.recurrent_kernel)
        for gate in tf.split(kernel, gates, axis=1)
    ]
    return tf.concat([*kernels, tf.reshape(weights.bias, [-1])], axis=0)

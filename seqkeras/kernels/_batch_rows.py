"""Rows of a batch, where the graph does not know their number."""

from typing import Any

from keras import ops

from seqkeras.kernels._runtime import here


def with_rows(x: Any, rows: int, refusal: str) -> Any:
    """Give `x` a number of rows, which its graph does not know.

    Only graphs of TensorFlow have such arrays. Where one runs on an array of another number, it
    fails with the text `refusal` and that number. XLA and exported graphs do not check.
    """
    backend, _, traced_for = here(x)
    if backend != "tensorflow" or traced_for is not None:
        return ops.reshape(x, (rows, *ops.shape(x)[1:]))
    import tensorflow as tf

    actual = tf.shape(x)[0]
    with tf.control_dependencies([tf.debugging.Assert(actual == rows, [refusal, actual])]):
        x = tf.identity(x)
    # From a reshape, TensorFlow would infer the rows of its input, and optimize the check away.
    x.set_shape((rows, *x.shape[1:]))
    return x

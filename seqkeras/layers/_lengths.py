"""Sequences with padding, described by their lengths."""

from typing import Any

from keras import ops


def length_mask(lengths: Any, timesteps: Any) -> Any:
    """Return the mask of sequences that are padded at their ends.

    Args:
        lengths: `(batch,)`, the number of timesteps of each sequence, integers.
        timesteps: number of timesteps with padding, such as `x.shape[1]`.

    Returns:
        `(batch, timesteps)`, True where a timestep is not padding.

    Example:
        >>> import keras
        >>> mask = length_mask([2, 0, 3], 3)
        >>> keras.ops.convert_to_numpy(mask).tolist()
        [[True, True, False], [False, False, False], [True, True, True]]
    """
    lengths = ops.convert_to_tensor(lengths)
    return ops.arange(timesteps, dtype=lengths.dtype) < ops.expand_dims(lengths, -1)


def reverse_sequence(x: Any, lengths: Any) -> Any:
    """Reverse each sequence up to its length; the padding stays at its end.

    `ReverseTime` reverses all timesteps, and puts the padding, which its mask marks, at the start.

    Args:
        x: `(batch, timesteps, ...)`.
        lengths: `(batch,)`, the number of timesteps of each sequence, integers.

    Returns:
        An array of the shape and dtype of `x`.

    Example:
        >>> import keras
        >>> x = reverse_sequence([[1, 2, 3, 0], [4, 0, 0, 0]], lengths=[3, 1])
        >>> keras.ops.convert_to_numpy(x).tolist()
        [[3, 2, 1, 0], [4, 0, 0, 0]]
    """
    x = ops.convert_to_tensor(x)
    lengths = ops.expand_dims(ops.cast(ops.convert_to_tensor(lengths), "int32"), -1)
    steps = ops.expand_dims(ops.arange(ops.shape(x)[1], dtype="int32"), 0)
    order = ops.where(steps < lengths, lengths - 1 - steps, steps)
    order = ops.reshape(order, (*ops.shape(order), *(1 for _ in x.shape[2:])))
    return ops.take_along_axis(x, ops.broadcast_to(order, ops.shape(x)), axis=1)

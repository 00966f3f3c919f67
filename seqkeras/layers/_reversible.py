"""Normalisation of each window by itself, which can be undone on the forecast."""

from typing import Any

from keras import ops

NORMALIZATIONS = ("none", "last", "mean_scale", "revin")


def center_and_scale(
    x: Any, kind: str, *, mask: Any = None, epsilon: float = 1e-5
) -> tuple[Any, Any]:
    """What windows `(batch, lookback, ...)` are normalised by, along their second axis.

    Args:
        x: the windows.
        kind: one of `NORMALIZATIONS`.
        mask: where values count, of the shape of `x` or with 1 in its place; None: everywhere.
        epsilon: added to the variance.

    Returns:
        Center and scale, each `(batch, 1, ...)`; None for a center of 0, and for a scale of 1.
        A window without a value that counts has these, too, so that nothing divides by 0.
    """
    if kind == "none":
        return None, None
    if kind == "last":
        return _newest(x, mask), None
    if kind == "mean_scale":
        size = _mean(ops.absolute(x), mask)
        return None, ops.where(size > 0, size, 1.0)
    center = _mean(x, mask)
    variance = _mean(ops.square(x - center), mask)
    return center, ops.sqrt(variance + epsilon)


def _newest(x: Any, mask: Any) -> Any:
    if mask is None:
        return x[:, -1:]
    order = ops.cast(ops.arange(1, x.shape[1] + 1), x.dtype)
    order = ops.reshape(order, (1, -1, *[1] * (len(x.shape) - 2))) * ops.cast(mask, x.dtype)
    newest = (order > 0) & (order == ops.max(order, axis=1, keepdims=True))
    return ops.sum(ops.where(newest, x, 0.0), axis=1, keepdims=True)


def _mean(x: Any, mask: Any) -> Any:
    if mask is None:
        return ops.mean(x, axis=1, keepdims=True)
    counted = ops.sum(ops.cast(mask, x.dtype), axis=1, keepdims=True)
    return ops.sum(ops.where(mask, x, 0.0), axis=1, keepdims=True) / ops.maximum(counted, 1.0)

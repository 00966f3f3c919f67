"""Normalisation of each window by itself, which can be undone on the forecast."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import bad_argument, check_flag, check_one_of, check_positive

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


@keras.saving.register_keras_serializable(package="seqkeras")
class ReversibleNormalization(keras.layers.Layer):
    """Normalises each window by itself, and undoes that on the forecast.

    Called with windows alone it normalises them, and gives the statistics beside. Called with a
    forecast and these statistics it brings the forecast back to the size of the windows. Both are
    computed in float32 under mixed precision.

    The kinds are the newest value as the center (NLinear, Zeng et al. 2023, arXiv 2205.13504), the
    mean absolute value as the scale (near DeepAR's, Salinas et al. 2020, arXiv 1704.04110), and
    mean and deviation with learned weights (RevIN, Kim et al. 2022, ICLR).

    Args:
        kind: `"revin"` (default), `"last"`, `"mean_scale"` or `"none"`.
        affine: learn a scale and a shift of each channel, which are undone, too. The scale is the
            exponential of its weight, and so never 0.
        epsilon: added to the variance of `"revin"`, for windows that are constant.

    Arguments of its call:

    - `inputs`: windows `(batch, lookback, channels)`. With `statistics` a forecast, of one channel
      `(batch, steps)` or with several numbers `(batch, steps, outputs)`, of more
      `(batch, steps, channels)` or `(batch, steps, channels, outputs)`.
    - `statistics`: what the first call gave.
    - `mask`: where values count, `(batch, lookback)` or `(batch, lookback, channels)`; others are
      not looked at, and normalised like the rest.

    Returns:
        The normalised windows and statistics `(batch, 2, channels)`: center and scale. With
        `statistics` the forecast.

    Raises:
        ArgumentError: there is no such kind, or epsilon is not above 0.

    Example:
        >>> import numpy as np
        >>> normalization = ReversibleNormalization("last")
        >>> window = np.array([[[1.0], [3.0], [7.0]]])
        >>> normal, statistics = normalization(window)
        >>> keras.ops.convert_to_numpy(normal)[0, :, 0].tolist()
        [-6.0, -4.0, 0.0]
        >>> forecast = normalization(np.array([[1.0, 2.0]]), statistics=statistics)
        >>> keras.ops.convert_to_numpy(forecast).tolist()
        [[8.0, 9.0]]
    """

    def __init__(
        self, kind: str = "revin", *, affine: bool = False, epsilon: float = 1e-5, **options: Any
    ) -> None:
        super().__init__(autocast=False, **options)
        self.kind = check_one_of("kind", kind, NORMALIZATIONS)
        self.affine = check_flag("affine", affine)
        self.epsilon = check_positive("epsilon", epsilon)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights of `affine`, one of each for a channel."""
        if self.affine:
            shape = (input_shape[-1],)
            self.log_scale = self.add_weight(shape=shape, initializer="zeros", name="log_scale")
            self.shift = self.add_weight(shape=shape, initializer="zeros", name="shift")

    def call(self, inputs: Any, statistics: Any = None, mask: Any = None) -> Any:
        """Normalises windows, or with their statistics undoes that on a forecast."""
        x = ops.cast(inputs, self.variable_dtype)
        return self._normalize(x, mask) if statistics is None else self._undo(x, statistics)

    def _normalize(self, x: Any, mask: Any) -> tuple[Any, Any]:
        if mask is not None:
            mask = ops.cast(mask, "bool")
            mask = ops.expand_dims(mask, -1) if len(mask.shape) < len(x.shape) else mask
        center, scale = center_and_scale(x, self.kind, mask=mask, epsilon=self.epsilon)
        same = ops.zeros_like(x[:, :1])
        center = same if center is None else center
        scale = same + 1 if scale is None else scale
        normal = (x - center) / scale
        if self.affine:
            normal = normal * ops.exp(self.log_scale) + self.shift
        return ops.cast(normal, self.compute_dtype), ops.concatenate([center, scale], axis=1)

    def _undo(self, x: Any, statistics: Any) -> Any:
        center, scale = self._like(x, statistics[:, :1]), self._like(x, statistics[:, 1:])
        if self.affine:
            shift = ops.reshape(self.shift, (1, 1, -1))
            log_scale = ops.reshape(self.log_scale, (1, 1, -1))
            x = (x - self._like(x, shift)) / ops.exp(self._like(x, log_scale))
        return x * scale + center

    def _like(self, x: Any, numbers: Any) -> Any:
        """Numbers `(batch, 1, channels)` with as many axes as a forecast."""
        axes, channels = len(x.shape), numbers.shape[-1]
        if axes == 4:
            return ops.expand_dims(numbers, -1)
        if axes == 3 and (channels == 1 or x.shape[-1] in (channels, None)):
            return numbers
        if axes == 2 and channels == 1:
            return numbers[:, :, 0]
        expected = "(batch, steps, channels) or (batch, steps, channels, outputs)"
        fix = f"The statistics are of {channels} channels."
        raise bad_argument("inputs", f"shape {tuple(x.shape)}", expected, fix)

    def get_config(self) -> dict[str, Any]:
        """What the layer was made with."""
        mine = {"kind": self.kind, "affine": self.affine, "epsilon": self.epsilon}
        return {**super().get_config(), **mine}

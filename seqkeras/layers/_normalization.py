"""Normalization of each window by itself, and its inverse for forecasts."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import Description, bad_argument, check_flag, check_one_of, check_positive

NORMALIZATIONS = ("none", "last", "mean_scale", "revin")


def center_and_scale(
    x: Any, kind: str, *, mask: Any = None, epsilon: float = 1e-5
) -> tuple[Any, Any]:
    """Compute the center and scale that normalize windows along their second axis.

    Args:
        x: windows `(batch, lookback, ...)`.
        kind: one of `NORMALIZATIONS`.
        mask: True for values that count; of the shape of `x`, or with axes of length 1 that
            broadcast to it. None (default): all count.
        epsilon: added to the variance. Default: 1e-5.

    Returns:
        Center and scale, each `(batch, 1, ...)`; None in place of a center of 0 or a scale of 1.
        Both are finite, and the scale is not 0, even for a window in which no value counts.
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
    numbers = ops.cast(ops.arange(1, x.shape[1] + 1), x.dtype)
    numbers = ops.reshape(numbers, (1, -1, *[1] * (len(x.shape) - 2)))
    counted = numbers * ops.cast(mask, x.dtype)  # the number of each row that counts, else 0
    is_newest = (counted > 0) & (counted == ops.max(counted, axis=1, keepdims=True))
    return ops.sum(ops.where(is_newest, x, 0.0), axis=1, keepdims=True)


def _mean(x: Any, mask: Any) -> Any:
    if mask is None:
        return ops.mean(x, axis=1, keepdims=True)
    count = ops.sum(ops.cast(mask, x.dtype), axis=1, keepdims=True)
    return ops.sum(ops.where(mask, x, 0.0), axis=1, keepdims=True) / ops.maximum(count, 1.0)


@keras.saving.register_keras_serializable(package="seqkeras")
class ReversibleNormalization(keras.layers.Layer):
    """Normalization of each window by itself, which can be undone on the forecast.

    Called with windows only, it normalizes them and also returns the statistics. Called with a
    forecast and these statistics, it scales the forecast back to the level of the windows. Both
    run in float32 under mixed precision.

    The kinds are the newest value as the center (NLinear, Zeng et al. 2023, arXiv 2205.13504), the
    mean absolute value as the scale (similar to DeepAR, Salinas et al. 2020, arXiv 1704.04110), and
    mean and standard deviation (RevIN, Kim et al. 2022, ICLR; with `affine` its learned weights).

    Args:
        kind: `"revin"` (default), `"last"`, `"mean_scale"` or `"none"`.
        affine: learn a scale and a shift of each channel, which are undone as well. The scale is
            the exponential of its weight, so it is never 0. Default: False.
        epsilon: added to the variance of `"revin"`, for constant windows. Default: 1e-5.

    Call arguments:

    - `inputs`: windows `(batch, lookback, channels)`. With `statistics`, a forecast: of one
      channel `(batch, steps)`, or `(batch, steps, outputs)` with several outputs; of several
      channels `(batch, steps, channels)` or `(batch, steps, channels, outputs)`.
    - `statistics`: the statistics that the call with the windows returned.
    - `mask`: True for values that count, `(batch, lookback)` or `(batch, lookback, channels)`. The
      statistics ignore all other values, which are normalized like the rest.

    Returns:
        The normalized windows and the statistics, center and scale, `(batch, 2, channels)`. With
        `statistics`, the forecast.

    Raises:
        ArgumentError: the kind is unknown, or epsilon is not above 0.

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
        """Create the weights of `affine`, a scale and a shift of each channel."""
        if self.affine:
            shape = (input_shape[-1],)
            self.log_scale = self.add_weight(shape=shape, initializer="zeros", name="log_scale")
            self.shift = self.add_weight(shape=shape, initializer="zeros", name="shift")

    def call(self, inputs: Any, statistics: Any = None, mask: Any = None) -> Any:
        """Normalize windows or, with their statistics, scale a forecast back."""
        x = ops.cast(inputs, self.variable_dtype)
        return self._undo(x, statistics) if statistics is not None else self._normalize(x, mask)

    def _normalize(self, x: Any, mask: Any) -> tuple[Any, Any]:
        if mask is not None:
            mask = ops.cast(mask, "bool")
            mask = ops.expand_dims(mask, -1) if len(mask.shape) < len(x.shape) else mask
        center, scale = center_and_scale(x, self.kind, mask=mask, epsilon=self.epsilon)
        zeros = ops.zeros_like(x[:, :1])
        if center is None:
            center = zeros
        if scale is None:
            scale = zeros + 1
        normal = (x - center) / scale
        if self.affine:
            normal = normal * ops.exp(self.log_scale) + self.shift
        return ops.cast(normal, self.compute_dtype), ops.concatenate([center, scale], axis=1)

    def _undo(self, x: Any, statistics: Any) -> Any:
        center = self._with_axes_of(x, statistics[:, :1])
        scale = self._with_axes_of(x, statistics[:, 1:])
        if self.affine:
            shift = self._with_axes_of(x, ops.reshape(self.shift, (1, 1, -1)))
            log_scale = self._with_axes_of(x, ops.reshape(self.log_scale, (1, 1, -1)))
            x = (x - shift) / ops.exp(log_scale)
        return x * scale + center

    def _with_axes_of(self, forecast: Any, statistic: Any) -> Any:
        """Reshape a statistic, `(batch, 1, channels)`, to broadcast over a forecast."""
        rank = len(forecast.shape)
        channels = statistic.shape[-1]
        if rank == 4:
            return ops.expand_dims(statistic, -1)
        if rank == 3 and (channels == 1 or forecast.shape[-1] in (channels, None)):
            return statistic
        if rank == 2 and channels == 1:
            return statistic[:, :, 0]
        expected = "(batch, steps, channels) or (batch, steps, channels, outputs)"
        fix = f"The statistics have {channels} channel(s)."
        raise bad_argument("inputs", Description(f"shape {tuple(forecast.shape)}"), expected, fix)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        options = {"kind": self.kind, "affine": self.affine, "epsilon": self.epsilon}
        return {**super().get_config(), **options}

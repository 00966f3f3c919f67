"""A normal distribution for each timestep."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import stats

from seqkeras.heads._head import Array, Head, width, width_of_array


@keras.saving.register_keras_serializable(package="seqkeras")
class Gaussian(Head):
    """A normal distribution: the first output is its mean, the second lies a deviation above.

    The loss is the negative log-likelihood.

    Args:
        name, reduction, dtype: as of any loss of Keras.

    Example:
        >>> Gaussian().quantiles([[1.0, 5.0]], [0.5, 0.9]).round(2).tolist()
        [[1.0, 6.15]]
    """

    outputs = 2

    def __init__(self, name: str = "gaussian", **options: Any) -> None:
        super().__init__(name=name, **options)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The negative log-likelihood, `(batch, steps)`."""
        deviation = width(y_pred, 1)
        distance = (ops.cast(y_true, y_pred.dtype) - y_pred[..., 0]) / deviation
        return 0.5 * distance**2 + ops.log(deviation) + 0.5 * math.log(2 * math.pi)

    def _quantiles(self, outputs: Array, probabilities: Array) -> Array:
        deviation = width_of_array(outputs, 1)[..., np.newaxis]
        return np.asarray(outputs[..., :1] + deviation * stats.norm.ppf(probabilities))

    def _sample(self, outputs: Array, count: int, rng: np.random.Generator) -> Array:
        drawn = rng.standard_normal((count, *outputs.shape[:-1]))
        return outputs[..., 0] + width_of_array(outputs, 1) * drawn

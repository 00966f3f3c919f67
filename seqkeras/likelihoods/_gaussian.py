"""A normal distribution for each timestep."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import special

from seqkeras._arrays import Floats
from seqkeras.likelihoods._likelihood import Likelihood, width, width_of_array


@keras.saving.register_keras_serializable(package="seqkeras")
class Gaussian(Likelihood):
    """A normal distribution, given by two outputs.

    The first output is the mean. `softplus` of the distance of the second above the first is the
    standard deviation, which is therefore positive. The loss is the negative log-likelihood.

    Args:
        name, reduction, dtype: as for any Keras loss.

    Example:
        >>> Gaussian().quantiles([[1.0, 5.0]], [0.5, 0.9]).round(2).tolist()
        [[1.0, 6.15]]
    """

    outputs = 2

    def __init__(self, name: str = "gaussian", **options: Any) -> None:
        super().__init__(name=name, **options)

    def _loss(self, target: Any, outputs: Any) -> Any:
        deviation = width(outputs, 1)
        distance = (target - outputs[..., 0]) / deviation
        return 0.5 * distance**2 + ops.log(deviation) + 0.5 * math.log(2 * math.pi)

    def _at(self, outputs: Floats, probabilities: Floats) -> Floats:
        deviation = width_of_array(outputs, 1)
        return np.asarray(outputs[..., 0] + deviation * special.ndtri(probabilities))

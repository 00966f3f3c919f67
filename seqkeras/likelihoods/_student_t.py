"""A Student t distribution for each timestep."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import special

from seqkeras._arrays import Floats
from seqkeras.likelihoods._likelihood import Likelihood, width, width_of_array
from seqkeras.likelihoods._special import log_gamma

#: Largest degrees of freedom. Above, the distribution is practically normal, and differences of
#: `log_gamma` lose precision in float32.
_MOST_DEGREES = 200.0


@keras.saving.register_keras_serializable(package="seqkeras")
class StudentT(Likelihood):
    """A Student t distribution, whose tails are as heavy as the data require.

    The first output is the center. `softplus` of the distance of the second output above the first
    is the scale; 2 plus `softplus` of the distance of the third above the first are the degrees of
    freedom, at most 200, with lighter tails if there are more. The loss is the negative
    log-likelihood.

    Args:
        name, reduction, dtype: as for any Keras loss.

    Example:
        >>> StudentT().quantiles([[0.0, 0.0, 0.0]], [0.5, 0.9]).round(2).tolist()
        [[0.0, 1.17]]
    """

    outputs = 3

    def __init__(self, name: str = "student_t", **options: Any) -> None:
        super().__init__(name=name, **options)

    def _loss(self, target: Any, outputs: Any) -> Any:
        scale = width(outputs, 1)
        degrees = ops.minimum(2 + width(outputs, 2), _MOST_DEGREES)
        distance = (target - outputs[..., 0]) / scale
        return (
            log_gamma(degrees / 2)
            - log_gamma((degrees + 1) / 2)
            + 0.5 * ops.log(math.pi * degrees)
            + ops.log(scale)
            + (degrees + 1) / 2 * ops.log1p(distance**2 / degrees)
        )

    def _at(self, outputs: Floats, probabilities: Floats) -> Floats:
        degrees = np.minimum(2 + width_of_array(outputs, 2), _MOST_DEGREES)
        distance = width_of_array(outputs, 1) * special.stdtrit(degrees, probabilities)
        return np.asarray(outputs[..., 0] + distance)

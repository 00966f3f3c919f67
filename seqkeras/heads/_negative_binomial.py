"""A negative binomial distribution for each timestep: counts."""

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import stats

from seqkeras.heads._head import LEAST_WIDTH, Array, Head, width, width_of_array
from seqkeras.heads._special import log_gamma

#: Of the number of successes: beyond, float32 has too few digits for differences of log_gamma.
_LEAST, _MOST = 1e-3, 1e3


@keras.saving.register_keras_serializable(package="seqkeras")
class NegativeBinomial(Head):
    """A negative binomial distribution of counts, as in DeepAR (Salinas et al. 2020).

    Outputs are in counts, not scaled. `softplus` of the first is the mean `m`; the second lies `w`
    above the first, and the variance is `m + w ** 2`: what a Poisson distribution has, and more.
    The number of successes, `m ** 2 / w ** 2`, is kept between 0.001 and 1000. The loss is the
    negative log-likelihood.

    Args:
        name, reduction, dtype: as of any loss of Keras.

    Example:
        >>> NegativeBinomial().quantiles([[10.0, 15.0]], [0.1, 0.5, 0.9]).tolist()
        [[3.0, 9.0, 18.0]]
    """

    outputs = 2

    def __init__(self, name: str = "negative_binomial", **options: Any) -> None:
        super().__init__(name=name, **options)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The negative log-likelihood of counts, `(batch, steps)`."""
        count = ops.cast(y_true, y_pred.dtype)
        mean = ops.softplus(y_pred[..., 0]) + LEAST_WIDTH
        successes = ops.clip((mean / width(y_pred, 1)) ** 2, _LEAST, _MOST)
        return (
            log_gamma(successes)
            + log_gamma(count + 1)
            - log_gamma(count + successes)
            + successes * ops.log1p(mean / successes)
            + count * ops.log1p(successes / mean)
        )

    def _quantiles(self, outputs: Array, probabilities: Array) -> Array:
        successes, chance = (one[..., np.newaxis] for one in _parameters(outputs))
        return np.asarray(stats.nbinom.ppf(probabilities, successes, chance))

    def _sample(self, outputs: Array, count: int, rng: np.random.Generator) -> Array:
        shape = (count, *outputs.shape[:-1])
        return rng.negative_binomial(*_parameters(outputs), size=shape).astype(np.float64)


def _parameters(outputs: Array) -> tuple[Array, Array]:
    """The number of successes and their probability, as NumPy and SciPy take them."""
    mean = np.logaddexp(0.0, outputs[..., 0]) + LEAST_WIDTH
    successes = np.clip((mean / width_of_array(outputs, 1)) ** 2, _LEAST, _MOST)
    return successes, successes / (successes + mean)

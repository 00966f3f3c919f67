"""A negative binomial distribution for each timestep: counts."""

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import stats

from seqkeras.likelihoods._likelihood import LEAST_WIDTH, Array, Likelihood, width, width_of_array
from seqkeras.likelihoods._special import log_gamma

#: Of the number of successes: beyond, float32 has too few digits for differences of log_gamma.
_LEAST, _MOST = 1e-3, 1e3


@keras.saving.register_keras_serializable(package="seqkeras")
class NegativeBinomial(Likelihood):
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
    counts = True

    def __init__(self, name: str = "negative_binomial", **options: Any) -> None:
        super().__init__(name=name, **options)

    def _loss(self, target: Any, outputs: Any) -> Any:
        mean = ops.softplus(outputs[..., 0]) + LEAST_WIDTH
        successes = ops.clip((mean / width(outputs, 1)) ** 2, _LEAST, _MOST)
        return (
            log_gamma(successes)
            + log_gamma(target + 1)
            - log_gamma(target + successes)
            + successes * ops.log1p(mean / successes)
            + target * ops.log1p(successes / mean)
        )

    def _at(self, outputs: Array, probabilities: Array) -> Array:
        mean = np.logaddexp(0.0, outputs[..., 0]) + LEAST_WIDTH
        successes = np.clip((mean / width_of_array(outputs, 1)) ** 2, _LEAST, _MOST)
        chance = successes / (successes + mean)
        return np.asarray(stats.nbinom.ppf(probabilities, successes, chance))

"""A negative binomial distribution of counts for each timestep."""

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import stats

from seqkeras._arrays import Floats
from seqkeras.likelihoods._likelihood import LEAST_WIDTH, Likelihood, width, width_of_array
from seqkeras.likelihoods._special import log_gamma

#: Range of the number of successes. Outside of it, differences of `log_gamma` lose precision in
#: float32.
_LEAST = 1e-3
_MOST = 1e3


@keras.saving.register_keras_serializable(package="seqkeras")
class NegativeBinomial(Likelihood):
    """A negative binomial distribution of counts, as in DeepAR (Salinas et al. 2020).

    Outputs are in counts, not scaled. The mean `m` is `softplus` of the first; `w` is `softplus` of
    the distance of the second above the first. The variance is `m + w ** 2`: that of a Poisson
    distribution plus `w ** 2`. The number of successes, `m ** 2 / w ** 2`, is clipped to the range
    from 0.001 to 1000. The loss is the negative log-likelihood.

    Args:
        name, reduction, dtype: as for any Keras loss.

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

    def _at(self, outputs: Floats, probabilities: Floats) -> Floats:
        mean = np.logaddexp(0.0, outputs[..., 0]) + LEAST_WIDTH
        successes = np.clip((mean / width_of_array(outputs, 1)) ** 2, _LEAST, _MOST)
        chance = successes / (successes + mean)
        return np.asarray(stats.nbinom.ppf(probabilities, successes, chance))

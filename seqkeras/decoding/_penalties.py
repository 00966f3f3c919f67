"""What a finished beam is ranked by besides its log-probability (Wu et al. 2016)."""

from dataclasses import dataclass
from typing import Any

from keras import ops

#: Weights of an attention that count as none, so the logarithm stays finite.
LEAST_COVERAGE = 1e-30


@dataclass(frozen=True)
class Penalties:
    """Penalties of Wu et al. 2016 (arXiv 1609.08144), section 7, as arrays of a graph.

    Attributes:
        length: exponent of the factor of a length, `(1,)`.
        coverage: weight of the source timesteps without attention, `(1,)`.
        is_source: flags `(batch, source timesteps)`, or None.
    """

    length: Any
    coverage: Any
    is_source: Any

    def score(self, totals: Any, length: Any, coverage: Any) -> Any:
        """Return the score of beams with log-probabilities `totals`, `(batch, beams)`.

        Args:
            totals: the log-probabilities.
            length: number of tokens.
            coverage: sum of the weights at each source timestep, `(batch, beams, source
                timesteps)`, or None.
        """
        scores = totals / self.factor(length)
        if coverage is None:
            return scores
        logarithms = ops.log(ops.clip(coverage, LEAST_COVERAGE, 1.0))
        is_source = ops.cast(self.is_source, "float32")[:, None]
        return scores + self.coverage * ops.sum(logarithms * is_source, axis=-1)

    def factor(self, length: Any) -> Any:
        """Return what the log-probability of a length is divided by."""
        return ((5 + ops.cast(length, "float32")) / 6) ** self.length

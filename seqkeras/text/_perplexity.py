"""Perplexity, exact over batches of unequal numbers of tokens."""

from typing import Any

import keras
from keras import ops

from seqkeras.text._token_terms import token_terms, token_weights


@keras.saving.register_keras_serializable(package="seqkeras")
class Perplexity(keras.metrics.Metric):
    """The exponential of the mean cross-entropy of all tokens.

    Loss and tokens are summed over all batches before the division, so batches with fewer tokens
    weigh less. Pass it in `weighted_metrics` of `compile`, which passes on sample weights;
    `metrics` would count padding.

    Targets are `(batch, timesteps)`, logits `(batch, timesteps, vocabulary_size)`. A token counts
    unless its sample weight is 0, or it is masked.

    Args:
        name: name of the metric, default `"perplexity"`.

    Example:
        >>> import numpy as np
        >>> metric = Perplexity()
        >>> metric.update_state(np.array([[1, 2, 0]]), np.zeros((1, 3, 50)))
        >>> round(float(metric.result()), 4)
        50.0
    """

    def __init__(self, name: str = "perplexity", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.tokens = self.add_variable(shape=(), initializer="zeros", name="tokens")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add the tokens of a batch."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        weights = token_weights(y_true, y_pred, sample_weight)
        terms = ops.where(weights > 0, token_terms(y_true, y_pred), 0.0)
        self.total.assign_add(ops.cast(ops.sum(terms * weights), self.total.dtype))
        self.tokens.assign_add(ops.cast(ops.sum(weights), self.tokens.dtype))

    def result(self) -> Any:
        """Return the perplexity of all tokens so far; NaN if there are none."""
        return ops.exp(self.total / self.tokens)

"""The cross-entropy of tokens, reduced by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from seqkeras._checks import check_fraction, check_one_of
from seqkeras.text._token_terms import token_terms, token_weights

#: How the losses of tokens become one number; see `TokenCrossEntropy`.
REDUCTIONS = ("tokens", "sum_over_time", "sequence", "padded_sequence")


@keras.saving.register_keras_serializable(package="seqkeras")
class TokenCrossEntropy(keras.losses.Loss):
    """The cross-entropy of integer targets and logits, in nats.

    Targets are `(batch, timesteps)`, logits `(batch, timesteps, vocabulary_size)`. A token counts
    unless its sample weight is 0, or it is masked; means are weighted. Rows in which no token
    counts change nothing, whatever the reduction. If a token that counts is not in the vocabulary,
    the loss is NaN, as always on JAX, or the backend raises an error.

    Args:
        reduction: how one number is computed.

            - `"tokens"`, the default: the mean over all tokens of the batch that count.
            - `"sum_over_time"`: the sum over the tokens of a row, then the mean over rows, as in
              Zaremba et al. 2014 (arXiv 1409.2329), whose largest norm of gradients is stated for
              this sum.
            - `"sequence"`: the mean over the tokens of a row, then over rows, so that each row
              counts the same.
            - `"padded_sequence"`: the sum over the tokens of a row, divided by the timesteps of the
              batch, padding included, then the mean over rows.
        label_smoothing: share of the probability that is spread evenly over all ids, default 0
            (Szegedy et al. 2016, arXiv 1512.00567).
        name: name of the loss.

    Raises:
        ArgumentError: the reduction is unknown, or the share is not from 0 to below 1.

    Example:
        >>> import numpy as np
        >>> targets, logits = np.array([[1, 2], [0, 0]]), np.zeros((2, 2, 3))
        >>> weights = np.array([[1.0, 1.0], [1.0, 0.0]])
        >>> for reduction in ("tokens", "sum_over_time", "sequence", "padded_sequence"):
        ...     loss = TokenCrossEntropy(reduction)
        ...     print(f"{float(loss(targets, logits, weights)):.4f}")
        1.0986
        1.6479
        1.0986
        0.8240
    """

    def __init__(
        self,
        reduction: str = "tokens",
        label_smoothing: float = 0.0,
        name: str = "token_cross_entropy",
        dtype: Any = None,
    ) -> None:
        # Keras checks its own `reduction`, which this class computes in another way.
        super().__init__(name=name, reduction="none", dtype=dtype)
        self.reduction = check_one_of("reduction", reduction, REDUCTIONS)
        self.label_smoothing = check_fraction("label_smoothing", label_smoothing)
        self._mean_logits: Any = None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss, a scalar."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        weights = token_weights(y_true, y_pred, sample_weight)
        terms = self.call(y_true, y_pred)
        terms = ops.where(weights > 0, terms, 0.0) * weights
        if self.reduction == "tokens":
            return _ratio(ops.sum(terms), ops.sum(weights))
        by_row = ops.sum(weights, axis=1)
        rows = ops.sum(ops.cast(by_row > 0, terms.dtype))
        sums = ops.sum(terms, axis=1)
        if self.reduction == "sequence":
            sums = _ratio(sums, by_row)
        elif self.reduction == "padded_sequence":
            sums = sums / ops.cast(ops.shape(terms)[1], terms.dtype)
        return _ratio(ops.sum(sums), rows)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each token, `(batch, timesteps)`."""
        terms = token_terms(y_true, y_pred)
        if not self.label_smoothing:
            return terms
        logits = ops.cast(y_pred, terms.dtype)
        means = self._mean_logits if self._mean_logits is not None else ops.mean(logits, axis=-1)
        even = ops.logsumexp(logits, axis=-1) - ops.cast(means, terms.dtype)
        return (1 - self.label_smoothing) * terms + self.label_smoothing * even

    @contextmanager
    def of_sample(self, mean_logits: Any) -> Iterator[None]:
        """Take logits for those of a sample of the ids until the context exits.

        Label smoothing then spreads over all ids, not over the sample.

        Args:
            mean_logits: the mean of the logits of all ids for each token, `(batch, timesteps)`.
        """
        self._mean_logits = mean_logits
        try:
            yield
        finally:
            self._mean_logits = None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        return {
            "reduction": self.reduction,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
        }


def _ratio(total: Any, weight: Any) -> Any:
    """Return `total / weight`, and 0 where nothing counts."""
    counts = weight > 0
    return ops.where(counts, total / ops.where(counts, weight, 1.0), 0.0)

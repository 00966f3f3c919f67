"""What losses and metrics of tokens share."""

from typing import Any

import keras
import numpy as np
from keras import ops

from seqkeras._checks import Description, bad_argument


def token_terms(targets: Any, logits: Any) -> Any:
    """Return the cross-entropy of each token in nats, `(batch, timesteps)`, at least float32.

    That of an id outside the vocabulary is NaN on JAX; other backends may raise an error.

    Raises:
        ArgumentError: the shapes do not fit.
    """
    expected = tuple(logits.shape[:-1])
    if len(logits.shape) != 3 or len(targets.shape) != 2:
        shapes = f"targets {tuple(targets.shape)} and logits {tuple(logits.shape)}"
        fix = "Targets are ids (batch, timesteps), logits (batch, timesteps, vocabulary_size)."
        raise bad_argument("y_true", Description(shapes), "one id for each vector of logits", fix)
    pairs = zip(targets.shape, expected, strict=True)
    if any(actual != size for actual, size in pairs if None not in (actual, size)):
        actual_shape = Description(f"shape {tuple(targets.shape)}")
        raise bad_argument("y_true", actual_shape, f"of shape {expected}, as the logits")
    logits = ops.cast(logits, _dtype(logits))
    ids = ops.cast(targets, "int32")
    terms = ops.sparse_categorical_crossentropy(ids, logits, from_logits=True)
    # On JAX, Keras counts 0 for an id that no logit belongs to.
    return ops.where((ids >= 0) & (ids < ops.shape(logits)[-1]), terms, np.nan)


class _Weights(keras.losses.Loss):
    """Gives each token a loss of 1, which Keras then multiplies by its weight and its mask."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.ones_like(y_true)


def token_weights(targets: Any, logits: Any, sample_weight: Any) -> Any:
    """Return the weight of each token, `(batch, timesteps)`: that of the sample, 0 if masked.

    Args:
        targets: `(batch, timesteps)`.
        logits: `(batch, timesteps, vocabulary_size)`, perhaps with the mask of a model.
        sample_weight: `(batch, timesteps)`, `(batch,)`, `(batch, 1)`, or None.
    """
    weights = _Weights("token_weights", "none", dtype=_dtype(logits))
    return weights(targets, logits, sample_weight)


def _dtype(logits: Any) -> str:
    dtype = keras.backend.standardize_dtype(logits.dtype)
    return "float64" if dtype == "float64" else "float32"

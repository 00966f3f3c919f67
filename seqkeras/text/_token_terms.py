"""What losses and metrics of tokens share."""

from typing import Any

import keras
from keras import ops

from seqkeras._checks import Description, bad_argument


def token_terms(targets: Any, logits: Any) -> Any:
    """Return the cross-entropy of each token in nats, `(batch, timesteps)`, at least float32.

    Raises:
        ArgumentError: the shapes do not fit.
    """
    expected = tuple(logits.shape[:-1])
    if len(logits.shape) != 3 or len(targets.shape) != 2:
        shapes = f"targets {tuple(targets.shape)} and logits {tuple(logits.shape)}"
        fix = "Targets are ids (batch, timesteps), logits (batch, timesteps, vocabulary_size)."
        raise bad_argument("y_true", Description(shapes), "one id for each vector of logits", fix)
    if any(None not in pair and pair[0] != pair[1] for pair in zip(targets.shape, expected)):
        actual = Description(f"shape {tuple(targets.shape)}")
        raise bad_argument("y_true", actual, f"of shape {expected}, as the logits")
    dtype = keras.backend.standardize_dtype(logits.dtype)
    logits = ops.cast(logits, "float64" if dtype == "float64" else "float32")
    return ops.sparse_categorical_crossentropy(ops.cast(targets, "int32"), logits, from_logits=True)


def token_weights(targets: Any, logits: Any, sample_weight: Any) -> Any:
    """Return the weight of each token, `(batch, timesteps)`: that of the sample, 0 if masked.

    Args:
        targets: `(batch, timesteps)`.
        logits: `(batch, timesteps, vocabulary_size)`, perhaps with the mask of a model.
        sample_weight: `(batch, timesteps)`, `(batch,)`, `(batch, 1)`, or None.
    """
    dtype = keras.backend.standardize_dtype(logits.dtype)
    dtype = "float64" if dtype == "float64" else "float32"
    weights = ops.ones(ops.shape(targets), dtype)
    if sample_weight is not None:
        given = ops.cast(ops.convert_to_tensor(sample_weight), dtype)
        weights = weights * (ops.expand_dims(given, 1) if len(given.shape) == 1 else given)
    mask = getattr(logits, "_keras_mask", None)
    return weights if mask is None else weights * ops.cast(mask, dtype)

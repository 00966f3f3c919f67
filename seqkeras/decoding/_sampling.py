"""How a token is drawn from logits."""

import math
import numbers
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from seqkeras._checks import bad_argument, check_integer, check_not_negative

#: Below 1 by more than float32 rounds, so no draw falls beyond the last weight above 0.
LARGEST_SHARE = 1 - 2.0**-20


@dataclass(frozen=True)
class Sampling:
    """A way to draw tokens, compiled into a loop; temperature and `top_p` are passed to each call.

    Attributes:
        is_greedy: take the likeliest token.
        top_k: draw among this many likeliest tokens; None for all.
        has_top_p: draw among the fewest tokens that together have a probability of `top_p`.
    """

    is_greedy: bool
    top_k: int | None
    has_top_p: bool

    def __call__(self, logits: Any, temperature: Any, top_p: Any, generator: Any) -> Any:
        """Return ids `(batch,)` from logits `(batch, vocabulary_size)`, -inf for forbidden ids."""
        if self.is_greedy:
            return ops.cast(ops.argmax(logits, axis=-1), "int32")
        if self.top_k is None and not self.has_top_p:
            scaled = (logits - ops.max(logits, axis=-1, keepdims=True)) / temperature
            return _categorical(scaled, generator)
        logits, ids = ops.top_k(logits, self.top_k or logits.shape[-1])
        # From the likeliest token, at 0, downwards: so no temperature makes a float overflow.
        logits = (logits - logits[:, :1]) / temperature
        if self.has_top_p:
            probabilities = ops.softmax(logits, axis=-1)
            before = ops.cumsum(probabilities, axis=-1) - probabilities
            logits = ops.where(before < top_p, logits, -math.inf)
        place = _categorical(logits, generator)
        return ops.cast(ops.take_along_axis(ids, place[:, None], axis=-1)[:, 0], "int32")


def _categorical(logits: Any, generator: Any) -> Any:
    """Draw from logits whose largest is 0: first a block of ids, and then an id within it."""
    # `keras.random.categorical` draws a random number for each logit, which is slow on JAX; sums
    # along the whole vocabulary are slow on TensorFlow.
    size = logits.shape[-1]
    width = math.isqrt(size - 1) + 1
    weights = ops.exp(ops.pad(logits, [[0, 0], [0, -size % width]], constant_values=-math.inf))
    weights = ops.reshape(weights, (-1, weights.shape[-1] // width, width))
    shares = keras.random.uniform((ops.shape(logits)[0], 2), maxval=LARGEST_SHARE, seed=generator)
    block = _place(ops.sum(weights, axis=-1), shares[:, :1])
    within = ops.take_along_axis(weights, block[:, None, None], axis=1)[:, 0]
    return block * width + _place(within, shares[:, 1:])


def _place(weights: Any, share: Any) -> Any:
    """Return the first place up to which the weights sum to more than a share of all."""
    sums = ops.cumsum(weights, axis=-1)
    return ops.cast(ops.argmax(ops.cast(sums > share * sums[:, -1:], "int32"), axis=-1), "int32")


def check_temperature(value: Any) -> float:
    """Return `value` as a finite float of at least 0."""
    fix = "0 takes the likeliest token, 1 draws from the probabilities of the model."
    return check_not_negative("temperature", value, fix=fix)


def check_top_k(value: Any, vocabulary_size: int) -> int | None:
    """Return `value` as an int, or None if it excludes no token."""
    if value is None:
        return None
    value = check_integer("top_k", value)
    if value > vocabulary_size:
        expected = f"at most {vocabulary_size}, the size of the vocabulary"
        raise bad_argument("top_k", value, expected)
    return value if value < vocabulary_size else None


def check_top_p(value: Any) -> float | None:
    """Return `value` as a float in (0, 1), or None if it excludes no token."""
    if value is None:
        return None
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not 0 < float(value) <= 1:
        raise bad_argument("top_p", value, "a number above 0 and up to 1")
    return float(value) if float(value) < 1 else None

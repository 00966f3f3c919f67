"""The attention of a decoder, in NumPy; its formulas are those of `layers.MemoryAttention`.

The number of timesteps of the memory is that of the arrays at each run. Weights have an axis of
heads, each of which reads its own part of the features.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import check_one_of

#: Added to the scores of masked timesteps; their weights become exactly 0.
MASKED = np.float32(-1e9)

MECHANISMS = ("additive", "dot", "general", "location")


def attention_weights(
    options: Mapping[str, Any], weights: Mapping[str, Array], shapes: Sequence[tuple[int, ...]]
) -> tuple[Callable[..., Array], tuple[int, ...]]:
    """Compute the weights of the timesteps for a query: query, keys, mask to (heads, timesteps)."""
    (width,), (timesteps, features), mask = shapes
    heads = int(options["heads"])
    mechanism = check_one_of("mechanism", options["mechanism"], MECHANISMS)
    kernel = weights.get("query_kernel")
    fits = heads > 0 and features % heads == 0 and mask == (timesteps,)
    if mechanism in ("dot", "general"):
        fits = fits and width == features
        scores = _product_scores
    elif mechanism == "additive":
        vector = weights["score_vector"]
        fits = fits and kernel is not None and kernel.shape == (width, features)
        fits = fits and vector.shape == (heads, features // heads)
        scores = _additive_scores
    else:
        fits = fits and kernel is not None and kernel.ndim == 2 and kernel.shape[0] == width
        fits = fits and kernel is not None and kernel.shape[1] % heads == 0
        scores = _location_scores
    if not fits:
        raise ValueError(f"an attention of {heads} heads cannot read {list(shapes)}")

    def run(query: Array, keys: Array, mask: Array) -> Array:
        # The softmax is in float32, as in the layer.
        values = scores(query, keys, weights, heads).astype(np.float32, copy=False)
        values = values + ((np.float32(1) - mask.astype(np.float32)) * MASKED)[:, np.newaxis]
        values = np.exp(values - values.max(axis=-1, keepdims=True))
        values /= values.sum(axis=-1, keepdims=True)
        return values.astype(query.dtype, copy=False) * mask[:, np.newaxis]

    return run, (heads, timesteps)


def attention_context(
    options: Mapping[str, Any], weights: Mapping[str, Array], shapes: Sequence[tuple[int, ...]]
) -> tuple[Callable[..., Array], tuple[int, ...]]:
    """Compute the mean of a memory by weights (heads, timesteps), one for each head's features."""
    (heads, timesteps), memory = shapes
    if memory[:-1] != (timesteps,) or memory[-1] % heads:
        raise ValueError(f"weights of {heads} heads cannot read a memory of shape {memory}")

    def run(weights: Array, memory: Array) -> Array:
        means = np.matmul(weights[:, :, np.newaxis], _split(memory, heads))
        return means.reshape(len(memory), memory.shape[-1])

    return run, (memory[-1],)


def attention_mean(
    options: Mapping[str, Any], weights: Mapping[str, Array], shapes: Sequence[tuple[int, ...]]
) -> tuple[Callable[..., Array], tuple[int, ...]]:
    """Compute the mean of weights (heads, timesteps) over the heads."""
    ((_, timesteps),) = shapes
    return lambda weights: weights.mean(axis=1), (timesteps,)


def _split(x: Array, heads: int) -> Array:
    """Divide (batch, timesteps, width) among the heads, which become axis 1."""
    rows, timesteps, width = x.shape
    return x.reshape(rows, timesteps, heads, width // heads).swapaxes(1, 2)


def _product_scores(query: Array, keys: Array, weights: Mapping[str, Array], heads: int) -> Array:
    parts = query.reshape(len(query), heads, -1, 1)
    return np.matmul(_split(keys, heads), parts)[..., 0]


def _additive_scores(query: Array, keys: Array, weights: Mapping[str, Array], heads: int) -> Array:
    parts = query.dot(weights["query_kernel"]).reshape(len(query), heads, 1, -1)
    hidden = np.tanh(parts + _split(keys, heads))
    return np.matmul(hidden, weights["score_vector"][..., np.newaxis])[..., 0]


def _location_scores(query: Array, keys: Array, weights: Mapping[str, Array], heads: int) -> Array:
    scores = query.dot(weights["query_kernel"]).reshape(len(query), heads, -1)
    missing = max(keys.shape[1] - scores.shape[-1], 0)
    scores = np.pad(scores, [(0, 0), (0, 0), (0, missing)], constant_values=MASKED)
    return scores[..., : keys.shape[1]]

"""Write the attention of a decoder as ONNX; the memory has any number of timesteps.

The formulas are those of `runtime._attention_layers`.
"""

from typing import Any

import numpy as np

from seqkeras.export.onnx._writer import Writer, ints
from seqkeras.runtime._attention_layers import MASKED


def attention_weights(g: Writer, op: Any, query: str, keys: str, mask: str) -> str:
    """Write the weights of the timesteps of a memory for a query, `(batch, heads, timesteps)`."""
    heads = int(op.options["heads"])
    mechanism = op.options["mechanism"]
    if mechanism == "location":
        scores = _location_scores(g, op, query, keys, heads)
    elif mechanism == "additive":
        query = g.op("MatMul", query, op.weights["query_kernel"])
        query = g.op("Reshape", query, ints(0, heads, 1, -1))
        hidden = g.op("Tanh", g.op("Add", query, _split(g, keys, heads)))
        vector = op.weights["score_vector"][..., np.newaxis]
        scores = g.op("Squeeze", g.op("MatMul", hidden, vector), ints(-1))
    else:
        query = g.op("Reshape", query, ints(0, heads, -1, 1))
        scores = g.op("Squeeze", g.op("MatMul", _split(g, keys, heads), query), ints(-1))
    mask = g.op("Unsqueeze", mask, ints(1))
    missing = g.op("Sub", np.ones(1, np.float32), g.cast(mask, np.float32))
    scores = g.op("Add", g.cast(scores, np.float32), g.op("Mul", missing, float(MASKED)))
    weights = g.cast(g.op("Softmax", scores, axis=-1), g.dtype)
    return g.op("Mul", weights, g.cast(mask, g.dtype))


def attention_context(g: Writer, op: Any, weights: str, memory: str) -> str:
    """Write the mean of a memory by the weights of each head."""
    heads, width = op.shapes[0][0], op.shape[-1]
    rows = g.op("Unsqueeze", weights, ints(2))
    return g.op("Reshape", g.op("MatMul", rows, _split(g, memory, heads)), ints(0, width))


def attention_mean(g: Writer, op: Any, weights: str) -> str:
    """Write the mean of weights over the heads."""
    return g.op("ReduceMean", weights, axes=[1], keepdims=0)


def _split(g: Writer, x: str, heads: int) -> str:
    """Divide (batch, timesteps, width) among the heads, which become axis 1."""
    if heads == 1:
        return g.op("Unsqueeze", x, ints(1))
    parts = g.op("Reshape", x, ints(0, 0, heads, -1))
    return g.op("Transpose", parts, perm=[0, 2, 1, 3])


def _location_scores(g: Writer, op: Any, query: str, keys: str, heads: int) -> str:
    scores = g.op("MatMul", query, op.weights["query_kernel"])
    scores = g.op("Reshape", scores, ints(0, heads, -1))
    shape = g.op("Shape", keys)
    rows = g.op("Slice", shape, ints(0), ints(1))
    length = g.op("Slice", shape, ints(1), ints(2))
    padding = g.op("Concat", rows, ints(heads), length, axis=0)
    masked = g.op("Expand", np.full(1, MASKED, g.dtype), padding)
    return g.op("Slice", g.op("Concat", scores, masked, axis=2), ints(0), length, ints(2))

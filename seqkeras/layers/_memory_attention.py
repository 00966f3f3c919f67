"""Attention of queries to a memory of many timesteps."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from seqkeras._checks import (
    Description,
    bad_argument,
    check_fraction,
    check_integer,
    check_one_of,
)

MECHANISMS = ("additive", "dot", "general", "location")

#: Added to the scores of masked timesteps; their weights become exactly 0.
_MASKED = -1e9


@keras.saving.register_keras_serializable(package="seqkeras")
class MemoryAttention(keras.layers.Layer):
    """A layer that reads a memory as a mean of its timesteps, weighted for each query.

    Called as `layer(query, memory, mask)` with queries `(batch, query_width)` or `(batch,
    timesteps, query_width)`, a memory `(batch, memory_timesteps, memory_width)` and its mask
    `(batch, memory_timesteps)`, or None. It returns the contexts, as many as queries and as wide as
    the memory, and the weights, which end in `memory_timesteps`. Masked timesteps have the weight
    0; in a row in which all are masked all weights and the context are 0.

    With several heads, each has its own weights and reads its own part of the features; the
    returned weights are their means.

    Args:
        mechanism: how a query q and a timestep m of the memory give a score:

            - `"additive"` (default): v · tanh(W q + U m) (Bahdanau et al. 2015, arXiv 1409.0473);
            - `"dot"`: q · m, for equal widths;
            - `"general"`: q · W m;
            - `"location"`: row of W q at the position of m, without reading m (the last three are
              from Luong et al. 2015, arXiv 1508.04025).
        units: width of v, only for `"additive"`. Default: that of the queries.
        heads: number of heads, default 1. They divide the widths of the memory and of the keys.
        dropout: share of the weights that training drops, the same timesteps for all queries of a
            row. Default: 0.
        positions: number of timesteps of the longest memory, only and always for `"location"`.
            Timesteps after it have the weight 0.

    Raises:
        ArgumentError: an argument cannot work, or does not fit the widths.

    Example:
        >>> import numpy as np
        >>> attention = MemoryAttention("general")
        >>> query, memory = np.ones((2, 4), "float32"), np.ones((2, 5, 6), "float32")
        >>> context, weights = attention(query, memory)
        >>> context.shape == (2, 6), weights.shape == (2, 5)
        (True, True)
    """

    def __init__(
        self,
        mechanism: str = "additive",
        *,
        units: int | None = None,
        heads: int = 1,
        dropout: float = 0.0,
        positions: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.mechanism = check_one_of("mechanism", mechanism, MECHANISMS)
        self.units = check_integer("units", units) if units is not None else None
        self.heads = check_integer("heads", heads)
        self.dropout = check_fraction("dropout", dropout)
        self.positions = check_integer("positions", positions) if positions is not None else None
        for name, owner in (("units", "additive"), ("positions", "location")):
            if getattr(self, name) is not None and mechanism != owner:
                expected = f"omitted where mechanism={mechanism!r}"
                raise bad_argument(name, getattr(self, name), expected)
        if mechanism == "location" and positions is None:
            fix = "Give the number of timesteps of the longest memory."
            raise bad_argument("positions", None, "an integer where mechanism='location'", fix)
        self._draws = keras.random.SeedGenerator() if self.dropout else None

    def build(self, query_shape: Any, memory_shape: Any, mask_shape: Any = None) -> None:
        """Create the weights of the scores."""
        query_width, memory_width = query_shape[-1], memory_shape[-1]
        key_width = self._key_width(query_width, memory_width)
        for name, width in (("memory", memory_width), ("keys", key_width)):
            if width % self.heads:
                actual = Description(f"{self.heads} heads for {name} of width {width}")
                raise bad_argument("heads", actual, "a divisor of the width")
        self.query_kernel = self.key_kernel = self.score_vector = None
        if self.mechanism == "additive":
            self.query_kernel = self._kernel("query_kernel", query_width, key_width)
            self.score_vector = self._kernel("score_vector", self.heads, key_width // self.heads)
        elif self.mechanism == "location":
            columns = self.heads * (self.positions or 0)
            self.query_kernel = self._kernel("query_kernel", query_width, columns)
        if self.mechanism in ("additive", "general"):
            self.key_kernel = self._kernel("key_kernel", memory_width, key_width)

    def _key_width(self, query_width: int, memory_width: int) -> int:
        if self.mechanism == "dot" and query_width != memory_width:
            actual = Description(f"queries of width {query_width}, a memory of {memory_width}")
            fix = "mechanism='general' maps one width to the other."
            raise bad_argument("mechanism", actual, "'dot' only for equal widths", fix)
        return self.units or (memory_width if self.mechanism == "location" else query_width)

    def _kernel(self, name: str, rows: int, columns: int) -> Any:
        return self.add_weight(shape=(rows, columns), initializer="glorot_uniform", name=name)

    def prepare(self, memory: Any, mask: Any = None, training: bool | None = False) -> list[Any]:
        """Compute what all queries read: once for a memory, before a loop over time.

        Returns:
            The memory, its mask as 0 and 1, the factors of the weights, and the keys if the
            mechanism has its own. The batch is the first axis of each.
        """
        memory = ops.cast(memory, self.compute_dtype)
        counts = ops.ones_like(memory[:, :, 0]) if mask is None else mask
        counts = factors = ops.cast(counts, self.compute_dtype)
        if training and self._draws is not None:
            factors = keras.random.dropout(factors, self.dropout, seed=self._draws)
        if self.key_kernel is None:
            return [memory, counts, factors]
        return [memory, counts, factors, ops.matmul(memory, self.key_kernel)]

    def attend(self, query: Any, prepared: Sequence[Any]) -> tuple[Any, Any]:
        """Return the contexts and the weights of queries for a prepared memory."""
        if len(query.shape) == 2:
            context, weights = self.attend(ops.expand_dims(query, 1), prepared)
            return context[:, 0], weights[:, 0]
        memory, counts, factors, *keys = prepared
        scores = self._scores(query, memory, *keys)
        # Softmax in float32: half precision has no room for the terms of masked timesteps.
        terms = (1.0 - ops.cast(counts, "float32")) * _MASKED
        scores = ops.cast(scores, "float32") + terms[:, None, None]
        # (ops.softmax warns about a memory of one timestep.)
        weights = ops.exp(scores - ops.logsumexp(scores, axis=-1, keepdims=True))
        weights = ops.cast(weights, self.compute_dtype) * factors[:, None, None]
        context = ops.matmul(weights, self._split(memory))
        if self.heads == 1:
            return context[:, 0], weights[:, 0]
        context = ops.transpose(context, (0, 2, 1, 3))
        context = ops.reshape(context, (*ops.shape(query)[:2], memory.shape[-1]))
        return context, ops.mean(weights, axis=1)

    def _scores(self, query: Any, memory: Any, keys: Any = None) -> Any:
        """Return the scores `(batch, heads, timesteps, memory_timesteps)`."""
        if self.mechanism == "location":
            scores = self._split(ops.matmul(query, self.query_kernel))
            length = ops.shape(memory)[1]
            # As many as there are timesteps: their number minus that of positions may be negative.
            pad = [[0, 0], [0, 0], [0, 0], [0, length]]
            return ops.pad(scores, pad, constant_values=_MASKED)[..., :length]
        keys = self._split(keys if keys is not None else memory)
        if self.mechanism != "additive":
            return ops.matmul(self._split(query), ops.transpose(keys, (0, 1, 3, 2)))
        query = self._split(ops.matmul(query, self.query_kernel))
        hidden = ops.tanh(ops.expand_dims(query, 3) + ops.expand_dims(keys, 2))
        vector = ops.convert_to_tensor(self.score_vector)[:, None, None]
        return ops.sum(hidden * vector, axis=-1)

    def _split(self, x: Any) -> Any:
        """Divide `(batch, timesteps, width)` among the heads, which become axis 1."""
        if self.heads == 1:
            return ops.expand_dims(x, 1)
        parts = ops.reshape(x, (*ops.shape(x)[:2], self.heads, x.shape[-1] // self.heads))
        return ops.transpose(parts, (0, 2, 1, 3))

    def call(self, query: Any, memory: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Return the contexts and the weights of the queries."""
        return self.attend(query, self.prepare(memory, mask, training))

    def compute_output_shape(
        self, query_shape: Any, memory_shape: Any, mask_shape: Any = None
    ) -> Any:
        """Return the shapes of the contexts and of the weights."""
        leading = tuple(query_shape[:-1])
        return (*leading, memory_shape[-1]), (*leading, memory_shape[1])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate it."""
        names = ("mechanism", "units", "heads", "dropout", "positions")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

"""Any mask, for a kernel that knows sequences of different lengths and nothing else.

The timesteps that count move to the front, in their order; the kernel runs over the lengths; what
it gives moves back. Nothing is computed twice, and the numbers are those of the loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops


class Sequences(NamedTuple):
    """What a kernel gives: `y (batch, timesteps, units)` and states `(batch, units)`."""

    y: Any
    states: list[Any]


def run_masked(
    run: Callable[[Any, Any], Sequences], x: Any, state: list[Any], mask: Any, shown: Any
) -> Sequences:
    """Runs a kernel over `x` with a mask of any pattern, rows without a timestep included.

    Args:
        run: `run(x, lengths)`; it reads `lengths[i]` timesteps of row `i`, one at least. What it
            gives beyond a length is not looked at.
        x: `(batch, timesteps, features)`.
        state: the initial state, `(batch, units)` each.
        mask: `(batch, timesteps)`, bool.
        shown: what `y` holds at masked timesteps: `zero`, or the output before with, before the
            first, zeros (`hold_output`) or the initial state (`hold_state`).
    """
    timesteps = ops.shape(x)[1]
    counted = ops.cast(mask, "int32")
    # Keys that are all different: no backend's sort has to be stable.
    keys = (1 - counted) * timesteps + ops.arange(timesteps, dtype="int32")
    order = ops.argsort(keys, axis=1)
    lengths = ops.sum(counted, axis=1)
    found = run(_rows(x, order), ops.maximum(lengths, 1))
    empty = ops.expand_dims(lengths == 0, 1)
    states = [ops.where(empty, old, new) for old, new in zip(state, found.states, strict=True)]
    position = ops.cumsum(counted, axis=1) - 1
    y = _rows(found.y, ops.maximum(position, 0))
    before = ops.expand_dims(state[0], 1) if shown == "hold_state" else ops.zeros_like(y)
    y = ops.where(ops.expand_dims(position >= 0, -1), y, before)
    if shown == "zero":
        y = ops.where(ops.expand_dims(mask, -1), y, ops.zeros_like(y))
    return Sequences(y, states)


def _rows(x: Any, order: Any) -> Any:
    """The timesteps `order[i]` of each row `i`."""
    return ops.take_along_axis(x, ops.expand_dims(order, -1), axis=1)

"""Support for any mask, on a kernel that only supports sequences of different lengths.

The valid timesteps of each row move to the front, in order; the kernel runs over that many; and its
outputs move back. No timestep is computed twice, and the results equal those of the loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops


class Sequences(NamedTuple):
    """Outputs of a kernel: `y`, `(batch, timesteps, units)`, and the states, `(batch, units)`."""

    y: Any
    states: list[Any]


def run_masked(
    run: Callable[[Any, Any], Sequences], x: Any, state: list[Any], mask: Any, zero_output: bool
) -> Sequences:
    """Run a kernel over `x` with a mask of any pattern, even with fully masked rows.

    Args:
        run: `run(x, lengths)`; it reads `lengths[i]` timesteps of row `i`, at least one. Its
            outputs after that length are ignored.
        x: `(batch, timesteps, features)`.
        state: the initial state, `(batch, units)` each.
        mask: `(batch, timesteps)`, bool.
        zero_output: whether `y` is zero at masked timesteps. Otherwise it is the previous output,
            or the initial state before the first valid timestep.
    """
    timesteps = ops.shape(x)[1]
    counted = ops.cast(mask, "int32")
    # All keys differ, so the order is the same even if the backend's sort is not stable.
    keys = (1 - counted) * timesteps + ops.arange(timesteps, dtype="int32")
    order = ops.argsort(keys, axis=1)
    lengths = ops.sum(counted, axis=1)
    compact = run(_take_timesteps(x, order), ops.maximum(lengths, 1))
    empty = ops.expand_dims(lengths == 0, 1)
    states = [ops.where(empty, old, new) for old, new in zip(state, compact.states, strict=True)]
    position = ops.cumsum(counted, axis=1) - 1
    y = _take_timesteps(compact.y, ops.maximum(position, 0))
    y = ops.where(ops.expand_dims(position >= 0, -1), y, ops.expand_dims(state[0], 1))
    if zero_output:
        y = ops.where(ops.expand_dims(mask, -1), y, ops.zeros_like(y))
    return Sequences(y, states)


def _take_timesteps(x: Any, order: Any) -> Any:
    """Return the timesteps `order[i]` of each row `i`."""
    return ops.take_along_axis(x, ops.expand_dims(order, -1), axis=1)

"""The reference kernel: a loop that runs the cell in `keras.ops`, one timestep at a time.

It runs every cell on every backend, and all other kernels are tested against it.
"""

import math
from typing import Any

import keras
from keras import ops

from seqkeras.kernels._call import Call, Result
from seqkeras.kernels._clearing import ClearingCell, MaskedClearingCell, where_rows
from seqkeras.kernels._draws import zoneout_masks
from seqkeras.kernels._layer_spec import Spec, shows_state
from seqkeras.kernels._runtime import Runtime


def why_not(spec: Spec, runtime: Runtime) -> str | None:
    """Return None: the loop runs every layer."""
    return None


def run(call: Call) -> Result:
    """Run a layer in Keras' loop; reset and zoneout flags travel as extra columns of its input."""
    if call.has_flags or call.constants is not None or _jax_loop_misreads_mask(call):
        return _run_with_flags(call)
    # Not `call.layer.inner_loop`, which seqkeras' layers override to call `kernels.run`.
    result: Result = keras.layers.RNN.inner_loop(
        call.layer, call.sequences, call.state, mask=call.mask, training=call.training
    )
    holds = call.mask is not None and not call.layer.zero_output_for_mask
    return _hold(call, result) if holds and call.held is not None else result


def _jax_loop_misreads_mask(call: Call) -> bool:
    """Return whether Keras' loop on JAX would return wrong values at masked timesteps.

    There it returns the first state of the cell, even if that is not the previous output, and it
    broadcasts the mask of a timestep over the wrong axes of an image.
    """
    if call.mask is None or call.runtime.backend != "jax":
        return False
    return len(call.sequences.shape) > 3 or not shows_state(call.layer)


def _hold(call: Call, result: Result) -> Result:
    """Return `call.held` before the first valid timestep, where Keras' loop returns zeros."""
    last, y, state = result
    mask = ops.flip(call.mask, axis=1) if call.layer.go_backwards else call.mask
    counts = ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0
    held = ops.cast(call.held, last.dtype)
    last = where_rows(counts[:, -1], last, held)
    if not call.layer.return_sequences:
        return last, ops.expand_dims(last, 1), state
    counts = ops.reshape(counts, (*ops.shape(counts), *[1] * (len(y.shape) - 2)))
    return last, ops.where(counts, y, ops.expand_dims(held, 1)), state


def _run_with_flags(call: Call) -> Result:
    """Run a layer through a clearing cell; `_clearing.py` explains the columns of its input."""
    layer = call.layer
    batch_size, timesteps = ops.shape(call.sequences)[:2]
    feature_shape = call.sequences.shape[2:]
    initial_state = layer.get_initial_state(batch_size)
    zoneout = zoneout_masks(layer.cell, call.sequences, call.training) or []
    features = ops.reshape(call.sequences, (batch_size, timesteps, math.prod(feature_shape)))
    columns = [features, *zoneout]
    options: dict[str, Any] = {"masks": len(zoneout), "constants": call.constants}
    state = call.state
    if call.mask is None:
        cell = ClearingCell(layer.cell, initial_state, call.training, feature_shape, **options)
    else:
        cell = MaskedClearingCell(
            layer.cell,
            initial_state,
            call.training,
            feature_shape,
            zero_output=layer.zero_output_for_mask,
            **options,
        )
        columns.append(ops.expand_dims(call.mask, -1))
        # A MaskedClearingCell also carries its previous output, as its last state.
        first = call.held if call.held is not None else cell.initial_state[-1]
        state = [*state, ops.cast(first, layer.compute_dtype)]
    if call.reset is None:
        columns.append(ops.zeros((batch_size, timesteps, 1)))
    else:
        columns.append(ops.expand_dims(call.reset, -1))
    loop = keras.layers.RNN(
        cell,
        return_sequences=layer.return_sequences,
        return_state=True,
        go_backwards=layer.go_backwards,
        unroll=layer.unroll,
        dtype=layer.dtype_policy,
        name=layer.name,  # an automatic name would advance Keras' counter of layer names
    )
    joined = ops.concatenate([ops.cast(column, layer.compute_dtype) for column in columns], axis=-1)
    y, *state = loop(joined, initial_state=state)
    if call.mask is not None:
        state = state[:-1]  # without the previous output
    if layer.return_sequences:
        return y[:, -1], y, state
    return y, y[:, None], state

"""The reference kernel: one timestep of the cell after the other, in `keras.ops`.

It runs every cell on every backend, and all other kernels are tested against it.
"""

import math

import keras
from keras import ops

from seqkeras.kernels._call import Call, Result
from seqkeras.kernels._clearing import ClearingCell, MaskedClearingCell
from seqkeras.kernels._draws import zoneout_masks
from seqkeras.kernels._layer_spec import Spec
from seqkeras.kernels._runtime import Runtime


def why_not(spec: Spec, runtime: Runtime) -> str | None:
    """Return None: the loop runs every layer."""
    return None


def run(call: Call) -> Result:
    """Run a layer in Keras' own loop, or in one that reads flags before each step."""
    if call.has_flags:
        return _run_with_flags(call)
    result: Result = keras.layers.RNN.inner_loop(
        call.layer, call.sequences, call.state, mask=call.mask, training=call.training
    )
    return result


def _run_with_flags(call: Call) -> Result:
    """Run a layer in Keras' loop, with flags as further columns of its features.

    `_clearing.py` explains the columns.
    """
    layer = call.layer
    rows, timesteps = ops.shape(call.sequences)[:2]
    shape = call.sequences.shape[2:]
    fresh = layer.get_initial_state(rows)
    zoneout = zoneout_masks(layer.cell, call.sequences, call.training) or []
    columns = [ops.reshape(call.sequences, (rows, timesteps, math.prod(shape))), *zoneout]
    state = call.state
    if call.mask is None:
        cell = ClearingCell(layer.cell, fresh, call.training, shape, masks=len(zoneout))
    else:
        cell = MaskedClearingCell(
            layer.cell,
            fresh,
            call.training,
            shape,
            masks=len(zoneout),
            zero_output=layer.zero_output_for_mask,
        )
        columns.append(ops.expand_dims(call.mask, -1))
        state = [*state, cell.fresh[-1]]
    if call.reset is None:
        columns.append(ops.zeros((rows, timesteps, 1)))
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
        state = state[:-1]
    return (y[:, -1], y, state) if layer.return_sequences else (y, y[:, None], state)

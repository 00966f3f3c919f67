"""The reference kernel: a loop that runs the cell in `keras.ops`, one timestep at a time.

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
    """Run a layer in Keras' loop; reset and zoneout flags travel as extra columns of its input."""
    if call.has_flags:
        return _run_with_flags(call)
    # Not `call.layer.inner_loop`, which a layer of seqkeras overrides to call `kernels.run`.
    result: Result = keras.layers.RNN.inner_loop(
        call.layer, call.sequences, call.state, mask=call.mask, training=call.training
    )
    return result


def _run_with_flags(call: Call) -> Result:
    """Run a layer with flags; `_clearing.py` explains the columns of the input."""
    layer = call.layer
    batch_size, timesteps = ops.shape(call.sequences)[:2]
    feature_shape = call.sequences.shape[2:]
    initial_state = layer.get_initial_state(batch_size)
    zoneout = zoneout_masks(layer.cell, call.sequences, call.training) or []
    features = ops.reshape(call.sequences, (batch_size, timesteps, math.prod(feature_shape)))
    columns = [features, *zoneout]
    state = call.state
    if call.mask is None:
        cell = ClearingCell(
            layer.cell, initial_state, call.training, feature_shape, masks=len(zoneout)
        )
    else:
        cell = MaskedClearingCell(
            layer.cell,
            initial_state,
            call.training,
            feature_shape,
            masks=len(zoneout),
            zero_output=layer.zero_output_for_mask,
        )
        columns.append(ops.expand_dims(call.mask, -1))
        # A MaskedClearingCell also carries its previous output, as its last state.
        state = [*state, cell.initial_state[-1]]
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

"""The reference: one timestep of the cell after the other, in `keras.ops`.

Runs every cell on every backend. What the other kernels compute is tested against it.
"""

import math
from typing import Any

import keras
from keras import ops

from seqkeras.kernels._call import Call, Result
from seqkeras.kernels._clearing import ClearingCell, MaskedClearingCell
from seqkeras.kernels._layer_spec import Spec
from seqkeras.kernels._runtime import Runtime
from seqkeras.kernels._zoneout import draw


def why_not(spec: Spec, runtime: Runtime) -> str | None:
    """None: it always can."""
    return None


def run(call: Call) -> Result:
    """Runs a layer, on Keras' own loop, or on one that looks at flags before each step."""
    kept = draw(call.layer.cell, call.sequences, call.training)
    if call.reset is None and kept is None:
        result: Result = keras.layers.RNN.inner_loop(
            call.layer, call.sequences, call.state, mask=call.mask, training=call.training
        )
        return result
    return _run_with_flags(call, kept or [])


def _run_with_flags(call: Call, kept: list[Any]) -> Result:
    layer, sequences, state, mask, training, reset, _ = call
    rows, timesteps = ops.shape(sequences)[:2]
    dtype = layer.compute_dtype
    shape, fresh = sequences.shape[2:], layer.get_initial_state(rows)
    joined = [ops.reshape(sequences, (rows, timesteps, math.prod(shape))), *kept]
    cell = ClearingCell(layer.cell, fresh, training, shape, kept=len(kept))
    if mask is not None:
        # Not in Keras, which takes back all of a masked timestep, the clearing too.
        zero = layer.zero_output_for_mask
        cell = MaskedClearingCell(
            layer.cell, fresh, training, shape, kept=len(kept), zero_output=zero
        )
        joined.append(ops.expand_dims(mask, -1))
        state = [*state, cell.fresh[-1]]
    joined.append(ops.zeros((rows, timesteps, 1)) if reset is None else ops.expand_dims(reset, -1))
    loop = keras.layers.RNN(
        cell,
        return_sequences=layer.return_sequences,
        return_state=True,
        go_backwards=layer.go_backwards,
        unroll=layer.unroll,
        dtype=layer.dtype_policy,
        name=layer.name,  # a name of its own would count among those of other layers
    )
    together = ops.concatenate([ops.cast(one, dtype) for one in joined], axis=-1)
    y, *state = loop(together, initial_state=state)
    state = state if mask is None else state[:-1]
    return (y[:, -1], y, state) if layer.return_sequences else (y, y[:, None], state)

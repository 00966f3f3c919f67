"""Random draws of a layer: dropout masks and zoneout masks, drawn once for a whole sequence."""

from typing import Any

import keras
from keras import ops

from seqkeras.kernels._layer_spec import state_sizes


def drop_inputs(cell: Any, sequences: Any, training: bool) -> tuple[Any, Any]:
    """Apply a cell's input dropout; return the sequences and the kernel to multiply them with."""
    factors = cell.get_dropout_mask(sequences[:, 0, :]) if training and cell.dropout else None
    if factors is None:
        return sequences, cell.kernel
    if not isinstance(factors, list):
        return sequences * ops.expand_dims(factors, 1), cell.kernel
    # With recurrent dropout, Keras drops different inputs for each gate. So the inputs are copied
    # once per gate, and the kernel becomes block-diagonal: each gate reads only its own copy.
    copies = [sequences * ops.expand_dims(factor, 1) for factor in factors]
    gates = ops.split(ops.convert_to_tensor(cell.kernel), len(factors), axis=1)
    blocks = [
        ops.pad(gate, [[0, 0], [number * cell.units, (len(gates) - 1 - number) * cell.units]])
        for number, gate in enumerate(gates)
    ]
    return ops.concatenate(copies, axis=-1), ops.concatenate(blocks, axis=0)


def recurrent_factors(cell: Any, h0: Any, training: bool) -> Any:
    """Return the recurrent dropout factors for each gate, `(batch, units)` each, or None."""
    if not training or not cell.recurrent_dropout:
        return None
    factors = cell.get_recurrent_dropout_mask(h0)
    return factors if isinstance(factors, list) else [factors]  # SimpleRNN has one gate


def draws_zoneout(cell: Any, training: bool) -> bool:
    """Return whether a call draws zoneout flags, which only happens in training."""
    return training and bool(getattr(cell, "zoneout", False))


def zoneout_masks(cell: Any, sequences: Any, training: bool) -> list[Any] | None:
    """Draw where h, and c of an LSTM, keep their old values.

    Returns:
        Flags `(batch, timesteps, units)` for each state; None without zoneout, or in inference,
        where zoneout averages the old and the new values instead.
    """
    if not draws_zoneout(cell, training):
        return None
    shape = (*ops.shape(sequences)[:2], cell.units)
    rates = [cell.zoneout_h, cell.zoneout_c] if len(state_sizes(cell)) == 2 else [cell.zoneout_h]
    return [keras.random.uniform(shape, seed=cell.seed_generator) < rate for rate in rates]

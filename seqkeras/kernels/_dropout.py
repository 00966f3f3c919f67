"""What Keras drops before and within the loop over time, drawn once for a sequence."""

from typing import Any

from keras import ops


def dropped(cell: Any, sequences: Any, training: bool) -> tuple[Any, Any]:
    """The sequences after dropout, and the kernel that reads them."""
    factors = cell.get_dropout_mask(sequences[:, 0, :]) if training and cell.dropout else None
    if factors is None:
        return sequences, cell.kernel
    if not isinstance(factors, list):
        return sequences * ops.expand_dims(factors, 1), cell.kernel
    # With recurrent dropout Keras drops other inputs for each gate: a copy of the input for each,
    # and a kernel in which each gate reads its own.
    copies = [sequences * ops.expand_dims(one, 1) for one in factors]
    gates = ops.split(ops.convert_to_tensor(cell.kernel), len(factors), axis=1)
    blocks = [
        ops.pad(gate, [[0, 0], [number * cell.units, (len(gates) - 1 - number) * cell.units]])
        for number, gate in enumerate(gates)
    ]
    return ops.concatenate(copies, axis=-1), ops.concatenate(blocks, axis=0)


def recurrent_factors(cell: Any, h0: Any, training: bool) -> Any:
    """Factors `(batch, units)` of the state in the product of each gate, or None."""
    if not training or not cell.recurrent_dropout:
        return None
    factors = cell.get_recurrent_dropout_mask(h0)
    return factors if isinstance(factors, list) else [factors]  # SimpleRNN has one gate

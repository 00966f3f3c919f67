"""Sessions between memory and records, which stores hold."""

import sys
from typing import Any

import numpy as np

from seqkeras.runtime._cell_steps import State
from seqkeras.serve._record import MOST_RECENT, Record
from seqkeras.serve._refusal import damaged
from seqkeras.serve._slots import Slots


def insert(slots: Slots, record: Record) -> int:
    """Put the arrays of a record into memory, and return the row.

    Raises:
        RefusedError: the state has another size.
    """
    state = unpack_state(slots, record.state)
    if state is None:
        raise damaged(record.key)
    row = slots.add(record.key)
    slots.put(slice(row, row + 1), state)
    slots.counts[row] = record.steps
    slots.seen[row] = record.seen
    slots.first[row] = record.steps - min(record.kept_inputs, slots.history)
    outputs = np.frombuffer(record.outputs, slots.outputs.dtype)
    outputs = outputs.reshape(record.recent, slots.outputs.shape[1])
    slots.recent[row] = record.recent
    if record.recent:
        slots.outputs[row] = outputs[-1]
    if record.recent > 1:
        slots.longer[row] = np.array(outputs)
    inputs = np.frombuffer(record.inputs, slots.inputs.dtype)
    if slots.history and record.kept_inputs:
        inputs = inputs.reshape(record.kept_inputs, -1)[-slots.history :]
        places = np.arange(record.steps - len(inputs), record.steps)
        slots.inputs[row, places % slots.history] = inputs
    if record.version:
        slots.versions[row] = record.version
    return row


def unpack_state(slots: Slots, data: bytes) -> State | None:
    """Return the arrays of a state, or None if the bytes have another length."""
    parts = []
    position = 0
    for array in slots.states:
        size = array[:1].nbytes
        part = data[position : position + size]
        if len(part) != size:
            return None
        little = np.frombuffer(part, array.dtype.newbyteorder("<"))
        parts.append(little.reshape(array[:1].shape).astype(array.dtype, copy=False))
        position += size
    return tuple(parts) if position == len(data) else None


def record_of(slots: Slots, key: str, fingerprint: str) -> Record:
    """Return a session in memory as a record of the program with this fingerprint."""
    row: Any = slots.peek(key)
    parts = [array[row] for array in slots.states]
    if sys.byteorder == "big":
        parts = [part.byteswap() for part in parts]
    state = b"".join([part.tobytes() for part in parts])
    outputs = slots.last_outputs(row)[-MOST_RECENT:]
    inputs = slots.newest_inputs(row)
    return Record(
        key,
        fingerprint,
        int(slots.counts[row]),
        float(slots.seen[row]),
        state,
        outputs.tobytes(),
        len(outputs),
        inputs.tobytes(),
        len(inputs),
        slots.versions.get(row, b""),
    )

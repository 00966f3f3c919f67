"""Sessions between memory and records, which stores hold."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqkeras._arrays import Array
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
    return records_of(slots, [key], fingerprint)[0]


def records_of(slots: Slots, keys: Sequence[str], fingerprint: str) -> list[Record]:
    """Return sessions in memory as records of the program with this fingerprint."""
    rows: Any = [slots.peek(key) for key in keys]
    # Each array is copied once for all rows: to index one row takes longer than to copy its bytes.
    parts = [array.reshape(len(rows), -1) for array in slots.state(rows)]
    if sys.byteorder == "big":
        parts = [part.byteswap() for part in parts]
    nothing = np.empty((len(rows), 0), np.uint8)  # a program may have no state
    states = np.concatenate([nothing, *(part.view(np.uint8) for part in parts)], axis=1)
    numbers = zip(
        keys,
        rows,
        slots.counts[rows].tolist(),
        slots.seen[rows].tolist(),
        _rows_of_bytes(states),
        _rows_of_bytes(slots.outputs[rows]),
        slots.recent[rows].tolist(),
        strict=True,
    )
    records = []
    for key, row, count, seen, state, output, recent in numbers:
        if recent != 1:
            several = slots.last_outputs(row)[-MOST_RECENT:]
            output, recent = several.tobytes(), len(several)
        inputs = slots.newest_inputs(row) if slots.history else None
        packed, stored = (inputs.tobytes(), len(inputs)) if inputs is not None else (b"", 0)
        version = slots.versions.get(row, b"")
        records.append(
            Record(key, fingerprint, count, seen, state, output, recent, packed, stored, version)
        )
    return records


def _rows_of_bytes(rows: Array) -> list[bytes]:
    data = rows.tobytes()
    size = rows[:1].nbytes
    return [data[place * size : (place + 1) * size] for place in range(len(rows))]

"""One session as bytes: its state, the outputs of its last request and its newest inputs."""

import struct
import zlib
from typing import NamedTuple

#: Number of outputs and of inputs, then the number of bytes of the state and of the outputs.
_HEADER = struct.Struct("<HHII")
_CHECKSUM = struct.Struct("<I")

#: Most inputs of a record.
MOST_INPUTS = 2**16 - 1

#: Most outputs of one request that are stored to be repeated.
MOST_RECENT = 4_096


class Record(NamedTuple):
    """A session as a store holds it.

    Attributes:
        key: name of the session, with that of its client.
        fingerprint: the program that the state belongs to.
        steps: number of observations read, which is also the number of the next step.
        seen: time of the last request, in seconds since 1970.
        state: the arrays of the state, one after the other, little-endian.
        outputs: the outputs of the last request, `(recent, outputs)`.
        recent: number of rows in `outputs`.
        inputs: the newest observations, `(kept_inputs, width)`, oldest first.
        kept_inputs: number of rows in `inputs`.
        version: bytes that a shared store changes at each write; empty for a new session.
    """

    key: str
    fingerprint: str
    steps: int
    seen: float
    state: bytes
    outputs: bytes = b""
    recent: int = 0
    inputs: bytes = b""
    kept_inputs: int = 0
    version: bytes = b""


def pack(record: Record) -> bytes:
    """Convert the arrays of a record to bytes with a checksum over all of its fields."""
    header = _HEADER.pack(record.recent, record.kept_inputs, len(record.state), len(record.outputs))
    data = b"".join((header, record.state, record.outputs, record.inputs))
    return data + _CHECKSUM.pack(_checksum(record, data))


def unpack(record: Record, data: bytes) -> Record | None:
    """Return the record with the arrays that `pack` converted, or None if anything was changed.

    Args:
        record: key, fingerprint, steps and time, as the store has them.
        data: output of `pack`.
    """
    end = len(data) - _CHECKSUM.size
    if end < _HEADER.size or _CHECKSUM.unpack_from(data, end)[0] != _checksum(record, data[:end]):
        return None
    recent, kept_inputs, state, outputs = _HEADER.unpack_from(data)
    start = _HEADER.size
    middle = start + state
    return record._replace(
        state=data[start:middle],
        outputs=data[middle : middle + outputs],
        recent=recent,
        inputs=data[middle + outputs : end],
        kept_inputs=kept_inputs,
    )


def _checksum(record: Record, data: bytes) -> int:
    # The time is included because a wrong one would end the session.
    place = f"{record.key}\n{record.fingerprint}\n{record.steps}\n{int(record.seen)}".encode()
    return zlib.crc32(data, zlib.crc32(place))

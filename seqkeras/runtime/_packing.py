"""States as bytes, for a file, a database or another process."""

import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument
from seqkeras.errors import FileFormatError
from seqkeras.runtime._cell_steps import State

VERSION = 1

#: Shape of one row and dtype, for each array of a state.
Shapes: TypeAlias = Sequence[tuple[tuple[int, ...], np.dtype[Any]]]

#: Signature, version, fingerprint, rows, checksum of the arrays.
_HEADER = struct.Struct("<4sI16sII")
_SIGNATURE = b"SKST"


def packed_size(shapes: Shapes, rows: int) -> int:
    """Return the number of bytes of a packed state."""
    return _HEADER.size + rows * sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes)


def pack(state: State, fingerprint: str, rows: int) -> bytes:
    """Convert a state to bytes: a header, then the arrays, little-endian.

    Raises:
        ArgumentError: the state has no rows, or more than the header can count.
    """
    if not 0 < rows < 2**32:
        raise bad_argument("state", Description(f"{rows} rows"), "a state of 1 to 2**32 - 1 rows")
    data = b"".join(_little(array).tobytes() for array in state)
    program = bytes.fromhex(fingerprint)[:16]
    return _HEADER.pack(_SIGNATURE, VERSION, program, rows, zlib.crc32(data)) + data


#: Fix for a state of another program.
_FIX = (
    "A program that was exported with other weights or options has another fingerprint: start its "
    "sessions again, or keep the old file for old states."
)


def unpack(
    data: bytes,
    shapes: Shapes,
    fingerprint: str,
    name: str,
    *,
    kind: str = "program",
    fix: str = _FIX,
) -> State:
    """Return the state that `pack` converted to bytes.

    Args:
        data: the bytes.
        shapes: shape of one row and dtype, for each array.
        fingerprint: fingerprint of the program.
        name: name of the program, for errors.
        kind: kind of object that the state belongs to, for errors; default "program".
        fix: what to do about a state of another program, for errors.

    Raises:
        ArgumentError: `data` is not bytes.
        FileFormatError: the bytes are damaged, were packed by another version, or belong to another
            program.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise bad_argument("data", type(data).__name__, "the bytes of pack_state")
    if len(data) < _HEADER.size or bytes(data[:4]) != _SIGNATURE:
        raise FileFormatError("Not a packed state, or truncated.")
    _, version, program, rows, checksum = _HEADER.unpack_from(data)
    if version != VERSION:
        raise FileFormatError(
            f"The state was packed by another version of seqkeras (format {version}, this one "
            f"reads {VERSION}). If that version is later: pip install -U seqkeras."
        )
    if program != bytes.fromhex(fingerprint)[:16]:
        raise FileFormatError(
            f"The state belongs to another {kind}. Got: a state with the fingerprint "
            f"{program.hex()}, while {name!r} has {fingerprint[:32]}. {fix}"
        )
    size = packed_size(shapes, rows)
    if not rows or len(data) != size:
        raise FileFormatError(
            f"The packed state is damaged: {rows} rows need {size} bytes. Got: {len(data)}."
        )
    if zlib.crc32(memoryview(data)[_HEADER.size :]) != checksum:
        raise FileFormatError("The packed state is damaged: its checksum does not match.")
    arrays = []
    position = _HEADER.size
    for shape, dtype in shapes:
        count = rows * math.prod(shape)
        raw = np.frombuffer(data, dtype.newbyteorder("<"), count, position)
        arrays.append(raw.reshape(rows, *shape).astype(dtype))
        position += raw.nbytes
    return tuple(arrays)


def _little(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)

"""A state as bytes, for a file, a database or another process."""

import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras.errors import FileFormatError
from seqkeras.runtime._cell_steps import State

VERSION = 1

#: Shape of one row and dtype, for each array of a state.
Shapes: TypeAlias = Sequence[tuple[tuple[int, ...], np.dtype[Any]]]

#: Mark, version, fingerprint, rows, checksum of what follows.
_FRONT = struct.Struct("<4sI16sII")
_MARK = b"SKST"


def packed_size(shapes: Shapes, rows: int) -> int:
    """The length of a packed state."""
    return _FRONT.size + rows * sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes)


def pack(state: State, fingerprint: str, rows: int) -> bytes:
    """A state as bytes: the front, then the arrays, little-endian."""
    data = b"".join(_little(array).tobytes() for array in state)
    mark = bytes.fromhex(fingerprint)[:16]
    return _FRONT.pack(_MARK, VERSION, mark, rows, zlib.crc32(data)) + data


#: What to do about a state of another program.
_FIX = (
    "A program that was exported again has another mark; begin its sessions anew, or keep the old "
    "file beside it."
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
    """The state of the program `name`, or of what else has states, that `pack` packed.

    Raises:
        FileFormatError: the bytes are damaged, of a later version, or of another program.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise bad_argument("data", type(data).__name__, "the bytes of pack_state")
    if len(data) < _FRONT.size or bytes(data[:4]) != _MARK:
        raise FileFormatError("These bytes are no packed state, or only a part of one.")
    _, version, mark, rows, checksum = _FRONT.unpack_from(data)
    if version != VERSION:
        raise FileFormatError(
            f"The state was packed by another version of seqkeras (format {version}, this one "
            f"reads {VERSION}). If it is a later one: pip install -U seqkeras."
        )
    if mark != bytes.fromhex(fingerprint)[:16]:
        raise FileFormatError(
            f"The state belongs to another {kind}: its mark is {mark.hex()}, that of {name!r} is "
            f"{fingerprint[:32]}. {fix}"
        )
    if not rows or len(data) != packed_size(shapes, rows):
        raise FileFormatError(
            f"The packed state is damaged: {rows} rows need "
            f"{packed_size(shapes, rows) if rows else 0} bytes, {len(data)} are there."
        )
    if zlib.crc32(memoryview(data)[_FRONT.size :]) != checksum:
        raise FileFormatError("The packed state is damaged: its checksum does not fit.")
    arrays, at = [], _FRONT.size
    for shape, dtype in shapes:
        count = rows * math.prod(shape)
        raw = np.frombuffer(data, dtype.newbyteorder("<"), count, at)
        arrays.append(raw.reshape(rows, *shape).astype(dtype))
        at += raw.nbytes
    return tuple(arrays)


def _little(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)

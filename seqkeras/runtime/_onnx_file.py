"""Check the bytes of an ONNX file, and read the header that `export.save_onnx` put into it.

The checksum of a file is its last 64 bytes, so it is checked before ONNX Runtime parses anything:
of files with one changed byte, ONNX Runtime itself loads about half without complaint. The header
is metadata, which ONNX Runtime returns. The checksum is not a signature, and a file from somebody
else can run any operator that ONNX Runtime has.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from seqkeras._files import open_file, shortened
from seqkeras.errors import FileFormatError

KIND = "seqkeras.OnnxProgram"
VERSION = 1

#: The kind of both files of an encoder-decoder, which ONNX Runtime itself runs.
DECODER_KIND = "seqkeras.OnnxDecoder"

#: Names of the metadata that seqkeras writes.
FORMAT = "seqkeras.format"
HEADER = "seqkeras.header"

#: What precedes the checksum: the start of a last entry of the metadata, in protobuf's encoding.
#: Its parts: number and length of the field, length and text of the key, length of the value.
_CHECKSUM_FIELD = b"\x72\x53" + b"\x0a\x0fseqkeras.sha256" + b"\x12\x40"
_CHECKSUM_LENGTH = 64


def with_checksum(data: bytes) -> bytes:
    """Return an ONNX file with its checksum as the last entry of its metadata."""
    return data + _CHECKSUM_FIELD + hashlib.sha256(data).hexdigest().encode()


def read_checked(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """Read a file that `export.save_onnx` wrote, and return its bytes and its checksum.

    Raises:
        FileFormatError: the file is damaged or of another kind.
    """
    with open_file(path) as file:
        data = file.read()
    content = data[: -len(_CHECKSUM_FIELD) - _CHECKSUM_LENGTH]
    field = data[len(content) : -_CHECKSUM_LENGTH]
    if field != _CHECKSUM_FIELD:
        raise FileFormatError(
            f"{path} is not a complete ONNX file that export.save_onnx wrote. A file that another "
            "tool wrote or changed may run in ONNX Runtime itself."
        )
    if with_checksum(content) != data:
        raise FileFormatError(
            f"{path} is damaged: its bytes are not those that were written. A file that another "
            "tool changed can be run by ONNX Runtime itself."
        )
    return data, data[-_CHECKSUM_LENGTH:].decode()


def header_of(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the header of a file from the metadata that ONNX Runtime read.

    Raises:
        FileFormatError: a later version wrote it, or it is not a program.
        LookupError, ValueError: the metadata were not written by seqkeras.
    """
    kind, _, version = metadata[FORMAT].partition(" ")
    if kind == DECODER_KIND:
        raise FileFormatError(
            f"{path} is a part of an encoder-decoder, not a program. Run it with ONNX Runtime "
            "itself: onnxruntime.InferenceSession."
        )
    if kind != KIND or int(version) > VERSION:
        newer = shortened(metadata[FORMAT])
        raise FileFormatError(
            f"{path} was written by a later version of seqkeras (Got: {newer}, this one reads up "
            f"to {KIND} {VERSION}). Update seqkeras: pip install -U seqkeras."
        )
    header = json.loads(metadata[HEADER])
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    return header

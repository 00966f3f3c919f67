"""The outermost layer of an ONNX file, read without the package onnx.

An ONNX file is a message in the format of https://protobuf.dev/programming-guides/encoding: fields,
each with a number. Those that count here are the graph, the versions of operators that it needs and
the metadata; ours hold a header in JSON and a checksum of everything else in the file.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from seqkeras._files import DAMAGE
from seqkeras.errors import FileFormatError

KIND, VERSION = "seqkeras.OnnxProgram", 1

#: Metadata of ours.
FORMAT, HEADER, CHECKSUM = "seqkeras.format", "seqkeras.header", "seqkeras.sha256"

#: Numbers of fields: in the file, in a version of operators, in an entry of the metadata.
_OPERATORS, _METADATA, _FUNCTIONS = 8, 14, 25
_DOMAIN = 1
_KEY, _VALUE = 1, 2

#: The domains of standard operators.
_STANDARD = ("", "ai.onnx")


class OnnxFile(NamedTuple):
    """What a file holds.

    Attributes:
        header: of ours.
        data: all its bytes.
        checksum: of them.
    """

    header: dict[str, Any]
    data: bytes
    checksum: str


def read_onnx(path: str | os.PathLike[str]) -> OnnxFile:
    """Reads a file that `export.save_onnx` wrote, and checks that it still is one.

    Raises:
        FileFormatError: it is damaged, foreign, of a later version, or has operators that are not
            of the standard.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        return _checked(path, data)
    except FileFormatError:
        raise
    except DAMAGE as error:
        raise FileFormatError(f"{path} is not an ONNX file, or is damaged: {error}") from error


def checksum_of(data: bytes) -> str:
    """The checksum of a file, its own entry left out."""
    digest, view = hashlib.sha256(), memoryview(data)
    for number, value, start, end in _fields(data):
        if number != _METADATA or _entry(value)[0] != CHECKSUM:
            digest.update(view[start:end])
    return digest.hexdigest()


def _checked(path: str | os.PathLike[str], data: bytes) -> OnnxFile:
    meta, foreign = {}, []
    for number, value, *_ in _fields(data):
        if number == _METADATA:
            key, text = _entry(value)
            meta[key] = text
        elif number == _OPERATORS:
            domains = [bytes(text).decode() for at, text, *_ in _fields(value) if at == _DOMAIN]
            foreign += [domain for domain in domains if domain not in _STANDARD]
        elif number == _FUNCTIONS:
            foreign.append("of its own functions")
    if FORMAT not in meta:
        raise FileFormatError(
            f"{path} is no ONNX file of export.save_onnx: which of its inputs are states is not "
            "said in it. ONNX Runtime itself can run it."
        )
    kind, _, version = meta[FORMAT].partition(" ")
    if kind != KIND or int(version) > VERSION:
        raise FileFormatError(
            f"{path} was written by a later version of seqkeras ({meta[FORMAT]}, this one reads up "
            f"to {KIND} {VERSION}). Update seqkeras: pip install -U seqkeras."
        )
    if foreign:
        raise FileFormatError(
            f"{path} has operators of the domain {foreign[0]!r}; those of the standard alone run."
        )
    checksum = checksum_of(data)
    if checksum != meta[CHECKSUM]:
        raise FileFormatError(
            f"{path} is damaged: its bytes are not those that were written. A file that another "
            "tool has changed can be run by ONNX Runtime itself."
        )
    return OnnxFile(json.loads(meta[HEADER]), data, checksum)


def _entry(value: Any) -> tuple[str, str]:
    texts = {number: bytes(text).decode() for number, text, *_ in _fields(value)}
    return texts[_KEY], texts[_VALUE]


def _fields(data: Any) -> Iterator[tuple[int, Any, int, int]]:
    """Number and value of each field, and where it begins and ends."""
    view, at = memoryview(data), 0
    value: Any
    while at < len(view):
        start = at
        tag, at = _number(view, at)
        if tag & 7 == 0:
            value, at = _number(view, at)
        elif tag & 7 == 2:
            length, at = _number(view, at)
            value, at = view[at : at + length], at + length
        else:
            raise ValueError(f"a field at byte {start} has the kind {tag & 7}")
        if at > len(view):
            raise ValueError(f"it ends within the field that begins at byte {start}")
        yield tag >> 3, value, start, at


def _number(view: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the last byte without the eighth."""
    value = 0
    for shift in range(0, 70, 7):
        byte = view[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            return value, at
    raise ValueError(f"the number before byte {at} has no end")

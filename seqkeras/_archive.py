"""A JSON header and raw arrays in one file, no pickle: the safetensors layout.

The layout is that of https://huggingface.co/docs/safetensors (an 8-byte length, a JSON table, the
arrays), so the arrays can be read in any language. The metadata of the table holds the kind of the
file, its version, a header of ours in JSON and a checksum over all of it. Every size is checked
against the file before memory is taken for it, and arrays can be mapped instead of read.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqkeras._checks import bad_argument
from seqkeras._files import DAMAGE, whole_file
from seqkeras.errors import FileFormatError

#: What an element of each array may be: names of the layout, dtypes of NumPy.
DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "F16": "<f2",
    "F32": "<f4", "F64": "<f8",
}  # fmt: skip
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

#: More than the table of any model needs.
MAX_TABLE_BYTES = 2**26

_ALIGNMENT = 64


class Archive(NamedTuple):
    """What a file holds."""

    header: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]
    checksum: str


def write_archive(
    path: str | os.PathLike[str],
    header: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    kind: str,
    version: int,
) -> str:
    """Writes a file, which replaces one of that name only when it is complete.

    Args:
        path: of the file, in a folder that exists.
        header: anything that JSON can hold.
        arrays: numbers and booleans, by name.
        kind: what the file is, such as `"seqkeras.Program"`.
        version: of that kind.

    Returns:
        The checksum, 64 hexadecimal digits.

    Raises:
        ArgumentError: the path is no place for a file.
    """
    blobs = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    table = _table(blobs)
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    meta = {"format": kind, "version": str(version), "header": text}
    digest = _digest(meta, table)
    for array in blobs.values():
        digest.update(_bytes_of(array))
    meta["sha256"] = digest.hexdigest()
    front = json.dumps({"__metadata__": meta, **table}).encode()
    front += b" " * (-(8 + len(front)) % _ALIGNMENT)
    with whole_file(path) as part, open(part, "wb") as file:
        file.write(len(front).to_bytes(8, "little") + front)
        for array in blobs.values():
            file.write(_bytes_of(array))
    return meta["sha256"]


def read_archive(
    path: str | os.PathLike[str], *, kind: str, version: int, mapped: bool = False
) -> Archive:
    """Reads what `write_archive` wrote.

    Args:
        path: of the file.
        kind: what it must be.
        version: the newest that is understood.
        mapped: leave the arrays in the file, read-only, to be paged in when they are used.

    Raises:
        FileFormatError: the file is damaged, of another kind, or of a later version.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            meta, table, start = _read_table(file.read(8), file, size)
            _check_kind(path, meta, kind, version)
            spans = _spans(table, size - start)
            data = _data(file, start, size, mapped)
            digest = _digest({key: meta[key] for key in ("format", "version", "header")}, table)
            digest.update(data)
            if digest.hexdigest() != meta["sha256"]:
                raise ValueError("the checksum does not fit: bytes were changed")
            header = json.loads(meta["header"])
            if not isinstance(header, dict):
                raise ValueError("its header is no table")
            arrays = {
                name: np.frombuffer(data, dtype, count, begin).reshape(shape)
                for name, (dtype, shape, count, begin) in spans.items()
            }
        except FileFormatError:
            raise
        except DAMAGE as error:
            raise FileFormatError(f"{path} is not a {kind} file, or is damaged: {error}") from error
    return Archive(header, arrays, meta["sha256"])


def _table(blobs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    table, begin = {}, 0
    for name, array in blobs.items():
        dtype = NAMES.get(array.dtype)
        if dtype is None:
            raise bad_argument(
                name, array.dtype, f"an array of one of {', '.join(DTYPES.values())}"
            )
        end = begin + array.nbytes
        table[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
        begin = end
    return table


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _digest(meta: Mapping[str, str], table: Mapping[str, Any]) -> Any:
    """A checksum begun with all that stands before the arrays."""
    return hashlib.sha256(json.dumps([dict(meta), dict(table)], sort_keys=True).encode())


def _read_table(length: bytes, file: Any, size: int) -> tuple[dict[str, str], dict[str, Any], int]:
    if len(length) < 8:
        raise ValueError("it is shorter than the shortest")
    count = int.from_bytes(length, "little")
    if count > min(MAX_TABLE_BYTES, size - 8):
        raise ValueError(f"its table would take {count} bytes, the file has {size}")
    text = file.read(count)
    if not text.rstrip(b" ").endswith(b"}"):
        raise ValueError("its table does not end as it should")
    table = json.loads(text)
    meta = table.pop("__metadata__")
    if not all(isinstance(meta[key], str) for key in ("format", "version", "header", "sha256")):
        raise ValueError("its metadata are not text")
    return meta, table, 8 + count


def _check_kind(
    path: str | os.PathLike[str], meta: Mapping[str, str], kind: str, version: int
) -> None:
    if meta["format"] != kind:
        raise FileFormatError(
            f"{path} is not a {kind} file; it says that it is {meta['format']!r}."
        )
    if int(meta["version"]) > version:
        raise FileFormatError(
            f"{path} was written by a later version of seqkeras (format {meta['version']}, this "
            f"one reads up to {version}). Update seqkeras: pip install -U seqkeras."
        )


def _spans(table: Mapping[str, Any], size: int) -> dict[str, tuple[Any, tuple[int, ...], int, int]]:
    """(dtype, shape, elements, first byte) of each array; together they fill the file."""
    spans, at = {}, 0
    for name, entry in table.items():
        dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        sizes = (*shape, begin, end)
        if len(shape) > 32 or not all(type(n) is int and 0 <= n < 2**62 for n in sizes):
            raise ValueError(f"the sizes of {name!r} are not whole numbers")
        count = 1
        for length in shape:
            count *= length
        if begin != at or end - begin != count * dtype.itemsize or end > size:
            raise ValueError(f"{name!r} is said to be {shape}, which its bytes are not")
        spans[name] = (dtype, shape, count, begin)
        at = end
    if at != size:
        raise ValueError(f"{size} bytes of arrays are there, {at} are spoken of")
    return spans


def _data(file: Any, start: int, size: int, mapped: bool) -> Any:
    if not mapped or size == start:
        return file.read(size - start)
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[start:]

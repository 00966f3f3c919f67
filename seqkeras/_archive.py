"""The file format of programs, forecasters, states and training backups: a header and arrays.

The layout is that of safetensors (https://huggingface.co/docs/safetensors): an 8-byte length, a
JSON table, then the arrays, which any language can read. No pickle. The metadata in the table
store the kind of the file, its version, the caller's header as JSON, and a checksum of everything
else. Sizes are checked against the file before memory is allocated, and arrays can be mapped
instead of read.
"""

import hashlib
import json
import mmap
import os
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from seqkeras._arrays import Array
from seqkeras._checks import Description, bad_argument
from seqkeras._files import DAMAGE, open_file, shortened, whole_file
from seqkeras._lazy import import_optional
from seqkeras.errors import FileFormatError

#: Element types: their names in the layout, and in NumPy.
DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
DTYPE_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

#: Limit of the JSON table, header included. Parsed JSON takes about 20 times its size in memory.
MAX_TABLE_BYTES = 2**22

_ALIGNMENT = 64


class Archive(NamedTuple):
    """The content of a file.

    Attributes:
        header: the header passed to `write_archive`.
        arrays: the arrays by name, read-only.
        checksum: SHA-256 of everything else in the file, as 64 hexadecimal digits.
        version: version of the format, as recorded in the file.
        file: the file that the arrays are mapped from. None: they were read into memory.
    """

    header: dict[str, Any]
    arrays: dict[str, Array]
    checksum: str
    version: int
    file: "MappedFile | None" = None


class MappedFile:
    """A file whose arrays are mapped into memory.

    If the file is truncated, reading the arrays ends the process (SIGBUS); see `check`.

    Args:
        path: its path, for errors.
        file: the open file.
    """

    def __init__(self, path: str | os.PathLike[str], file: BinaryIO) -> None:
        self._path = path
        # Keeps to this file, even if another file later takes its path.
        self._descriptor = os.dup(file.fileno())
        self._state = self._now()
        weakref.finalize(self, os.close, self._descriptor)

    def check(self) -> None:
        """Raise FileFormatError if the file was changed in place."""
        if self._now() != self._state:
            raise FileFormatError(
                f"{self._path} was changed in place since it was loaded with mapped=True. Load it "
                "again, and replace such a file by moving a new one to its name, as save_program "
                "does."
            )

    def _now(self) -> tuple[int, int]:
        state = os.fstat(self._descriptor)
        return state.st_size, state.st_mtime_ns


def write_archive(
    path: str | os.PathLike[str],
    header: Mapping[str, Any],
    arrays: Mapping[str, Array],
    *,
    kind: str,
    version: int,
) -> str:
    """Write a file. An existing file is replaced only once the new one is complete.

    Args:
        path: a file in a folder that exists.
        header: anything that JSON can hold, without NaN and infinity; a few MB at most.
        arrays: numbers (bfloat16 included) and booleans, by name. Bytes, such as a `.keras` file,
            are an array of uint8; for many texts see `texts_to_array`.
        kind: kind of the file, such as `"seqkeras.Program"`.
        version: version of the format of this kind.

    Returns:
        The checksum, 64 hexadecimal digits.

    Raises:
        ArgumentError: `path` is not a file in a folder that exists, an array has an unsupported
            dtype, or the header is too large.
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
    if len(front) > MAX_TABLE_BYTES:
        expected = f"at most {MAX_TABLE_BYTES} bytes of JSON, names of arrays included"
        raise bad_argument(
            "header", Description(f"{len(front)} bytes"), expected, "Put long lists into arrays."
        )
    with whole_file(path) as part, open(part, "wb") as file:
        file.write(len(front).to_bytes(8, "little") + front)
        for array in blobs.values():
            file.write(_bytes_of(array))
    return meta["sha256"]


def read_archive(
    path: str | os.PathLike[str],
    *,
    kind: str,
    version: int,
    max_bytes: int | None = None,
    mapped: bool = False,
) -> Archive:
    """Read a file that `write_archive` has written.

    Args:
        path: the file.
        kind: the kind that the file must have.
        version: the newest version that the caller understands.
        max_bytes: largest file to accept. None: any size.
        mapped: map the arrays instead of copying them into memory; the file is still read once, to
            verify its checksum.

    Raises:
        FileFormatError: the file is damaged, too large, of another kind, or of a later version.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if max_bytes is not None and size > max_bytes:
            raise FileFormatError(
                f"{path} must be a {kind} file of at most {max_bytes} bytes. Got: {size} bytes."
            )
        try:
            meta, table, start = _read_table(file, size)
            _check_kind(path, meta, kind, version)
            spans = _spans(table, size - start)
            source = MappedFile(path, file) if mapped else None
            data = _read_or_map(file, start, size, mapped)
            _check_digest(meta, table, data)
            header = json.loads(meta["header"])
            if not isinstance(header, dict):
                raise ValueError("the header is not a JSON object")
            arrays = {
                name: np.frombuffer(data, dtype, count, begin).reshape(shape)
                for name, (dtype, shape, count, begin) in spans.items()
            }
        except FileFormatError:
            raise
        except DAMAGE as error:
            reason = shortened(error)
            raise FileFormatError(
                f"{path} is not a {kind} file, or is damaged: {reason}"
            ) from error
    return Archive(header, arrays, meta["sha256"], int(meta["version"]), source)


def read_kind(path: str | os.PathLike[str]) -> str:
    """Return the kind of a file that `write_archive` has written, or "" for any other file."""
    with open_file(path) as file:
        try:
            meta = _read_table(file, os.fstat(file.fileno()).st_size)[0]
        except DAMAGE:
            return ""
    return meta["format"]


def texts_to_array(name: str, texts: Iterable[str]) -> Array:
    """Return texts as one array of bytes, for lists that are too long for a header.

    Args:
        name: what the texts are, for errors.
        texts: any number of texts of any length.

    Returns:
        uint8: each text in UTF-8, followed by a zero.

    Raises:
        ArgumentError: a text contains a zero character, or half of a surrogate pair.

    Example:
        >>> array_to_texts(texts_to_array("ids", ["a", "", "é"]))
        ['a', '', 'é']
    """
    texts = list(texts)
    try:
        data = "".join(text + "\0" for text in texts).encode()
    except UnicodeEncodeError as error:
        raise bad_argument(name, error.object[error.start], "text that UTF-8 can hold") from error
    if data.count(0) != len(texts):
        text = next(text for text in texts if "\0" in text)
        raise bad_argument(name, text, "text without the zero character")
    return np.frombuffer(data, np.uint8)


def array_to_texts(array: Array) -> list[str]:
    """Return the texts that `texts_to_array` has put into an array.

    Raises:
        ValueError: the array does not have this form.
    """
    if array.dtype != np.uint8 or array.ndim != 1 or (array.size and array[-1] != 0):
        raise ValueError(f"not a list of texts: {array.dtype}, shape {array.shape}")
    return array.tobytes().decode().split("\0")[:-1]


def _table(blobs: Mapping[str, Array]) -> dict[str, Any]:
    table = {}
    begin = 0
    for name, array in blobs.items():
        end = begin + array.nbytes
        table[name] = {
            "dtype": _name_of(name, array.dtype),
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    return table


def _name_of(name: str, dtype: np.dtype[Any]) -> str:
    if dtype.name == "bfloat16":  # a type of ml_dtypes, not of NumPy
        return "BF16"
    if dtype not in DTYPE_NAMES:
        expected = f"an array of one of {', '.join(DTYPES.values())}, bfloat16"
        raise bad_argument(name, dtype, expected)
    return DTYPE_NAMES[dtype]


def _dtype_of(name: str) -> np.dtype[Any]:
    if name == "BF16":
        return np.dtype(import_optional("ml_dtypes", extra="tensorflow").bfloat16)
    return np.dtype(DTYPES[name])


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _digest(meta: Mapping[str, str], table: Mapping[str, Any]) -> Any:
    """Return a hash of everything but the arrays, which the caller adds."""
    covered = {key: meta[key] for key in ("format", "version", "header")}
    return hashlib.sha256(json.dumps([covered, dict(table)], sort_keys=True).encode())


def _check_digest(meta: Mapping[str, str], table: Mapping[str, Any], data: Any) -> None:
    digest = _digest(meta, table)
    digest.update(data)
    if digest.hexdigest() != meta["sha256"]:
        raise ValueError("the checksum does not match: the content was changed")


def _read_table(file: Any, size: int) -> tuple[dict[str, str], dict[str, Any], int]:
    """Return the metadata, the table of arrays, and where the arrays begin."""
    prefix = file.read(8)
    if len(prefix) < 8:
        raise ValueError(f"it is too short ({size} bytes)")
    if prefix.startswith(b"PK"):
        raise ValueError(
            "it is a zip file; a .keras model must first be exported with save_program"
        )
    count = int.from_bytes(prefix, "little")
    if count > size - 8:
        raise ValueError(f"it declares a table of {count} bytes, but has only {size}")
    if count > MAX_TABLE_BYTES:
        raise ValueError(f"its table has {count} bytes; the limit is {MAX_TABLE_BYTES}")
    text = file.read(count)
    if not text.rstrip(b" ").endswith(b"}"):
        raise ValueError("the table is not a JSON object")
    table = json.loads(text)
    meta = table.pop("__metadata__")
    if not all(isinstance(meta[key], str) for key in ("format", "version", "header", "sha256")):
        raise ValueError("the metadata are not text")
    return meta, table, 8 + count


def _check_kind(
    path: str | os.PathLike[str], meta: Mapping[str, str], kind: str, version: int
) -> None:
    if meta["format"] != kind:
        raise FileFormatError(
            f"{path} is not a {kind} file. Got: {shortened(repr(meta['format']))}."
        )
    if int(meta["version"]) > version:
        newer = shortened(meta["version"])
        raise FileFormatError(
            f"{path} was written by a later version of seqkeras (format {newer}, this one reads "
            f"up to {version}). Update seqkeras: pip install -U seqkeras."
        )


def _spans(table: Mapping[str, Any], size: int) -> dict[str, tuple[Any, tuple[int, ...], int, int]]:
    """Return dtype, shape, number of elements and first byte of each array.

    Raises ValueError unless the arrays follow each other and fill the file exactly.
    """
    spans = {}
    position = 0
    for name, entry in table.items():
        dtype = _dtype_of(entry["dtype"])
        shape = tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        sizes = (*shape, begin, end)
        if len(shape) > 32 or not all(type(n) is int and 0 <= n < 2**62 for n in sizes):
            raise ValueError(f"the sizes of {name!r} are not whole numbers")
        count = 1
        for length in shape:
            count *= length
        if begin != position or end - begin != count * dtype.itemsize or end > size:
            raise ValueError(f"the bytes of {name!r} do not make an array of shape {shape}")
        spans[name] = (dtype, shape, count, begin)
        position = end
    if position != size:
        raise ValueError(f"the table describes {position} bytes of arrays, the file has {size}")
    return spans


def _read_or_map(file: Any, start: int, size: int, mapped: bool) -> Any:
    if not mapped or size == start:
        return file.read(size - start)
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[start:]

"""A program in memory, without a file."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras.runtime import Program


def in_memory_program(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> Program:
    """Return a program from the header and the arrays of its file."""
    return Program(header, arrays, fingerprint_of(header, arrays), use_native=True)


def fingerprint_of(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """Return a hash of a header and arrays, as hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()

"""A network as the bytes of a `.keras` file, to be an array of another file."""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras

from seqkeras._archive import MAX_TABLE_BYTES
from seqkeras._arrays import Array
from seqkeras.errors import FileFormatError

#: The usual name of the array with these bytes.
NETWORK = "network.keras"
#: Refuse to unpack more bytes, as from a zip bomb; no network needs as many.
MAX_BYTES = 2**30


def network_bytes(network: keras.Model) -> bytes:
    """Return the bytes of a network as a `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder) / NETWORK)
        return (Path(folder) / NETWORK).read_bytes()


def load_network(data: Array, custom_objects: dict[str, Any] | None) -> keras.Model:
    """Return the network whose `.keras` file has these bytes.

    Raises:
        ValueError: they are damaged, or name an unknown class.
        FileFormatError: they are too large when unpacked.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NETWORK
        path.write_bytes(data.tobytes())
        with zipfile.ZipFile(path) as file:
            check_unpacked_size(file, "its network", MAX_BYTES)
        try:
            return keras.saving.load_model(path, custom_objects, compile=False)
        except Exception as error:  # errors of the backends have no common base class
            raise ValueError(f"Keras cannot load its network: {error}") from error


def check_unpacked_size(file: zipfile.ZipFile, subject: str, max_bytes: int) -> None:
    """Check the total size of all members of a zip file, and of its JSON members, without reading.

    Raises:
        FileFormatError: a total is too large.
    """
    members = file.infolist()
    size = sum(member.file_size for member in members)
    if size > max_bytes:
        raise FileFormatError(f"{subject} would unpack to {size} bytes; the limit is {max_bytes}.")
    texts = sum(member.file_size for member in members if member.filename.endswith(".json"))
    if texts > MAX_TABLE_BYTES:
        raise FileFormatError(
            f"{subject} would unpack to {texts} bytes of JSON; the limit is {MAX_TABLE_BYTES}."
        )

"""What a store of sessions can do."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from seqkeras.errors import SeqkerasError
from seqkeras.serve._record import Record


class StoreUnavailableError(SeqkerasError):
    """The store did not carry out a request, or may not have; nothing of it is acknowledged."""


class Damaged(NamedTuple):
    """A session whose stored bytes do not match their checksum.

    Attributes:
        key: name of the session.
        version: as in a record, to replace the session.
    """

    key: str
    version: bytes = b""


class Store(Protocol):
    """Sessions that outlive the process. All methods are called from one thread.

    Attributes:
        name: kind of the store, for `/v1/model` and metrics.
        shared: whether other processes change the same sessions; states are then loaded for each
            request.
    """

    name: str
    shared: bool

    def load(self, keys: Sequence[str]) -> list[Record | Damaged | None]:
        """Return the session of each key, None where there is none."""
        ...

    def commit(self, records: Sequence[Record]) -> set[str]:
        """Store sessions, all or none, and return when they are as durable as was promised.

        Returns:
            Keys whose session another process has changed since `load`; they are not stored.
        """
        ...

    def delete(self, keys: Sequence[str]) -> int:
        """Remove sessions, and return how many existed."""
        ...

    def expire(self, before: float) -> int:
        """Remove some sessions last seen before a time, and return their number."""
        ...

    def count(self, prefix: str = "") -> int:
        """Return the number of sessions whose key begins with `prefix`."""
        ...

    def keys(self, prefix: str, limit: int) -> Iterable[str]:
        """Return up to `limit` keys that begin with `prefix`, the newest first if possible."""
        ...

    def check(self) -> None:
        """Raise StoreUnavailableError if the store cannot be written."""
        ...

    def close(self) -> None:
        """Finish all writes and release the store."""
        ...


DURABILITIES = ("process", "disk")


def without_password(url: str) -> str:
    """Return a URL without user, password and options, for messages.

    Example:
        >>> without_password("redis://app:secret@cache:6379/0?replicas=1")
        'redis://cache:6379/0'
    """
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    place, _, options = rest.partition("?")
    # A password in the options may have an "@" as well.
    return scheme + separator + ("..." if "@" in options else place.rpartition("@")[2])

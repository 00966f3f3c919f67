"""Open the store of a URL."""

from seqkeras._checks import bad_argument
from seqkeras.serve._store import Store, without_password


def open_store(url: str, *, durability: str = "disk", ttl: float | None = None) -> Store | None:
    """Open the store of a URL.

    Args:
        url: `"memory"`, `"sqlite:///sessions.db"` (a relative path; with four slashes an absolute
            one) or `"redis://user:password@host:port/0"`; with `?replicas=N` after it, a
            step is acknowledged only once `N` replicas of the server have it.
        durability: of a SQLite store: `"process"`, a step that was answered survives a killed
            process; `"disk"`, the default, it also survives a power loss. Redis has settings of
            its own for this.
        ttl: seconds after which Redis may remove a session.

    Returns:
        The store, or None for `"memory"`.

    Raises:
        ArgumentError: the URL is of another kind.
        StoreUnavailableError: the store cannot be opened.
    """
    if url == "memory":
        return None
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        from seqkeras.serve._sqlite_store import SqliteStore

        return SqliteStore(url.removeprefix("sqlite:///"), durability=durability)
    if url.startswith(("redis://", "rediss://", "unix://")):
        from seqkeras.serve._redis_store import RedisStore

        return RedisStore(url, ttl=ttl)
    expected = "'memory', 'sqlite:///FILE' or 'redis://HOST:PORT/0'"
    raise bad_argument("store", without_password(url), expected)

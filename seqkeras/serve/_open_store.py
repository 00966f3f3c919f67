"""Open the store of a URL."""

from seqkeras._checks import bad_argument
from seqkeras.serve._store import Store, without_password

_SQLITE = "sqlite:///"
_REDIS = ("redis://", "rediss://", "unix://")


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
    check_url(url)
    if url.startswith(_SQLITE):
        from seqkeras.serve._sqlite_store import SqliteStore

        return SqliteStore(url.removeprefix(_SQLITE), durability=durability)
    from seqkeras.serve._redis_store import RedisStore

    return RedisStore(url, ttl=ttl)


def check_url(url: str) -> None:
    """Check the kind of a URL, without opening the store.

    Raises:
        ArgumentError: the URL is of another kind.
    """
    is_file = url.startswith(_SQLITE) and url != _SQLITE
    if url != "memory" and not is_file and not url.startswith(_REDIS):
        expected = "'memory', 'sqlite:///FILE' or 'redis://HOST:PORT/0'"
        raise bad_argument("store", without_password(url), expected)

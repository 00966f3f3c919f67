"""Sessions in Redis, where several replicas of a service share them."""

import contextlib
import math
import os
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from seqkeras._checks import Description, bad_argument, check_integer, check_positive
from seqkeras.serve._record import Record, pack, unpack
from seqkeras.serve._store import Damaged, StoreUnavailableError, without_password

#: Begins the name of every session in Redis.
PREFIX = "seqkeras:session:"

#: Written by `check`, and before Redis is asked how many replicas have everything.
PROBE = "seqkeras:probe"

#: Bytes of a version: random, so that a session that was deleted and began again has another.
VERSION_BYTES = 8

#: Version of the format, length of the fingerprint, steps and time; after the version.
_HEADER = struct.Struct("<BHqd")

FORMAT = 1

#: Store each session whose version is the expected one, and return the places of the others.
#: Redis runs a script as a whole, so no other replica comes between. ARGV begins with the
#: milliseconds until a session ends (0: never); then follow, for each key, the expected version
#: and the new value. A key that does not exist has an empty version.
_COMMIT = f"""
local conflicts = {{}}
for i, key in ipairs(KEYS) do
  if redis.call('GETRANGE', key, 0, {VERSION_BYTES - 1}) ~= ARGV[2 * i] then
    conflicts[#conflicts + 1] = i - 1
  elseif ARGV[1] == '0' then
    redis.call('SET', key, ARGV[2 * i + 1])
  else
    redis.call('SET', key, ARGV[2 * i + 1], 'PX', ARGV[1])
  end
end
return conflicts
"""

#: Most keys of the database that `count` and `keys` look at, and how many in one command.
SCAN_LIMIT = 100_000
SCAN_PAGE = 1_000

#: Seconds without an attempt after Redis could not be reached, so that waiting requests are
#: refused at once instead of one timeout after another.
PAUSE = 0.25

#: Options of a URL that go to the client; all of TLS begin with "ssl_".
_OPTIONS = ("db", "username", "password", "client_name")

#: Part of the timeout that Redis may wait for its replicas.
_REPLICATION_SHARE = 0.8


class RedisStore:
    """Sessions in one Redis server, one key each, which any number of services can share.

    A session is stored only if its version is still that of the last `load`, so that two services
    never both move it. When the connection breaks during a commit, it is unknown whether Redis
    has stored the sessions; the commit then fails, and a step that is sent again with its number
    gets the stored output, or is computed now.

    What Redis can lose is decided by its settings. With `appendonly yes` and `appendfsync always`,
    stored steps survive a crash of the server. Replicas are written later than the server itself:
    if it fails and a replica takes over, the newest steps are lost, unless `replicas` says how
    many must have them first. A session that has gone back refuses the next step and names the
    expected number. Redis removes sessions under a memory limit only with a `maxmemory-policy`
    that allows it; they then begin anew. Redis Cluster is not supported.

    Args:
        url: `"redis://user:password@host:port/0"`, `"rediss://..."` with TLS, or
            `"unix:///path?db=0"`. It may end in `?replicas=N`.
        ttl: seconds after its last request when Redis removes a session. None: never.
        timeout: seconds to wait for Redis, default 1.
        replicas: number of replicas that must have a change before it is acknowledged, default 0.

    Raises:
        ArgumentError: the URL or another argument is invalid.
        StoreUnavailableError: the server cannot be reached or written, or refuses the password.
    """

    name = "redis"
    shared = True

    def __init__(
        self, url: str, *, ttl: float | None = None, timeout: float = 1.0, replicas: int = 0
    ) -> None:
        address, replicas = _options(url, replicas)
        self._place = without_password(url)
        self._ttl = 0 if ttl is None else math.ceil(check_positive("ttl", ttl) * 1000)
        self._replicas = check_integer("replicas", replicas, minimum=0)
        self._timeout = check_positive("timeout", timeout)
        self._paused_until = -math.inf
        self._last_reason = ""
        self._client = _client(address, url, self._timeout)
        self._password = self._client.get_connection_kwargs().get("password")
        try:
            self.check()
        except BaseException:
            self.close()
            raise

    def load(self, keys: Sequence[str]) -> list[Record | Damaged | None]:
        if not keys:
            return []
        with self._errors():
            values: Any = self._client.mget([PREFIX + key for key in keys])
        return [_record(key, value) for key, value in zip(keys, values, strict=True)]

    def commit(self, records: Sequence[Record]) -> set[str]:
        if not records:
            return set()
        random = os.urandom(VERSION_BYTES * len(records))
        values: list[bytes] = []
        for i, record in enumerate(records):
            version = random[VERSION_BYTES * i : VERSION_BYTES * (i + 1)]
            values += [record.version, _value(record, version)]
        names = [PREFIX + record.key for record in records]
        # The whole script is sent each time: its name would be unknown to a server that was
        # started again or took over, and a batch of sessions needs it once.
        conflicts = self._write("EVAL", _COMMIT, len(names), *names, self._ttl, *values)
        return {records[place].key for place in conflicts}

    def delete(self, keys: Sequence[str]) -> int:
        return self._write("DEL", *(PREFIX + key for key in keys)) if keys else 0

    def expire(self, before: float) -> int:
        """Return 0: Redis itself removes each session `ttl` seconds after its last request."""
        return 0

    def count(self, prefix: str = "") -> int:
        """Count sessions, or estimate their number in a database of more than 100,000 keys.

        The estimate is the share of the first 100,000 keys, which Redis returns in the order of
        their hashes.
        """
        sessions = visited = 0
        for page in self._pages(prefix, PREFIX):
            visited += SCAN_PAGE
            sessions += len(page)
        if visited < SCAN_LIMIT:
            return sessions
        with self._errors():
            total: Any = self._client.dbsize()
        return sessions if total <= visited else round(sessions * total / visited)

    def keys(self, prefix: str, limit: int) -> Iterable[str]:
        """Return keys among the first 100,000 of the database, in no order."""
        names: dict[str, None] = {}
        for page in self._pages(prefix, PREFIX):
            names.update(dict.fromkeys(name.decode()[len(PREFIX) :] for name in page))
            if len(names) >= limit:
                break
        return list(names)[:limit]

    def check(self) -> None:
        self._write("SET", PROBE, b"", "PX", 60_000)

    def close(self) -> None:
        self._client.close()

    def _pages(self, prefix: str, start: str) -> Iterator[list[bytes]]:
        """Return the names of sessions page by page, until enough keys were looked at."""
        match = start + "".join(f"\\{sign}" if sign in "*?[]\\" else sign for sign in prefix) + "*"
        cursor = 0
        for _ in range(SCAN_LIMIT // SCAN_PAGE):
            with self._errors():
                reply: Any = self._client.scan(cursor, match=match, count=SCAN_PAGE)
            cursor, page = reply
            yield page
            if not cursor:
                return

    def _write(self, *command: Any) -> Any:
        """Run a command that writes, and wait until enough replicas have it."""
        with self._errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.execute_command(*command)
            if self._replicas:
                # WAIT waits for the last write of this connection, and the command may have
                # found nothing to write.
                milliseconds = math.ceil(1000 * _REPLICATION_SHARE * self._timeout)
                pipeline.execute_command("SET", PROBE, b"", "PX", 60_000)
                pipeline.execute_command("WAIT", self._replicas, milliseconds)
            # Errors that the pipeline raises itself would quote the command.
            replies = pipeline.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        if self._replicas and replies[-1] < self._replicas:
            reason = f"{replies[-1]} of {self._replicas} replicas have stored it in time"
            raise StoreUnavailableError(f"{self._place}: {reason}")
        return replies[0]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of the client into ours, without the password."""
        if time.monotonic() < self._paused_until:
            raise StoreUnavailableError(self._last_reason)
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            unavailable = self._unavailable(error)
            self._paused_until = time.monotonic() + PAUSE
            self._last_reason = str(unavailable)
            raise unavailable from None
        except redis.RedisError as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        reason = str(error) or type(error).__name__
        if self._password:
            reason = reason.replace(self._password, "***")
        return StoreUnavailableError(f"{self._place}: {reason}")


def _value(record: Record, version: bytes) -> bytes:
    """Return what Redis stores of a session."""
    fingerprint = record.fingerprint.encode()
    header = _HEADER.pack(FORMAT, len(fingerprint), record.steps, record.seen)
    return b"".join((version, header, fingerprint, pack(record)))


def _record(key: str, value: bytes | None) -> Record | Damaged | None:
    """Return the session that Redis has stored."""
    if value is None:
        return None
    version = value[:VERSION_BYTES]
    start = VERSION_BYTES + _HEADER.size
    if len(value) < start:
        return Damaged(key, version)
    number, length, steps, seen = _HEADER.unpack_from(value, VERSION_BYTES)
    if number != FORMAT or not math.isfinite(seen):
        return Damaged(key, version)
    fingerprint = value[start : start + length].decode(errors="replace")
    record = Record(key, fingerprint, steps, seen, b"", version=version)
    return unpack(record, value[start + length :]) or Damaged(key, version)


def _options(url: str, replicas: int) -> tuple[str, int]:
    """Return the URL without our own option, and that option."""
    address, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    text = options.pop("replicas", None)
    if text is not None:
        if not text.isdecimal():
            raise bad_argument("store", Description(f"replicas={text}"), "a URL with replicas=N")
        replicas = int(text)
    for name in options:
        if name not in _OPTIONS and not name.startswith("ssl_"):
            expected = f"a URL with the options replicas, {', '.join(_OPTIONS)} or ssl_..."
            raise bad_argument("store", Description(f"the option {name!r}"), expected)
    return f"{address}?{urlencode(options)}" if options else address, replicas


def _client(address: str, url: str, timeout: float) -> redis.Redis:
    """Return a client that never sends a command twice; a repeated commit would conflict."""
    try:
        client = redis.Redis.from_url(
            address,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        client.connection_pool.make_connection()
    except (ValueError, TypeError, redis.RedisError):
        # The reason would quote the URL with its password.
        expected = "'redis://user:password@host:port/0', with special characters as %.."
        raise bad_argument("store", without_password(url), expected) from None
    return client

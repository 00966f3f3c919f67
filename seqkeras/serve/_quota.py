"""The largest number of sessions of one client."""

import time
from collections.abc import Callable

from seqkeras.serve._refusal import RefusedError

#: Seconds for which a count is trusted; expired sessions make it smaller.
FRESH = 10.0

#: The same for a client that has too many, whose requests must not count all sessions each time.
FRESH_IF_FULL = 1.0


class Quota:
    """Refuses new sessions of clients that have too many.

    Args:
        most: most sessions of a client.
        count: returns the number of sessions whose key begins with a prefix.
        clock: returns seconds.
    """

    def __init__(
        self,
        most: int,
        count: Callable[[str], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._count = count
        self._clock = clock
        self._counts: dict[str, tuple[float, int]] = {}

    def admit(self, key: str) -> None:
        """Count a new session.

        Raises:
            RefusedError: 429, its client has too many.
        """
        client, slash, _ = key.rpartition("/")
        prefix = client + slash
        now = self._clock()
        time_of_count, count = self._counts.get(prefix, (-FRESH, 0))
        full = count >= self._most
        if now - time_of_count >= (FRESH_IF_FULL if full else FRESH):
            count = self._count(prefix)
            time_of_count = now
            self._counts[prefix] = (time_of_count, count)
        if count >= self._most:
            message = f"A client may have {self._most} sessions. Delete some first."
            raise RefusedError(429, "too_many_sessions", message, retry_after=60)
        self._counts[prefix] = (time_of_count, count + 1)

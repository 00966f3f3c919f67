"""One HTTP request to the hot routes of the service."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from seqkeras.serve._messages import JSON, MSGPACK
from seqkeras.serve._refusal import RefusedError, late

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

#: Path of the sessions; the id and the action follow.
SESSIONS = "/v1/sessions/"

JSON_HEADER = (b"content-type", JSON.encode())
MSGPACK_HEADER = (b"content-type", MSGPACK.encode())


class ServiceRequest:
    """One request and what its reply needs to know.

    Attributes:
        route: name of the route, for metrics.
        packed: whether bodies are MessagePack.
        steps: observations read.
    """

    __slots__ = (
        "_limit", "_reading", "_receive", "headers", "method", "packed", "path", "refused",
        "route", "steps",
    )  # fmt: skip

    def __init__(
        self, scope: Scope, receive: Receive, limit: int, reading: dict[Any, float]
    ) -> None:
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        self.packed = MSGPACK_HEADER in self.headers
        self.route = "unknown"
        self.steps = 0
        self.refused: Exception | None = None
        self._receive = receive
        self._limit = limit
        self._reading = reading

    def need(self, *methods: str) -> None:
        """Refuse requests with another method."""
        if self.method not in methods:
            allow = ", ".join(methods)
            message = f"{self.path} takes {allow}. Got: {self.method}."
            raise RefusedError(405, "wrong_method", message, allow=allow)

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            RefusedError: it is too large, did not arrive in time, or the client has gone.
        """
        task: Any = asyncio.current_task()
        self._reading[task] = time.monotonic()
        try:
            message = await self._receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body"):
                body = await self._rest(bytearray(body))
        except asyncio.CancelledError:
            if task in self._reading:
                raise
            raise late() from None
        finally:
            self._reading.pop(task, None)
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "disconnected", "The client has gone.")
        if len(body) > self._limit:
            raise self._too_large()
        return body

    async def _rest(self, body: bytearray) -> bytes:
        more = True
        while more:
            if len(body) > self._limit:
                raise self._too_large()
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "disconnected", "The client has gone.")
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(body)

    def _too_large(self) -> RefusedError:
        message = f"A body has at most {self._limit} bytes. Send several requests."
        return RefusedError(413, "too_large", message)

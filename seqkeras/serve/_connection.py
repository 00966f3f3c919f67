"""HTTP connections: requests begin in time and in bounds, and steps are answered directly."""

import re
from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from seqkeras.serve._client_tokens import ID_PATTERN
from seqkeras.serve._refusal import late
from seqkeras.serve._step_cycle import StepCycle

#: Most bytes of the method, the path and the headers of a request, if they arrive in parts.
LARGEST_HEAD = 2**16

#: Most bytes of the body of a step that is answered directly.
LARGEST_STEP = 2**16

#: Most requests of a connection that wait for the one before.
MOST_AHEAD = 1_000

_STEP = re.compile(f"/v1/sessions/({ID_PATTERN})/step".encode())


class Connection(HttpToolsProtocol):
    """A uvicorn connection that ends if a request is too slow, its head is too large, or too many
    requests wait.

    uvicorn waits for the end of a head without a limit, and stores what has arrived, also requests
    sent ahead of replies. A head, and the body of a step, has at least the service's `timeout`,
    and at most twice that.

    The service is in the state of the application's lifespan. It answers plain steps without the
    application; everything else, and what a `StepCycle` cannot do, reaches the application as
    usual.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = 0
        self._look: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()

    def data_received(self, data: bytes) -> None:
        """Count the requests that wait, and the bytes of a head that is incomplete."""
        before = self.scope
        super().data_received(data)
        if len(self.pipeline) > MOST_AHEAD:
            self.transport.close()
        cycle = self.cycle
        complete = cycle is not None and cycle.scope is self.scope
        if complete or self.scope is not before:  # most of the data may be earlier requests
            self._head = 0
            return
        self._head += len(data)
        if self._head > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {LARGEST_HEAD} bytes.")

    def on_message_begin(self) -> None:
        """Begin a request, so that the connection is no longer idle."""
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to receive a step, or any other request."""
        cycle = self._step_cycle()
        if cycle is None:
            super().on_headers_complete()
        else:
            self.cycle = cycle  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """Answer a step, or hand on the end of another request."""
        super().on_message_complete()
        cycle: Any = self.cycle
        is_of_this = type(cycle) is StepCycle and cycle.scope is self.scope
        if is_of_this and not cycle.response_complete:
            cycle.answer()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it has begun."""
        super().on_response_complete()
        if self.cycle.scope is not self.scope:
            self._unset_keepalive_if_required()

    def _step_cycle(self) -> StepCycle | None:
        """Return what answers this request if it is a plain step and nothing is before it."""
        path = _STEP.fullmatch(self.url)
        if path is None or self.parser.get_method() != b"POST" or self.expect_100_continue:
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        service = self.app_state["service"]
        is_small = length.isdigit() and int(length) <= min(LARGEST_STEP, service.settings.max_body)
        is_alone = self.cycle is None or self.cycle.response_complete
        has_room = (
            len(self.connections) < service.settings.max_connections and not self.flow.write_paused
        )
        if is_small and is_alone and has_room and b"upgrade" not in headers:
            return StepCycle(self, service, path[1].decode(), headers)
        return None

    def _wait(self) -> None:
        seconds = self.app_state["service"].settings.timeout
        self._look = self.loop.call_later(seconds, self._end_if_waiting, self.scope)

    def _end_if_waiting(self, scope: Any) -> None:
        """Close the connection if it waits for the same head or step as at the last look."""
        self._look = None
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # it has become a WebSocket
        cycle: Any = self.cycle
        complete = cycle is not None and cycle.scope is self.scope
        if self.scope is scope and not complete:
            self.transport.close()
        elif self.scope is scope and type(cycle) is StepCycle and cycle.more_body:
            cycle.finish(late())
        else:
            self._wait()

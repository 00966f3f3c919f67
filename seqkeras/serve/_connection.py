"""HTTP connections whose requests must begin in time and in bounds."""

from asyncio import TimerHandle, Transport
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

#: Most bytes of the method, the path and the headers of a request, if they arrive in parts.
LARGEST_HEAD = 2**16


class Connection(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """A connection of uvicorn that ends if the head of a request is too slow or too large.

    uvicorn waits for the end of a head without a limit, and stores what has arrived. The seconds
    are `timeout` in the state of the application's lifespan; a head has at least these, and at
    most twice as many.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = 0
        self._look: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head that is incomplete."""
        super().data_received(data)
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:  # its head was complete
            self._head = 0
            return
        self._head += len(data)
        if self._head > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {LARGEST_HEAD} bytes.")

    def _wait(self) -> None:
        seconds = self.app_state.get("timeout", 10.0)
        self._look = self.loop.call_later(seconds, self._end_if_waiting, self.scope)

    def _end_if_waiting(self, scope: Any) -> None:
        """Close the connection if it waits for the end of the same head as at the last look."""
        self._look = None
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # it has become a WebSocket
        complete = self.cycle is not None and self.cycle.scope is self.scope
        if self.scope is scope and not complete:
            self.transport.close()
        else:
            self._wait()

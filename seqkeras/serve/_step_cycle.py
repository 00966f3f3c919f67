"""The request and reply of one step over HTTP, without a task and without messages of ASGI."""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from seqkeras.serve._failures import failure, failure_headers
from seqkeras.serve._messages import JSON, MSGPACK, StepBody, decode, encode
from seqkeras.serve._service import Service
from seqkeras.serve._single_step import quick_reply, submit_step

_OK = {
    kind: b"%bcontent-type: %b\r\ncontent-length: " % (STATUS_LINE[200], kind.encode())
    for kind in (JSON, MSGPACK)
}


class StepCycle:
    """Stands in for uvicorn's `RequestResponseCycle` where a connection receives a step.

    A task, an event and three messages for each request take longer than the step. So the
    connection calls `answer` when the body is complete, and the reply is one write.

    Args:
        connection: uvicorn's protocol, which reads and sets the public attributes.
        service: moves the session.
        session: id of the session.
        headers: those of the request.
    """

    #: Set by uvicorn when the connection is lost; nothing waits for it.
    message_event = asyncio.Event()

    __slots__ = (
        "_connection", "_headers", "_packed", "_service", "_session", "_start", "body",
        "disconnected", "keep_alive", "more_body", "response_complete", "scope",
    )  # fmt: skip

    def __init__(
        self, connection: Any, service: Service, session: str, headers: dict[bytes, bytes]
    ) -> None:
        self.scope = connection.scope
        parser = connection.parser
        self.keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_complete = False
        self._connection = connection
        self._service = service
        self._session = session
        self._headers = headers
        self._packed = headers.get(b"content-type") == MSGPACK.encode()
        self._start = time.perf_counter()

    def answer(self) -> None:
        """Take the step, and reply at once or when it is durable."""
        service = self._service
        try:
            client = service.access.client(self._headers)
            body = decode(StepBody, bytes(self.body), packed=self._packed)
            reply: Any = quick_reply(service, client, self._session, body)
            if reply is None:
                submit_step(service, client, self._session, body, self.finish)
                return
        except Exception as error:
            reply = error
        self.finish(reply)

    def finish(self, reply: dict[str, Any] | Exception) -> None:
        """Send the reply, and let the connection go on with the next request."""
        status = 200
        error = reply if isinstance(reply, Exception) else None
        if error is not None:
            status, reply = failure(error)
        body = encode(reply, packed=self._packed)
        self._service.meter.count("step", status, time.perf_counter() - self._start, not error)
        self.response_complete = True
        connection, self._connection = self._connection, None  # which has this object as `cycle`
        if self.disconnected:
            return
        kind = MSGPACK if self._packed else JSON
        head = _OK[kind] if error is None else self._head(kind, status, error)
        ending = b"\r\n\r\n" if self.keep_alive else b"\r\nconnection: close\r\n\r\n"
        connection.transport.write(b"%b%d%b%b" % (head, len(body), ending, body))
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

    def _head(self, kind: str, status: int, error: Exception) -> bytes:
        """Return the status line and the headers of an error, up to the length of the body."""
        lines = [STATUS_LINE[status], b"content-type: %b\r\n" % kind.encode()]
        for name, value in failure_headers(error):
            if name == b"connection":
                self.keep_alive = False
            else:
                lines.append(b"%b: %b\r\n" % (name, value))
        return b"".join([*lines, b"content-length: "])

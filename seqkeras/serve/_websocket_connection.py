"""WebSockets of uvicorn whose steps are answered directly."""

import time
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from seqkeras.serve._messages import StepBody, decode, encode
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._single_step import quick_reply


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket that answers a step itself if it can be taken at once.

    Otherwise, and while an earlier message has no reply, messages reach the application `stream`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unanswered = 0

    def send_receive_event_to_app(self) -> None:
        """Answer a message, or hand it to the application."""
        if not self._answer():
            self._unanswered += 1
            super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Send a reply of the application."""
        await super().send(message)
        if message["type"] == "websocket.send":
            self._unanswered -= 1

    def _answer(self) -> bool:
        """Take the step and reply, or return False and change nothing."""
        service = self.app_state["service"]
        owner: Any = self.scope["state"].get("session")  # set by `stream` when it accepts
        writable = self.writable.is_set() and self.conn.state is State.OPEN
        if owner is None or self._unanswered or len(self.frames) > 1 or not writable:
            return False
        if service.runner.quick_step is None:
            return False
        start = time.perf_counter()
        packed = self.curr_msg_data_type == "bytes"
        try:
            body = decode(StepBody, bytes(self.frames[0]), packed=packed)
        except RefusedError:
            return False
        client, session = owner
        reply = quick_reply(service, client, session, body)
        if reply is None:
            return False
        send = self.conn.send_binary if packed else self.conn.send_text
        send(encode(reply, packed=packed))
        self.transport.write(b"".join(self.conn.data_to_send()))
        service.meter.count("stream", 200, time.perf_counter() - start, 1)
        return True

"""Steps of one session over a WebSocket."""

import time
from typing import Any

from seqkeras.serve._client_tokens import check_id
from seqkeras.serve._failures import failure
from seqkeras.serve._messages import StepBody, decode, encode
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._service import Service
from seqkeras.serve._service_request import SESSIONS, Receive, Scope, Send
from seqkeras.serve._single_step import step_reply

#: WebSocket close code for a connection that may not be made.
FORBIDDEN = 1008


async def stream(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer each message `{"x": ..., "step": n}` with `{"y": ..., "step": n}`, in order.

    Text is JSON and bytes are MessagePack. A step that is refused is answered with its error, and
    the connection stays open.
    """
    await receive()
    path: str = scope["path"]
    try:
        client = service.access.client(dict(scope["headers"]))
        session, _, action = path.removeprefix(SESSIONS).partition("/")
        check_id(session)
        is_stream = path.startswith(SESSIONS) and action == "stream"
    except RefusedError:
        is_stream = False
    if not is_stream:
        await send({"type": "websocket.close", "code": FORBIDDEN})
        return
    if "state" in scope:  # where `WebSocketConnection` finds it
        scope["state"]["session"] = (client, session)
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        start = time.perf_counter()
        text = message.get("text")
        packed = text is None
        data: Any = message["bytes"] if packed else text
        try:
            body = decode(StepBody, data, packed=packed)
            reply = await step_reply(service, client, session, body)
            status = 200
        except Exception as error:
            status, reply = failure(error)
        encoded = encode(reply, packed=packed)
        content = {"bytes": encoded} if packed else {"text": encoded.decode()}
        await send({"type": "websocket.send", **content})
        seconds = time.perf_counter() - start
        service.meter.count("stream", status, seconds, int(status == 200))

"""The ASGI application: routes of sessions by hand, because they are hot, and the rest in pages."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from seqkeras.serve._access import check_id
from seqkeras.serve._many_steps import many_reply
from seqkeras.serve._messages import (
    JSON,
    MSGPACK,
    ManyBody,
    RolloutBody,
    StateBody,
    StepBody,
    StepsBody,
    decode,
    encode_json,
    encode_msgpack,
)
from seqkeras.serve._refusal import RefusedError, failed
from seqkeras.serve._service import Service
from seqkeras.serve._service_settings import ServiceSettings
from seqkeras.serve._sessions import Call
from seqkeras.serve._single_step import quick_reply, step_reply
from seqkeras.serve._status import recent, status

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

SESSIONS = "/v1/sessions/"

#: Longest rollout of one request.
MOST_STEPS = 10_000

_JSON_HEADER = (b"content-type", JSON.encode())
_MSGPACK_HEADER = (b"content-type", MSGPACK.encode())


class Application:
    """The service as an ASGI application.

    Args:
        service: what the routes work on.
        pages: an ASGI application for every other path.
    """

    def __init__(self, service: Service, pages: Any) -> None:
        self.service = service
        self._pages = pages
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._watch: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        kind = scope["type"]
        if kind == "http":
            if scope["path"].startswith("/v1/s"):
                await self._request(scope, receive, send)
            else:
                await self._pages(scope, receive, send)
        elif kind == "websocket":
            from seqkeras.serve._stream import stream

            await stream(self.service, scope, receive, send)
        else:
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.service.start()
        self._watch = asyncio.create_task(self._cut_off_slow_clients())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._watch.cancel()
        await self.service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        exchange = Exchange(scope, receive, self.service.settings.max_body, self._reading)
        try:
            reply = await self._route(exchange)
            status = 200
        except Exception as error:
            status, reply = failure(error)
            exchange.refused = error
        body = encode_msgpack(reply) if exchange.packed else encode_json(reply)
        headers = [
            _MSGPACK_HEADER if exchange.packed else _JSON_HEADER,
            (b"content-length", b"%d" % len(body)),
        ]
        if status >= 400:
            headers += failure_headers(exchange.refused)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        seconds = time.perf_counter() - start
        if exchange.route:
            self.service.meter.count(exchange.route, status, seconds, exchange.steps)

    def _route(self, exchange: "Exchange") -> Awaitable[Any]:
        path = exchange.path
        client = self.service.access.client(exchange.headers)
        if path.startswith(SESSIONS):
            session, _, action = path[len(SESSIONS) :].partition("/")
            if action == "step":
                return self._step(exchange, session, client)
            key = f"{client}/{check_id(session)}"
            return self._session(exchange, client, session, key, action)
        if path == "/v1/steps":
            exchange.need("POST")
            return self._many(exchange, client)
        if path == "/v1/sessions":
            exchange.need("GET")
            return self._list(exchange, client)
        if path == "/v1/status":
            exchange.need("GET")
            return self._status(exchange)
        raise RefusedError(404, "unknown_path", f"There is no path {path!r}. See /docs.")

    async def _step(self, exchange: "Exchange", session: str, client: str) -> Any:
        exchange.need("POST")
        exchange.route = "step"
        body = decode(StepBody, await exchange.body(), packed=exchange.packed)
        service = self.service
        reply = quick_reply(service, client, session, body)
        if reply is None:
            reply = await step_reply(service, client, session, body)
        exchange.steps = 1
        return reply

    async def _session(
        self, exchange: "Exchange", client: str, session: str, key: str, action: str
    ) -> Any:
        service = self.service
        exchange.route = action or "session"
        if action == "steps":
            exchange.need("POST")
            return await self._steps(exchange, session, key)
        if action == "rollout":
            exchange.need("POST")
            body = decode(RolloutBody, await exchange.body(), packed=exchange.packed)
            if not 1 <= body.steps <= MOST_STEPS:
                message = f"steps must be 1 to {MOST_STEPS}. Got: {body.steps}."
                raise RefusedError(422, "wrong_body", message)
            rollout = service.sessions.rollout
            outputs = await service.runner.do(rollout, key, body.steps, body.future, session)
            return {"y": outputs}
        if action == "warmup":
            exchange.need("POST")
            count = await service.runner.do(service.sessions.warm_up, key, session)
            return {"inputs": count}
        if action == "recent":
            exchange.need("GET")
            exchange.route = ""
            await service.runner.do(service.sessions.export, key)  # raises if there is none
            return recent(service, session, key)
        if action:
            exchange.route = "unknown"
            raise RefusedError(404, "unknown_path", f"There is no path {exchange.path!r}.")
        return await self._whole(exchange, session, key)

    async def _whole(self, exchange: "Exchange", session: str, key: str) -> Any:
        """Export, import or delete a session."""
        service = self.service
        if exchange.method == "GET":
            record = await service.runner.do(service.sessions.export, key)
            return {
                "id": session,
                "step": record.steps,
                "seen": record.seen,
                "fingerprint": record.fingerprint,
                "state": record.state,
            }
        if exchange.method == "PUT":
            state = decode(StateBody, await exchange.body(), packed=exchange.packed)
            replace = service.sessions.replace
            await service.runner.do(replace, key, state.state, state.step, state.fingerprint)
            service.recorder.drop(key)
            return {"id": session, "step": state.step}
        exchange.need("GET", "PUT", "DELETE")
        service.recorder.drop(key)
        return {"deleted": await service.runner.do(service.sessions.delete, key)}

    async def _steps(self, exchange: "Exchange", session: str, key: str) -> Any:
        body = decode(StepsBody, await exchange.body(), packed=exchange.packed)
        model = self.service.sessions.model
        self._check_batch(len(body.x))
        x = np.concatenate([model.read(row) for row in body.x])
        moved = await self.service.runner.move(Call(key, x, body.step, session, model.fingerprint))
        exchange.steps = len(x)
        if self.service.recorder.watched:
            self.service.recorder.add(key, moved.number, x, moved.outputs)
        return {"y": [model.write(row) for row in moved.outputs], "step": moved.number}

    async def _many(self, exchange: "Exchange", client: str) -> Any:
        exchange.route = "many"
        body = decode(ManyBody, await exchange.body(), packed=exchange.packed)
        self._check_batch(len(body.sessions))
        reply, exchange.steps = await many_reply(self.service, client, body, packed=exchange.packed)
        return reply

    async def _list(self, exchange: "Exchange", client: str) -> Any:
        exchange.route = "sessions"
        prefix = f"{client}/"
        listed = await self.service.runner.do(self.service.sessions.list, prefix, 100)
        return {
            "sessions": [
                {"id": key[len(prefix) :], "step": steps, "seen": seen}
                for key, steps, seen in listed
            ]
        }

    async def _status(self, exchange: "Exchange") -> Any:
        exchange.route = ""  # what the page asks for is not counted: it would measure itself
        return status(self.service)

    def _check_batch(self, size: int) -> None:
        most = self.service.settings.max_batch
        if not 1 <= size <= most:
            message = f"A request must have 1 to {most} observations. Got: {size}."
            raise RefusedError(422, "wrong_body", message)

    async def _cut_off_slow_clients(self) -> None:
        """Cancel requests whose body does not arrive in time."""
        while True:
            await asyncio.sleep(1)
            overdue = time.monotonic() - self.service.settings.timeout
            for task, started in list(self._reading.items()):
                if started < overdue:
                    del self._reading[task]
                    task.cancel()


class Exchange:
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
        self.packed = _MSGPACK_HEADER in self.headers
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
            raise RefusedError(408, "timeout", "The body did not arrive in time.") from None
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


def failure(error: Exception) -> tuple[int, dict[str, Any]]:
    """Return status and body of the reply to a request that raised an error."""
    refusal = failed(error)
    return refusal.status, refusal.body()


def failure_headers(error: Exception | None) -> list[tuple[bytes, bytes]]:
    """Return the headers that belong to an error."""
    headers = []
    if isinstance(error, RefusedError):
        if error.retry_after is not None:
            headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
        if error.status == 405:
            headers.append((b"allow", error.details["allow"].encode()))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if error.status in (408, 413):
            headers.append((b"connection", b"close"))
    return headers


def create_app(program: str, **settings: Any) -> Application:
    """Create the service as an ASGI application, for uvicorn or any other server.

    Args:
        program: path of the file to serve.
        **settings: fields of `ServiceSettings`; others come from the environment.

    Raises:
        ArgumentError: a setting cannot work.
        FileFormatError: the program is damaged.
    """
    from seqkeras.serve._pages import pages

    service = Service(ServiceSettings.from_environment(program=program, **settings))
    return Application(service, pages(service))

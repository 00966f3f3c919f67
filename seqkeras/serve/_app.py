"""The ASGI application: routes of sessions by hand, because they are hot, and the rest in pages."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import numpy as np

from seqkeras.serve._client_tokens import check_id
from seqkeras.serve._failures import failure, failure_headers
from seqkeras.serve._many_steps import many_reply
from seqkeras.serve._messages import (
    MOST_STEPS,
    ManyBody,
    RolloutBody,
    StateBody,
    StepBody,
    StepsBody,
    decode,
    encode,
)
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._service import Service
from seqkeras.serve._service_request import (
    JSON_HEADER,
    MSGPACK_HEADER,
    SESSIONS,
    Receive,
    Scope,
    Send,
    ServiceRequest,
)
from seqkeras.serve._sessions import Call
from seqkeras.serve._single_step import step_reply
from seqkeras.serve._status import recent, status
from seqkeras.serve._websocket import stream


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
            await stream(self.service, scope, receive, send)
        else:
            await self._lifespan(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if "state" in scope:  # where `Connection` finds it
            scope["state"]["service"] = self.service
        await self.service.start()
        self._watch = asyncio.create_task(self._cut_off_slow_clients())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._watch.cancel()
        await self.service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        request = ServiceRequest(scope, receive, self.service.settings.max_body, self._reading)
        try:
            reply = await self._route(request)
            code = 200
        except Exception as error:
            code, reply = failure(error)
            request.refused = error
        body = encode(reply, packed=request.packed)
        headers = [
            MSGPACK_HEADER if request.packed else JSON_HEADER,
            (b"content-length", b"%d" % len(body)),
        ]
        if code >= 400:
            headers += failure_headers(request.refused)
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        seconds = time.perf_counter() - start
        if request.route:
            self.service.meter.count(request.route, code, seconds, request.steps)

    def _route(self, request: ServiceRequest) -> Awaitable[Any]:
        path = request.path
        client = self.service.access.client(dict(request.headers))
        if path.startswith(SESSIONS):
            session, _, action = path[len(SESSIONS) :].partition("/")
            if action == "step":
                return self._step(request, session, client)
            key = f"{client}/{check_id(session)}"
            return self._session(request, client, session, key, action)
        if path == "/v1/steps":
            request.need("POST")
            return self._many(request, client)
        if path == "/v1/sessions":
            request.need("GET")
            return self._list(request, client)
        if path == "/v1/status":
            request.need("GET")
            return self._status(request)
        raise RefusedError(404, "unknown_path", f"There is no path {path!r}. See /docs.")

    async def _step(self, request: ServiceRequest, session: str, client: str) -> Any:
        request.need("POST")
        request.route = "step"
        body = decode(StepBody, await request.body(), packed=request.packed)
        reply = await step_reply(self.service, client, session, body)
        request.steps = 1
        return reply

    async def _session(
        self, request: ServiceRequest, client: str, session: str, key: str, action: str
    ) -> Any:
        service = self.service
        request.route = action or "session"
        if action == "steps":
            request.need("POST")
            return await self._steps(request, session, key)
        if action == "rollout":
            request.need("POST")
            body = decode(RolloutBody, await request.body(), packed=request.packed)
            if not 1 <= body.steps <= MOST_STEPS:
                message = f"steps must be 1 to {MOST_STEPS}. Got: {body.steps}."
                raise RefusedError(422, "wrong_body", message)
            start = service.sessions.rollout
            rollout = await service.runner.do(start, key, body.steps, body.future, session)
            return {"y": await service.rollouts.outputs(rollout)}
        if action == "warmup":
            request.need("POST")
            count = await service.runner.do(service.sessions.warm_up, key, session)
            return {"inputs": count}
        if action == "recent":
            request.need("GET")
            request.route = ""
            await service.runner.do(service.sessions.export, key)  # raises if there is none
            return recent(service, session, key)
        if action:
            request.route = "unknown"
            raise RefusedError(404, "unknown_path", f"There is no path {request.path!r}.")
        return await self._whole(request, session, key)

    async def _whole(self, request: ServiceRequest, session: str, key: str) -> Any:
        """Export, import or delete a session."""
        service = self.service
        if request.method == "GET":
            record = await service.runner.do(service.sessions.export, key)
            return {
                "id": session,
                "step": record.steps,
                "seen": record.seen,
                "fingerprint": record.fingerprint,
                "state": record.state,
            }
        if request.method == "PUT":
            state = decode(StateBody, await request.body(), packed=request.packed)
            replace = service.sessions.replace
            await service.runner.do(replace, key, state.state, state.step, state.fingerprint)
            service.recorder.drop(key)
            return {"id": session, "step": state.step}
        request.need("GET", "PUT", "DELETE")
        service.recorder.drop(key)
        return {"deleted": await service.runner.do(service.sessions.delete, key)}

    async def _steps(self, request: ServiceRequest, session: str, key: str) -> Any:
        body = decode(StepsBody, await request.body(), packed=request.packed)
        model = self.service.sessions.model
        self._check_batch(len(body.x))
        x = np.concatenate([model.read(row) for row in body.x])
        moved = await self.service.runner.move(Call(key, x, body.step, session, model.fingerprint))
        request.steps = len(x)
        if self.service.recorder.watched:
            self.service.recorder.add(key, moved.number, x, moved.outputs)
        return {"y": [model.write(row) for row in moved.outputs], "step": moved.number}

    async def _many(self, request: ServiceRequest, client: str) -> Any:
        request.route = "many"
        body = decode(ManyBody, await request.body(), packed=request.packed)
        self._check_batch(len(body.sessions))
        reply, request.steps = await many_reply(self.service, client, body, packed=request.packed)
        return reply

    async def _list(self, request: ServiceRequest, client: str) -> Any:
        request.route = "sessions"
        prefix = f"{client}/"
        listed = await self.service.runner.do(self.service.sessions.list, prefix, 100)
        return {
            "sessions": [
                {"id": key[len(prefix) :], "step": steps, "seen": seen}
                for key, steps, seen in listed
            ]
        }

    async def _status(self, request: ServiceRequest) -> Any:
        request.route = ""  # what the page asks for is not counted: it would measure itself
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

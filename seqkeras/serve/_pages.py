"""Everything that is not a session: model, health, metrics, documentation and the page."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seqkeras.errors import SeqkerasError
from seqkeras.serve._app import failure, failure_headers
from seqkeras.serve._metrics import exposition
from seqkeras.serve._service import Service

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def pages(service: Service) -> Starlette:
    """Return the application of these routes."""
    handlers = Pages(service)
    routes = [
        Route("/v1/model", handlers.model, methods=["GET", "POST"]),
        Route("/healthz", handlers.health),
        Route("/readyz", handlers.ready),
        Route("/metrics", handlers.metrics),
    ]
    return Starlette(routes=routes, exception_handlers={Exception: _failed})


class Pages:
    """The handlers of the routes.

    Args:
        service: what they show.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def model(self, request: Request) -> Response:
        """Describe the program, or load its file again."""
        service = self._service
        client = service.access.client(request.headers.raw)
        if request.method == "POST":
            service.access.check_admin(client)
            try:
                changed = await service.reload()
            except (SeqkerasError, OSError) as error:
                body = {"error": f"The old program goes on: {error}", "code": "wrong_program"}
                return JSONResponse(body, 409)
            return JSONResponse({"changed": changed, **describe(service)})
        return JSONResponse(describe(service))

    async def health(self, request: Request) -> Response:
        """Say that the process runs."""
        return JSONResponse({"alive": True})

    async def ready(self, request: Request) -> Response:
        """Say whether steps can be carried out now."""
        ready = await self._service.check()
        headers = None if ready else {"retry-after": "1"}
        return JSONResponse({"ready": ready}, 200 if ready else 503, headers)

    async def metrics(self, request: Request) -> Response:
        """Return the counters for Prometheus."""
        self._service.access.client(request.headers.raw)
        return Response(exposition(self._service), media_type=METRICS_TYPE)


def describe(service: Service) -> dict[str, Any]:
    """Return what a client can know about the model and the store."""
    sessions = service.sessions
    model = sessions.model
    store = sessions.store
    return {
        "name": model.name,
        "kind": model.kind,
        "fingerprint": model.fingerprint,
        "store": "memory" if store is None else store.name,
        "durability": service.settings.durability if store is not None else "memory",
        "history": service.settings.history,
        **model.describe(),
    }


async def _failed(request: Request, error: Exception) -> Response:
    status, body = failure(error)
    headers = {name.decode(): value.decode() for name, value in failure_headers(error)}
    return JSONResponse(body, status, headers)

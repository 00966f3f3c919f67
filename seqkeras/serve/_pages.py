"""Everything that is not a session: model, health, metrics, documentation and the page."""

from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seqkeras.errors import SeqkerasError
from seqkeras.serve._failures import failure, failure_headers
from seqkeras.serve._meter import exposition
from seqkeras.serve._openapi import openapi
from seqkeras.serve._service import Service

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Files of the pages, by path. They hold no data, so they need no token.
FILES = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/static/page.css": ("page.css", "text/css"),
    "/static/page.js": ("page.js", "text/javascript"),
    "/static/docs.js": ("docs.js", "text/javascript"),
    "/static/service.js": ("service.js", "text/javascript"),
    "/static/icon.svg": ("icon.svg", "image/svg+xml"),
}

#: Nothing from elsewhere is loaded, and no other page may show these or send their forms.
FILE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def pages(service: Service) -> Starlette:
    """Return the application of these routes."""
    handlers = Pages(service)
    routes = [
        Route("/v1/model", handlers.model, methods=["GET", "POST"]),
        Route("/healthz", handlers.health),
        Route("/readyz", handlers.ready),
        Route("/metrics", handlers.metrics),
        Route("/openapi.json", handlers.openapi),
        *(Route(path, _file(name, kind)) for path, (name, kind) in FILES.items()),
    ]
    return Starlette(
        routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed}
    )


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
        client = service.access.client(dict(request.headers.raw))
        if request.method == "POST":
            service.access.check_admin(client)
            if service.settings.workers > 1:
                message = "This reaches one of several workers: send SIGHUP to the service."
                return JSONResponse({"error": message, "code": "several_workers"}, 409)
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
        self._service.access.client(dict(request.headers.raw))
        return Response(exposition(self._service), media_type=METRICS_TYPE)

    async def openapi(self, request: Request) -> Response:
        """Describe all routes in OpenAPI."""
        self._service.access.client(dict(request.headers.raw))
        return JSONResponse(openapi(self._service))


def _file(name: str, kind: str) -> Any:
    """Return the handler of a file of the pages."""
    content = (files("seqkeras.serve") / "static" / name).read_bytes()

    async def send(request: Request) -> Response:
        return Response(content, media_type=kind, headers=FILE_HEADERS)

    return send


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


async def _refused(request: Request, error: Any) -> Response:
    """Return the refusal of a path or a method that does not exist."""
    path = request.url.path
    if error.status_code == 405:
        message = f"{path} takes {error.headers['Allow']}. Got: {request.method}."
        body = {"error": message, "code": "wrong_method"}
    else:
        body = {"error": f"There is no path {path!r}. See /docs.", "code": "unknown_path"}
    return JSONResponse(body, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    status, body = failure(error)
    headers = {name.decode(): value.decode() for name, value in failure_headers(error)}
    return JSONResponse(body, status, headers)

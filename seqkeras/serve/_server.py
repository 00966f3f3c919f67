"""Start the service on uvicorn."""

import asyncio
import logging
import os
import signal
import socket
import sys
from dataclasses import fields
from typing import Any

from seqkeras._lazy import import_optional
from seqkeras.errors import SeqkerasError
from seqkeras.serve._app import Application
from seqkeras.serve._logs import start_logging
from seqkeras.serve._pages import pages
from seqkeras.serve._service import Service
from seqkeras.serve._service_settings import PREFIX, ServiceSettings

log = logging.getLogger("seqkeras.serve")

#: Seconds in which requests that were accepted must be finished when the service stops.
LAST_REQUESTS = 30

#: Exit status that tells uvicorn's supervisor that a new process would fail as well.
STARTUP_FAILURE = 3


def serve(settings: ServiceSettings) -> None:
    """Run the service until SIGINT or SIGTERM, and finish the requests that were accepted.

    SIGHUP loads the program file again; sessions of the same program go on. The address is printed
    when connections are accepted, also for `port=0`, which takes a free port. The log is written to
    standard error, as JSON.

    Raises:
        ArgumentError, FileFormatError, OSError, StoreUnavailableError: the service cannot start.
        MissingDependencyError: uvicorn is not installed.
    """
    uvicorn = import_optional("uvicorn", extra="serve")
    start_logging()
    if settings.workers == 1:
        application: Any = _application(settings)
    else:
        _check(settings)
        _write_environment(settings)
        application = f"{__name__}:from_environment"
    config = uvicorn.Config(
        application,
        factory=settings.workers > 1,
        workers=settings.workers,
        access_log=False,
        server_header=False,
        date_header=False,
        log_config=None,
        proxy_headers=False,  # the addresses of clients are not used
        http="seqkeras.serve._connection:Connection",
        ws="seqkeras.serve._websocket_connection:WebSocketConnection",
        lifespan="on",
        ws_max_size=settings.max_body,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=LAST_REQUESTS,
    )
    listener = _listen(settings.host, settings.port)
    print(f"Listening on {_address(listener)}", flush=True)
    try:
        if settings.workers == 1:
            uvicorn.Server(config).run([listener])
        else:
            from uvicorn.supervisors import Multiprocess

            Multiprocess(config, [listener]).run()
    except KeyboardInterrupt:
        pass  # uvicorn has stopped in order, and raises it again
    finally:
        listener.close()


def from_environment() -> Application:
    """Create the application of one of several processes, or end the process."""
    start_logging()
    try:
        return _application(ServiceSettings.from_environment())
    except (SeqkerasError, OSError) as error:
        log.error("this process cannot start: %s", error)
        sys.exit(STARTUP_FAILURE)


class SignalledService(Service):
    """A service that owns its process: SIGHUP loads the program again."""

    async def start(self) -> None:
        """Begin to listen to the signal."""
        await super().start()
        if hasattr(signal, "SIGHUP"):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, self._begin_reload)

    def _begin_reload(self) -> None:
        self._reload = asyncio.ensure_future(self._reload_or_log())

    async def _reload_or_log(self) -> None:
        try:
            await self.reload()
        except (SeqkerasError, OSError) as error:
            log.error("the old program goes on: %s", error)


def _application(settings: ServiceSettings) -> Application:
    service = SignalledService(settings)
    model = service.sessions.model
    facts = {
        "program": model.name,
        "fingerprint": model.fingerprint,
        "store": settings.store.partition(":")[0],
    }
    log.info("program loaded", extra=facts)
    return Application(service, pages(service))


def _check(settings: ServiceSettings) -> None:
    """Raise what is wrong with a program, tokens or a store before several processes would."""
    store = Service(settings).sessions.store
    if store is not None:
        store.close()


def _write_environment(settings: ServiceSettings) -> None:
    """Write all settings where the other processes read them."""
    for field in fields(settings):
        name = PREFIX + field.name.upper()
        value = getattr(settings, field.name)
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = str(value)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = (error.strerror or str(error)).rstrip(".")
        raise OSError(f"The service cannot listen on {host}, port {port}: {reason}.") from error
    listener.set_inheritable(True)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

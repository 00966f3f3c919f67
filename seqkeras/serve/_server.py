"""Start the service on uvicorn."""

import logging
import os
from dataclasses import asdict, fields
from typing import Any

from seqkeras._lazy import import_optional
from seqkeras.serve._service_settings import PREFIX, ServiceSettings


def serve(settings: ServiceSettings) -> None:
    """Run the service until it is told to stop (SIGINT or SIGTERM); SIGHUP loads the program again.

    Raises:
        ArgumentError, FileFormatError, OSError: the service cannot start.
    """
    uvicorn = import_optional("uvicorn", extra="serve")
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    if settings.workers == 1:
        application: Any = _application(settings)
    else:
        # The other processes read the settings from their environment.
        for field in fields(settings):
            value = asdict(settings)[field.name]
            if value is not None:
                os.environ[PREFIX + field.name.upper()] = str(value)
        application = "seqkeras.serve._server:from_environment"
    uvicorn.run(
        application,
        factory=settings.workers > 1,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        access_log=False,
        server_header=False,
        date_header=False,
        log_config=None,
        ws_max_size=settings.max_body,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=30,
    )


def from_environment() -> Any:
    """Create the application of one of several processes."""
    return _application(ServiceSettings.from_environment())


def _application(settings: ServiceSettings) -> Any:
    from seqkeras.serve._app import Application
    from seqkeras.serve._pages import pages
    from seqkeras.serve._service import Service

    service = Service(settings)
    return Application(service, pages(service))


#: One JSON object a line; messages hold no payloads and no tokens.
LOG_FORMAT = (
    '{"time": "%(asctime)s", "level": "%(levelname)s", "logger": "%(name)s", '
    '"message": "%(message)s"}'
)

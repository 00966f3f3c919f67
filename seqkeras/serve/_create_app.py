"""Create the service as an ASGI application."""

from typing import Any

from seqkeras.serve._app import Application
from seqkeras.serve._pages import pages
from seqkeras.serve._service import Service
from seqkeras.serve._service_settings import ServiceSettings


def create_app(program: str, **settings: Any) -> Application:
    """Create the service as an ASGI application, for uvicorn or any other server.

    Args:
        program: path of the file to serve.
        **settings: fields of `ServiceSettings`; others come from the environment.

    Raises:
        ArgumentError: a setting cannot work.
        FileFormatError: the program is damaged.
    """
    service = Service(ServiceSettings.from_environment(program=program, **settings))
    return Application(service, pages(service))

"""A prediction service with one recurrent state for each session, without Keras."""

from typing import TYPE_CHECKING

from seqkeras._lazy import attach, import_optional

import_optional("msgspec", extra="serve")

if TYPE_CHECKING:  # the same names for type checkers; a test holds the two lists equal
    from seqkeras.serve._client import AsyncClient as AsyncClient
    from seqkeras.serve._client import AsyncSession as AsyncSession
    from seqkeras.serve._client import Client as Client
    from seqkeras.serve._client import Session as Session
    from seqkeras.serve._create_app import create_app as create_app
    from seqkeras.serve._requests import SavedSession as SavedSession
    from seqkeras.serve._server import serve as serve
    from seqkeras.serve._service_settings import ServiceSettings as ServiceSettings
    from seqkeras.serve._session_error import SessionError as SessionError

# Lazy, because a client needs no server and a server no client.
__getattr__, __dir__ = attach(
    __name__,
    {
        "_create_app": ("create_app",),
        "_client": ("AsyncClient", "AsyncSession", "Client", "Session"),
        "_session_error": ("SessionError",),
        "_requests": ("SavedSession",),
        "_server": ("serve",),
        "_service_settings": ("ServiceSettings",),
    },
)

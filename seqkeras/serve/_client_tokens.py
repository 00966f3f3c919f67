"""Who sends a request: bearer tokens, and the ids that a client may use."""

import hashlib
import hmac
import os
import re
from collections.abc import Mapping

from seqkeras._checks import Description, bad_argument
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._service_settings import LOOPBACK

#: Ids of sessions and names of clients: they can stand in a path and in a log.
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,127}"

_NAME = re.compile(ID_PATTERN)

#: Name of the client that may replace the program.
ADMIN = "admin"

_SHORTEST_TOKEN = 16

#: Most values of `Host` that are remembered as accepted.
_MOST_HOSTS = 64


class Access:
    """The clients of a service.

    Tokens are compared as keyed hashes, so the time of a comparison tells nothing about them.

    Args:
        clients: the name of each client by its token. None: everyone is the same client.
    """

    def __init__(self, clients: dict[str, str] | None = None) -> None:
        self._secret = os.urandom(32)
        self.required = clients is not None
        self._hosts: set[bytes] = set()  # accepted before
        self._clients = {self._digest(token): name for token, name in (clients or {}).items()}

    def client(self, headers: Mapping[bytes, bytes]) -> str:
        """Return the name of the client that sent a request.

        Raises:
            RefusedError: 401, there is no token or a wrong one; 403, a page of another site
                sent the request from a browser.
        """
        origin = headers.get(b"origin")
        if origin and origin.partition(b"://")[2] != headers.get(b"host", b""):
            raise RefusedError(403, "other_origin", "Pages of other sites may not use the service.")
        if not self.required:
            if headers.get(b"host") not in self._hosts:
                self._check_host(headers.get(b"host", b""))
            return ""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        name = self._clients.get(self._digest(token.strip().decode("latin-1")))
        if scheme.lower() != b"bearer" or name is None:
            raise RefusedError(401, "unauthorized", "Send the header Authorization: Bearer TOKEN.")
        return name

    def _check_host(self, host: bytes) -> None:
        """Refuse names other than those of this machine, where there are no tokens.

        A page of another site can have the name of its site resolve to this machine, and its
        browser then takes the service for a part of that site.
        """
        name = re.sub(rb":\d*$", b"", host).strip(b"[]").decode("latin-1").lower()
        if name not in ("", *LOOPBACK):
            message = "Without tokens, the service is only reached as localhost or 127.0.0.1."
            raise RefusedError(403, "other_host", message)
        if len(self._hosts) < _MOST_HOSTS:
            self._hosts.add(host)

    def check_admin(self, client: str) -> None:
        """Refuse clients other than `admin`, if there are tokens at all."""
        if self.required and client != ADMIN:
            message = f"Only the client {ADMIN!r} may do this."
            raise RefusedError(403, "forbidden", message)

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._secret, token.encode("utf-8", "replace"), hashlib.sha256)


def read_tokens(path: str) -> dict[str, str]:
    """Read a file with a line `CLIENT TOKEN` for each client, and `#` before comments.

    Raises:
        ArgumentError: a line has another form, or a token is short or stands twice. The error does
            not show tokens.
    """
    clients: dict[str, str] = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            parts = line.partition("#")[0].split()
            if not parts:
                continue
            place = f"{path}, line {number}"
            if len(parts) != 2 or not _NAME.fullmatch(parts[0]):
                actual = Description(f"{len(parts)} words in {place}")
                raise bad_argument("tokens", actual, "lines CLIENT TOKEN")
            name, token = parts
            if len(token) < _SHORTEST_TOKEN or token in clients or not token.isascii():
                actual = Description(f"a short, repeated or not plain token in {place}")
                expected = f"different tokens of at least {_SHORTEST_TOKEN} ASCII characters"
                raise bad_argument("tokens", actual, expected)
            clients[token] = name
    if not clients:
        raise bad_argument("tokens", Description(f"no client in {path}"), "lines CLIENT TOKEN")
    return clients


def check_id(session: str) -> str:
    """Return the id of a session, or refuse it."""
    if _NAME.fullmatch(session) is None:
        message = (
            "A session id has 1 to 128 characters of A-Z a-z 0-9 . _ ~ : @ - and begins with a "
            f"letter or a digit. Got: {session[:140]!r}."
        )
        raise RefusedError(400, "wrong_id", message)
    return session

"""The settings of a service, from arguments or from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from seqkeras._checks import bad_argument, check_integer, check_one_of, check_positive
from seqkeras.errors import ArgumentError
from seqkeras.serve._open_store import check_url
from seqkeras.serve._record import MOST_INPUTS, MOST_RECENT
from seqkeras.serve._store import DURABILITIES

#: Names of environment variables begin with this, such as SEQKERAS_SERVE_STORE.
PREFIX = "SEQKERAS_SERVE_"

LARGEST_PORT = 65_535

#: What a stored session has room for: inputs, and outputs that can be repeated.
LARGEST = {"history": MOST_INPUTS, "max_batch": MOST_RECENT}

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServiceSettings:
    """How a service runs. Every field can also be set in the environment.

    Attributes:
        program: path of the file to serve, of `save_program` or `Forecaster.save`.
        store: `"memory"`, `"sqlite:///FILE"` or `"redis://HOST:PORT/0"`.
        durability: of a SQLite store: `"process"` or `"disk"`, see `open_store`.
        host: address to listen on.
        port: port to listen on.
        workers: number of processes; several need a Redis store.
        tokens: path of a file with a line `CLIENT TOKEN` for each client, or None for no
            authentication, which is only possible on a loopback address.
        ttl: seconds after its last request when a session ends, or None for never.
        memory_sessions: most sessions in memory. Beyond these, the one not used for longest is
            written out, or lost if the store is `"memory"`.
        history: number of newest inputs that are stored with each session.
        client_sessions: most sessions of one client, or None.
        max_body: most bytes of a request.
        max_batch: most observations of a request.
        max_waiting: most steps that wait to be stored; more are refused with 503.
        max_connections: most connections; more are refused with 503.
        timeout: seconds in which the body of a request must have arrived.
    """

    program: str
    store: str = "memory"
    durability: str = "disk"
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    tokens: str | None = None
    ttl: float | None = None
    memory_sessions: int = 100_000
    history: int = 0
    client_sessions: int | None = None
    max_body: int = 2**20
    max_batch: int = 4_096
    max_waiting: int = 10_000
    max_connections: int = 20_000
    timeout: float = 10.0

    def __post_init__(self) -> None:
        check_one_of("durability", self.durability, DURABILITIES)
        check_url(self.store)
        if check_integer("port", self.port, minimum=0) > LARGEST_PORT:
            raise bad_argument("port", self.port, f"an integer from 0 to {LARGEST_PORT}")
        for name in ("workers", "memory_sessions", "max_body", "max_batch", "max_waiting"):
            check_integer(name, getattr(self, name))
        check_integer("history", self.history, minimum=0)
        for name, most in LARGEST.items():
            value = getattr(self, name)
            if value > most:
                raise bad_argument(name, value, f"at most {most}")
        check_positive("timeout", self.timeout)
        if self.ttl is not None:
            check_positive("ttl", self.ttl)
        if self.client_sessions is not None:
            check_integer("client_sessions", self.client_sessions)
        if self.workers > 1 and self.store.partition(":")[0] not in ("redis", "rediss", "unix"):
            fix = "A SQLite file and the memory belong to one process."
            raise bad_argument("workers", self.workers, "1 without a Redis store", fix)
        if self.tokens is None and self.host not in LOOPBACK:
            fix = "Pass tokens=FILE with a line CLIENT TOKEN for each client."
            raise bad_argument("host", self.host, "a loopback address without tokens", fix)

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, **arguments: Any
    ) -> "ServiceSettings":
        """Return settings from arguments; those that are None come from the environment.

        Raises:
            ArgumentError: a value cannot work; for one from the environment, it names the variable.
        """
        variables = os.environ if environment is None else environment
        values = {name: value for name, value in arguments.items() if value is not None}
        read = set()
        for field in fields(cls):
            text = variables.get(PREFIX + field.name.upper())
            if text is not None and field.name not in values:
                values[field.name] = _parsed(field.name, str(field.type), text)
                read.add(field.name)
        if "program" not in values:
            raise bad_argument("program", None, f"a path, or set {PREFIX}PROGRAM")
        try:
            return cls(**values)
        except ArgumentError as error:
            name = str(error).partition(" ")[0]
            if name in read:
                raise ArgumentError(f"{PREFIX}{name.upper()}: {error}") from None
            raise


def _parsed(name: str, kind: str, text: str) -> Any:
    try:
        if "int" in kind:
            return int(text)
        if "float" in kind:
            return float(text)
    except ValueError:
        raise bad_argument(PREFIX + name.upper(), text, "a number") from None
    return text

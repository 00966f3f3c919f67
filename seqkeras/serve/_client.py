"""Clients of the service, blocking and asynchronous."""

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from seqkeras._checks import bad_argument, check_positive
from seqkeras._lazy import import_optional
from seqkeras.serve._requests import (
    Exchange,
    Pause,
    Position,
    Reply,
    Request,
    SavedSession,
    SessionRequests,
    call,
    step_many,
)

if TYPE_CHECKING:
    import httpx
else:
    httpx = import_optional("httpx", extra="serve")

#: Sessions whose next number is remembered although no object of theirs is in use.
REMEMBERED = 100_000


class Session:
    """One session of a `Client`, which counts its steps.

    The first step asks the service for its number. Each step is sent with its number, so a request
    that is repeated, by this client or after an error, never moves the state twice. Steps of
    several threads are sent one after the other.
    """

    def __init__(self, client: "Client", name: str, position: Position, retry_for: float) -> None:
        self._client = client
        self._position = position
        self._requests = SessionRequests(name, position, retry_for)
        self.name = name

    def step(self, x: Any, *, number: int | None = None) -> Any:
        """Send one observation, and return the output.

        Args:
            x: the numbers of the observation, as a list or an array; or a dict by name.
            number: number of the observation within the session, from 0, for callers with a count
                of their own, or to repeat a step after an error. By default, the next one.

        Raises:
            SessionError: the service refused the step, or could not be reached.
        """
        return self._do(self._requests.step(x, number))

    def steps(self, x: Sequence[Any], *, number: int | None = None) -> list[Any]:
        """Send several observations in one request, and return the output of each.

        Args:
            x: the observations, as for `step`.
            number: number of the first one, as for `step`.

        Raises:
            SessionError: the service refused them, and the state did not move; or it could not be
                reached.
        """
        return self._do(self._requests.steps(x, number))

    def rollout(self, steps: int, *, future: Any = None) -> list[Any]:
        """Return the outputs of the next steps if each output were the next observation.

        The session does not move. The first output is the newest one of the session.

        Args:
            steps: number of outputs.
            future: the inputs that are not outputs, one row for each step but the first.

        Raises:
            SessionError: the model cannot read its outputs, or the session has none yet.
        """
        return self._do(self._requests.rollout(steps, future))

    def export_state(self) -> SavedSession:
        """Return the state, the number of the next step and the fingerprint of the program.

        Raises:
            SessionError: there is no such session.
        """
        return self._do(self._requests.export_state())

    def import_state(self, saved: SavedSession) -> None:
        """Set the session, which need not exist, to one of `export_state`.

        Raises:
            SessionError: the state belongs to another program, or has another length.
        """
        self._do(self._requests.import_state(saved))

    def delete(self) -> bool:
        """Delete the session, and return whether it existed; its next step begins a new one."""
        return self._do(self._requests.delete())

    def warm_up(self) -> int:
        """Read the stored inputs again with the program that runs now; return their number.

        Raises:
            SessionError: the service stores no inputs (`--history`).
        """
        return self._do(self._requests.warm_up())

    def _do(self, exchange: Exchange) -> Any:
        with self._position.lock:
            return self._client._run(exchange)


class AsyncSession:
    """One session of an `AsyncClient`; its methods are those of `Session`, as coroutines."""

    def __init__(
        self, client: "AsyncClient", name: str, position: Position, retry_for: float
    ) -> None:
        self._client = client
        self._position = position
        self._requests = SessionRequests(name, position, retry_for)
        self.name = name

    async def step(self, x: Any, *, number: int | None = None) -> Any:
        """Send one observation, and return the output; see `Session.step`."""
        return await self._do(self._requests.step(x, number))

    async def steps(self, x: Sequence[Any], *, number: int | None = None) -> list[Any]:
        """Send several observations, and return their outputs; see `Session.steps`."""
        return await self._do(self._requests.steps(x, number))

    async def rollout(self, steps: int, *, future: Any = None) -> list[Any]:
        """Return the next outputs if each were the next observation; see `Session.rollout`."""
        return await self._do(self._requests.rollout(steps, future))

    async def export_state(self) -> SavedSession:
        """Return the state; see `Session.export_state`."""
        return await self._do(self._requests.export_state())

    async def import_state(self, saved: SavedSession) -> None:
        """Set the session; see `Session.import_state`."""
        await self._do(self._requests.import_state(saved))

    async def delete(self) -> bool:
        """Delete the session; see `Session.delete`."""
        return await self._do(self._requests.delete())

    async def warm_up(self) -> int:
        """Read the stored inputs again; see `Session.warm_up`."""
        return await self._do(self._requests.warm_up())

    async def _do(self, exchange: Exchange) -> Any:
        async with self._position.lock:
            return await self._client._run(exchange)


class _Connection:
    """What both clients hold: options of the HTTP client, and where each session is."""

    def __init__(
        self, url: str, token: str | None, timeout: float, retry_for: float, transport: Any
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise bad_argument("url", url, "a URL such as 'http://127.0.0.1:8000'")
        check_positive("timeout", timeout)
        if retry_for:
            check_positive("retry_for", retry_for)
        self.retry_for = retry_for
        headers = {"content-type": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        self.options: dict[str, Any] = {
            "base_url": url,
            "headers": headers,
            "timeout": timeout,
            "transport": transport,
        }
        self._positions: WeakValueDictionary[str, Position] = WeakValueDictionary()
        self._recent: OrderedDict[str, Position] = OrderedDict()
        self._lock = threading.Lock()

    def position(self, name: str, lock: Callable[[], Any]) -> Position:
        """Return the only position of a session."""
        with self._lock:
            position = self._positions.get(name)
            if position is None:
                position = self._positions[name] = Position(lock())
            self._recent[name] = position
            self._recent.move_to_end(name)
            if len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)
            return position


class Client:
    """A client of the service, for threads.

    Connection errors, and replies that say "later" (429 and 503), are repeated with growing pauses.

    Args:
        url: address of the service, such as `"http://127.0.0.1:8000"`.
        token: token of this client, if the service asks for one.
        timeout: seconds to wait for each reply, default 10.
        retry_for: seconds for which a failed request is repeated, default 30; 0 for not at all.
        transport: a transport of httpx, for proxies or tests.

    Raises:
        ArgumentError: the URL has another form, or a number is out of range.
        MissingDependencyError: httpx is not installed.

    Example:
        >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
        ...     pump = client.session("pump-7")
        ...     pump.step({"flow": 4.8, "pressure": 310.0})
        [0.172]
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 10.0,
        retry_for: float = 30.0,
        transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        self._connection = _Connection(url, token, timeout, retry_for, transport)
        self._http = httpx.Client(**self._connection.options)

    def session(self, name: str) -> Session:
        """Return a session, which its first step creates.

        Raises:
            ArgumentError: the name has other characters than an id may have.
        """
        position = self._connection.position(name, threading.Lock)
        return Session(self, name, position, self._connection.retry_for)

    def step_many(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Send one observation each of many sessions in one request, and return their outputs.

        Args:
            x: the observation of each session, as for `Session.step`.

        Raises:
            SessionError: some sessions were refused; `outputs` of the error has those of the
                others, which were moved, and `details` the reply for each refused session.
        """
        positions = {name: self.session(name)._position for name in x}
        with contextlib.ExitStack() as stack:
            # In one order, so that two threads never wait for each other.
            for name in sorted(positions):
                stack.enter_context(positions[name].lock)
            return self._run(step_many(x, positions, self._connection.retry_for))

    def model(self) -> dict[str, Any]:
        """Return the description of the model: its inputs, outputs and fingerprint."""
        return self._get("/v1/model")

    def sessions(self) -> list[dict[str, Any]]:
        """Return id, next step and last request of up to 100 sessions of this client."""
        return self._get("/v1/sessions")["sessions"]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _get(self, path: str) -> Any:
        return self._run(call(Request("GET", path), self._connection.retry_for))

    def _run(self, exchange: Exchange) -> Any:
        """Carry out an exchange, and return its result."""
        reply: Reply | Exception | None = None
        while True:
            try:
                action = exchange.send(reply)
            except StopIteration as end:
                return end.value
            if isinstance(action, Pause):
                reply = None
                time.sleep(action.seconds)
                continue
            try:
                reply = _read(self._http.request(action.method, action.path, content=action.body))
            except httpx.TransportError as error:
                reply = error


class AsyncClient:
    """A client of the service, for asyncio; its arguments and methods are those of `Client`.

    Args:
        url: address of the service.
        token: token of this client, if the service asks for one.
        timeout: seconds to wait for each reply, default 10.
        retry_for: seconds for which a failed request is repeated, default 30; 0 for not at all.
        transport: a transport of httpx, such as `httpx.ASGITransport(create_app(path))` for a
            service in this process.

    Raises:
        ArgumentError: the URL has another form, or a number is out of range.
        MissingDependencyError: httpx is not installed.

    Example:
        >>> async def main():
        ...     async with AsyncClient("http://127.0.0.1:8000") as client:
        ...         return await client.session("pump-7").step([4.8, 310.0])
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 10.0,
        retry_for: float = 30.0,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        self._connection = _Connection(url, token, timeout, retry_for, transport)
        self._http = httpx.AsyncClient(**self._connection.options)

    def session(self, name: str) -> AsyncSession:
        """Return a session, which its first step creates; see `Client.session`."""
        position = self._connection.position(name, asyncio.Lock)
        return AsyncSession(self, name, position, self._connection.retry_for)

    async def step_many(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Send one observation each of many sessions; see `Client.step_many`."""
        positions = {name: self.session(name)._position for name in x}
        async with contextlib.AsyncExitStack() as stack:
            for name in sorted(positions):
                await stack.enter_async_context(positions[name].lock)
            return await self._run(step_many(x, positions, self._connection.retry_for))

    async def model(self) -> dict[str, Any]:
        """Return the description of the model; see `Client.model`."""
        return await self._get("/v1/model")

    async def sessions(self) -> list[dict[str, Any]]:
        """Return up to 100 sessions of this client; see `Client.sessions`."""
        return (await self._get("/v1/sessions"))["sessions"]

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _get(self, path: str) -> Any:
        return await self._run(call(Request("GET", path), self._connection.retry_for))

    async def _run(self, exchange: Exchange) -> Any:
        """Carry out an exchange, and return its result."""
        reply: Reply | Exception | None = None
        while True:
            try:
                action = exchange.send(reply)
            except StopIteration as end:
                return end.value
            if isinstance(action, Pause):
                reply = None
                await asyncio.sleep(action.seconds)
                continue
            try:
                http = self._http
                reply = _read(await http.request(action.method, action.path, content=action.body))
            except httpx.TransportError as error:
                reply = error


def _read(response: "httpx.Response") -> Reply:
    return Reply(response.status_code, response.content, response.headers.get("retry-after"))

"""What a client sends and how it reads replies, once for blocking and for asynchronous clients.

Each request is a generator: it yields what to send or how long to wait, gets the reply, and returns
the result. The clients only carry that out.
"""

import random
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from seqkeras.errors import ArgumentError
from seqkeras.serve._client_tokens import check_id
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._session_error import SessionError

#: Replies after which the same request may succeed; none of them moved the state.
RETRIED = (408, 429, 502, 503, 504)

#: Replies that say that the observation is wrong, so the state did not move.
WRONG_BODY = (400, 413, 422)

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0


class Request(NamedTuple):
    """A request to send."""

    method: str
    path: str
    body: bytes | None = None


class Pause(NamedTuple):
    """Seconds to wait before the next request."""

    seconds: float


class Reply(NamedTuple):
    """The reply to a request."""

    status: int
    body: bytes
    retry_after: str | None


#: A transport error, as the client's HTTP library raised it, takes the place of a reply.
Exchange: TypeAlias = Generator[Request | Pause, Reply | Exception | None, Any]


class SavedSession(NamedTuple):
    """A session outside of the service.

    Attributes:
        state: the arrays of the state, as bytes.
        step: number of observations read, which is also the number of the next step.
        fingerprint: the program that the state belongs to.
    """

    state: bytes
    step: int
    fingerprint: str


class Position:
    """Where a session is: the number of its next step, and the lock that keeps its steps in order.

    Attributes:
        number: None until the service was asked for it.
    """

    __slots__ = ("__weakref__", "lock", "number")

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.number: int | None = None


def call(request: Request, retry_for: float) -> Exchange:
    """Send a request until there is a reply that a repeat would not change; return its JSON value.

    Raises:
        SessionError: the service refused it, or had no reply within `retry_for` seconds.
    """
    end = time.monotonic() + retry_for
    attempt = 0
    while True:
        reply = yield request
        retry_after = None
        if isinstance(reply, Reply):
            if reply.status < 300:
                return _decoded(reply.body)
            error = _refusal(reply)
            if reply.status not in RETRIED:
                raise error
            retry_after = _seconds(reply.retry_after)
        else:
            error = _unreachable(reply)
        pause = _pause(attempt, retry_after)
        if time.monotonic() + pause > end:
            raise error
        yield Pause(pause)
        attempt += 1


class SessionRequests:
    """The requests of one session.

    Args:
        name: id of the session.
        position: shared by everything that moves it.
        retry_for: seconds for which failed requests are repeated.

    Raises:
        ArgumentError: the id has other characters than an id may have.
    """

    def __init__(self, name: str, position: Position, retry_for: float) -> None:
        try:
            self._path = f"/v1/sessions/{check_id(name)}"
        except RefusedError as error:
            raise ArgumentError(str(error)) from None
        self._position = position
        self._retry_for = retry_for

    def step(self, x: Any, number: int | None) -> Exchange:
        """Move the session by one observation, and return the output."""
        return (yield from self._move("step", x, 1, number))

    def steps(self, x: Sequence[Any], number: int | None) -> Exchange:
        """Move the session by several observations, and return the list of outputs."""
        return (yield from self._move("steps", x, len(x), number))

    def rollout(self, steps: int, future: Any) -> Exchange:
        """Return the next outputs if each were the next observation."""
        body = {"steps": steps} if future is None else {"steps": steps, "future": future}
        return (yield from self._call("POST", "/rollout", body))["y"]

    def export_state(self) -> Exchange:
        """Return the session as a `SavedSession`."""
        reply = yield from self._call("GET")
        state = msgspec.convert(reply["state"], bytes)
        return SavedSession(state, reply["step"], reply["fingerprint"])

    def import_state(self, saved: SavedSession) -> Exchange:
        """Set the session to a saved one."""
        self._position.number = None
        yield from self._call("PUT", "", saved._asdict())
        self._position.number = saved.step

    def delete(self) -> Exchange:
        """Delete the session, and return whether it existed."""
        self._position.number = None
        reply = yield from self._call("DELETE")
        self._position.number = 0
        return reply["deleted"]

    def warm_up(self) -> Exchange:
        """Read the stored inputs with the current program, and return their number."""
        return (yield from self._call("POST", "/warmup"))["inputs"]

    def next_number(self) -> Exchange:
        """Ask the service for the number of the next step."""
        try:
            return (yield from self._call("GET"))["step"]
        except SessionError as error:
            if error.code == "unknown_session":
                return 0
            raise

    def _move(self, action: str, x: Any, count: int, number: int | None) -> Exchange:
        position = self._position
        explicit = number is not None
        if number is None:
            number = position.number
        if number is None:
            number = yield from self.next_number()
        request = Request("POST", f"{self._path}/{action}", encode({"x": x, "step": number}))
        # Without a reply, only the service knows whether the state moved: the next step asks.
        position.number = None
        try:
            reply = yield from call(request, self._retry_for)
        except SessionError as error:
            error.step = number
            if error.status in WRONG_BODY and not explicit:
                position.number = number
            raise
        # A number of the caller may repeat an old step.
        position.number = None if explicit else number + count
        return reply["y"]

    def _call(self, method: str, action: str = "", body: Any = None) -> Exchange:
        data = None if body is None else encode(body)
        request = Request(method, self._path + action, data)
        return (yield from call(request, self._retry_for))


def step_many(
    x: Mapping[str, Any], positions: Mapping[str, Position], retry_for: float
) -> Exchange:
    """Move many sessions by one observation each, and return the output of each.

    Raises:
        SessionError: some were refused; its `outputs` are those of the others, and its `details`
            have the reply for each refused one.
    """
    numbers = yield from _take_numbers(positions, retry_for)
    outputs: dict[str, Any] = {}
    waiting = list(x)
    end = time.monotonic() + retry_for
    attempt = 0
    while True:
        body = {
            "sessions": waiting,
            "x": [x[name] for name in waiting],
            "step": [numbers[name] for name in waiting],
        }
        reply = yield from call(Request("POST", "/v1/steps", encode(body)), retry_for)
        errors = {waiting[int(i)]: error for i, error in reply.get("errors", {}).items()}
        for name, output in zip(waiting, reply["y"], strict=True):
            if name not in errors:
                outputs[name] = output
                positions[name].number = numbers[name] + 1
        waiting = [name for name, error in errors.items() if error["status"] in RETRIED]
        pause = _pause(attempt, None)
        if len(waiting) < len(errors) or not errors or time.monotonic() + pause > end:
            break
        yield Pause(pause)
        attempt += 1
    if errors:
        raise _refused_sessions(errors, outputs)
    return {name: outputs[name] for name in x}


def _take_numbers(positions: Mapping[str, Position], retry_for: float) -> Exchange:
    """Return the number of the next step of each session; only a reply sets them again."""
    numbers: dict[str, int] = {}
    for name, position in positions.items():
        number = position.number
        if number is None:
            number = yield from SessionRequests(name, position, retry_for).next_number()
        numbers[name] = number
        position.number = None
    return numbers


def encode(value: Any) -> bytes:
    """Return a JSON body; arrays and numbers of NumPy are lists and numbers.

    Raises:
        ArgumentError: the value is of another type.
    """
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"The observation cannot be sent: {error}.") from None


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is no number, list or dict")


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        message = "The reply is no JSON object. Is the URL that of seqkeras serve?"
        raise SessionError(message, code="no_service") from error


def _refusal(reply: Reply) -> SessionError:
    try:
        body: Any = msgspec.json.decode(reply.body)
        message, code = body.pop("error"), body.pop("code")
    except (msgspec.DecodeError, KeyError, AttributeError, TypeError):
        message = f"The reply has status {reply.status}, and is not that of seqkeras serve."
        return SessionError(message, status=reply.status, code="no_service")
    return SessionError(message, status=reply.status, code=code, details=body)


def _unreachable(error: Any) -> SessionError:
    reason = f"{type(error).__name__}: {error}".rstrip(": .")
    message = f"The service has not replied ({reason})."
    unreachable = SessionError(message, code="unreachable")
    unreachable.__cause__ = error
    return unreachable


def _refused_sessions(
    errors: Mapping[str, Mapping[str, Any]], outputs: Mapping[str, Any]
) -> SessionError:
    name, first = next(iter(errors.items()))
    message = f"{len(errors)} sessions were refused, the first of them {name!r}: {first['error']}"
    return SessionError(
        message, status=first["status"], code=first["code"], details=errors, outputs=outputs
    )


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header; a date, as proxies may send, is ignored."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None


def _pause(attempt: int, retry_after: float | None) -> float:
    """Return a random pause, so that many clients do not return at the same time."""
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0)
    return pause if retry_after is None else retry_after + pause

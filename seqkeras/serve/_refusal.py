"""The errors of the service that a client sees."""

import logging
from typing import Any

from seqkeras.errors import ArgumentError, DataError, SeqkerasError

log = logging.getLogger("seqkeras.serve")


class RefusedError(SeqkerasError):
    """A request that the service does not carry out; the state of the session is unchanged.

    Args:
        status: HTTP status.
        code: one word for programs, such as `"wrong_step"`.
        message: what is wrong, and the fix, for people.
        retry_after: seconds after which the same request may succeed. None: it will not.
        **details: further fields of the reply, such as `expected`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.details = details

    def body(self) -> dict[str, Any]:
        """Return the reply as a JSON object."""
        return {"error": str(self), "code": self.code, **self.details}


def wrong_step(number: int, expected: int) -> RefusedError:
    """Return the refusal of a step that is not the next one, nor among those just taken."""
    if number < expected:
        fix = "Its output is no longer stored: go on with the expected step."
    else:
        fix = "Send the steps between them first."
    message = f"step must be {expected}, the next of this session. Got: step={number}. {fix}"
    return RefusedError(409, "wrong_step", message, expected=expected)


def other_program(key: str, fingerprint: str, current: str) -> RefusedError:
    """Return the refusal of a session whose state belongs to another program."""
    message = (
        f"The state of session {_id(key)!r} belongs to a program with the fingerprint "
        f"{fingerprint}, and this service runs {current}. Delete the session to start it again, "
        "import a state of this program with PUT, or POST .../warmup to read its stored inputs "
        "again."
    )
    return RefusedError(409, "other_program", message, fingerprint=fingerprint, current=current)


def damaged(key: str) -> RefusedError:
    """Return the refusal of a session whose stored bytes were changed or truncated."""
    message = (
        f"The stored state of session {_id(key)!r} is damaged: its checksum does not match. "
        "Delete the session, or import a state with PUT."
    )
    return RefusedError(500, "damaged", message)


def unknown_session(key: str) -> RefusedError:
    """Return the refusal of a session that does not exist."""
    return RefusedError(
        404, "unknown_session", f"There is no session {_id(key)!r}. A first step creates it."
    )


def no_output(key: str) -> RefusedError:
    """Return the refusal of a rollout of a session that has not read an observation."""
    message = f"Session {_id(key)!r} has no output yet: send a step first."
    return RefusedError(409, "no_output", message)


def failed(error: Exception) -> RefusedError:
    """Return the refusal of a request that raised an error, without what may be secret in it."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, (ArgumentError, DataError)):
        return RefusedError(422, "wrong_value", str(error))
    log.error("unexpected error", exc_info=error)
    message = "Unexpected error; the log of the service has it."
    return RefusedError(500, "internal", message)


def late() -> RefusedError:
    """Return the refusal of a request whose body is too slow."""
    return RefusedError(408, "timeout", "The body did not arrive in time.")


def store_unavailable(reason: str) -> RefusedError:
    """Return the refusal while states cannot be read or stored.

    A step may have been stored all the same, if the connection to the store broke; sent again
    with its number, it is not taken twice.
    """
    message = f"The store is unavailable: {reason}. Retry later, steps with the same number."
    return RefusedError(503, "store_unavailable", message, retry_after=1)


def _id(key: str) -> str:
    """Return the id of a session without the name of its client."""
    return key.rpartition("/")[2]

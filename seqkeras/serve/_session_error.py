"""The error of a client of the service."""

from collections.abc import Mapping
from typing import Any

from seqkeras.errors import SeqkerasError


class SessionError(SeqkerasError):
    """The service refused a request, or could not be reached.

    Args:
        message: what is wrong and the fix, in the words of the service.
        status: HTTP status, or None if there was no reply.
        code: one word for programs, such as `"wrong_step"`, `"other_program"` or `"unreachable"`.
        step: number of the step that was sent, or None. Without a reply, the step may have been
            taken; `session.step(x, number=error.step)` repeats it without moving the state twice.
        details: further fields of the reply, such as `expected`.
        outputs: of `step_many`, the outputs of the sessions that were moved.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        step: int | None = None,
        details: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.step = step
        self.details = dict(details or {})
        self.outputs = dict(outputs or {})

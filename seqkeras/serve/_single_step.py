"""One step of one session, for a request and for a message of a WebSocket."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from seqkeras.serve._call_runners import settle
from seqkeras.serve._client_tokens import check_id
from seqkeras.serve._messages import StepBody
from seqkeras.serve._served_model import ServedModel
from seqkeras.serve._service import Service
from seqkeras.serve._sessions import Call, Moved


def quick_reply(
    service: Service, client: str, session: str, body: StepBody
) -> dict[str, Any] | None:
    """Return the reply to a step that can be carried out at once, or None: `submit_step` must."""
    quick_step = service.runner.quick_step
    key = f"{client}/{session}"
    if quick_step is None or key in service.recorder.watched:
        return None
    # A session that is in memory has a valid id, so it needs no check.
    quick = quick_step(key, body.x, body.step)
    return None if quick is None else {"y": quick[0], "step": quick[1]}


def submit_step(
    service: Service,
    client: str,
    session: str,
    body: StepBody,
    done: Callable[[dict[str, Any] | Exception], None],
) -> None:
    """Move a session by one observation, and call `done` with the reply or an error.

    It is called when the step is durable, which may be at once.

    Raises:
        RefusedError: the id is malformed, or too many steps wait.
        ArgumentError: the observation does not fit the model.
    """
    key = f"{client}/{check_id(session)}"
    model = service.sessions.model
    call = Call(key, model.read(body.x), body.step, session, model.fingerprint)

    def reply(outcome: Moved | Exception) -> None:
        result: dict[str, Any] | Exception
        if isinstance(outcome, Moved):
            try:
                result = _reply(service, model, call, outcome)
            except Exception as error:
                result = error
        else:
            result = outcome
        done(result)

    service.runner.submit(call, reply)


def _reply(service: Service, model: ServedModel, call: Call, moved: Moved) -> dict[str, Any]:
    if service.recorder.watched:
        service.recorder.add(call.key, moved.number, call.x, moved.outputs)
    return {"y": model.write(moved.outputs[0]), "step": moved.number}


async def step_reply(service: Service, client: str, session: str, body: StepBody) -> dict[str, Any]:
    """Move a session by one observation, and return the reply.

    Raises:
        RefusedError: the id is malformed, the step is not the next one, or it cannot be stored.
        ArgumentError: the observation does not fit the model.
    """
    reply = quick_reply(service, client, session, body)
    if reply is not None:
        return reply
    future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    submit_step(service, client, session, body, partial(settle, future))
    return await future

"""One step of one session, for a request and for a message of a WebSocket."""

from typing import Any

from seqkeras.serve._client_tokens import check_id
from seqkeras.serve._messages import StepBody
from seqkeras.serve._service import Service
from seqkeras.serve._sessions import Call


def quick_reply(
    service: Service, client: str, session: str, body: StepBody
) -> dict[str, Any] | None:
    """Return the reply to a step that can be carried out at once, or None: `step_reply` must.

    This is a function of its own because it needs no coroutine, which most requests thus save.
    """
    quick_step = service.runner.quick_step
    key = f"{client}/{session}"
    if quick_step is None or key in service.recorder.watched:
        return None
    # A session that is in memory has a valid id, so it needs no check.
    quick = quick_step(key, body.x, body.step)
    return None if quick is None else {"y": quick[0], "step": quick[1]}


async def step_reply(service: Service, client: str, session: str, body: StepBody) -> dict[str, Any]:
    """Move a session by one observation, and return the reply.

    Raises:
        RefusedError: the id is malformed, the step is not the next one, or it cannot be stored.
        ArgumentError: the observation does not fit the model.
    """
    key = f"{client}/{check_id(session)}"
    model = service.sessions.model
    call = Call(key, model.read(body.x), body.step, session, model.fingerprint)
    moved = await service.runner.move(call)
    if service.recorder.watched:
        service.recorder.add(key, moved.number, call.x, moved.outputs)
    return {"y": model.write(moved.outputs[0]), "step": moved.number}

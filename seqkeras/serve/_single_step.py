"""One step of one session, for a request and for a message of a WebSocket."""

from typing import Any

from seqkeras.serve._access import check_id
from seqkeras.serve._messages import StepBody
from seqkeras.serve._service import Service
from seqkeras.serve._sessions import Call


async def step_reply(service: Service, client: str, session: str, body: StepBody) -> dict[str, Any]:
    """Move a session by one observation, and return the reply.

    Raises:
        RefusedError: the id is malformed, the step is not the next one, or it cannot be stored.
        ArgumentError: the observation does not fit the model.
    """
    key = f"{client}/{session}"
    runner = service.runner
    recorder = service.recorder
    if runner.quick_step is not None and key not in recorder.watched:
        # A session that is in memory has a valid id, so most requests need no check of it.
        quick = runner.quick_step(key, body.x, body.step)
        if quick is not None:
            return {"y": quick[0], "step": quick[1]}
    check_id(session)
    model = service.sessions.model
    call = Call(key, model.read(body.x), body.step, session)
    moved = await runner.move(call)
    if recorder.watched:
        recorder.add(key, moved.number, call.x, moved.outputs)
    return {"y": model.write(moved.outputs[0]), "step": moved.number}

"""One step each of many sessions in one request."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqkeras._arrays import Array
from seqkeras.serve._client_tokens import check_id
from seqkeras.serve._messages import ManyBody
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._served_model import ServedModel
from seqkeras.serve._service import Service
from seqkeras.serve._sessions import Call, Moved, Outcome

Numbers = Sequence[int | None]


async def many_reply(
    service: Service, client: str, body: ManyBody, *, packed: bool
) -> tuple[dict[str, Any], int]:
    """Move many sessions by one observation each.

    Args:
        service: the service.
        client: name of the client that sent the request.
        body: the request.
        packed: whether outputs are returned as bytes.

    Returns:
        The reply, null where a session was refused, and the number of sessions that moved.

    Raises:
        RefusedError: the parts of the request do not fit each other, or an id is malformed.
        ArgumentError: an observation does not fit the model.
    """
    model = service.sessions.model
    ids = body.sessions
    if len(set(ids)) < len(ids):
        message = "sessions must be different. For several steps of one, use its /steps."
        raise RefusedError(422, "wrong_body", message)
    x = read_rows(model, body.x, len(ids))
    numbers: Numbers | None = body.step
    if numbers is not None and len(numbers) != len(ids):
        message = f"step must have {len(ids)} numbers, one for each session."
        raise RefusedError(422, "wrong_body", message)
    quick_steps = service.runner.quick_steps
    if quick_steps is not None and not service.recorder.watched:
        # A session that is in memory has a valid id, so most requests need no check of them.
        quick = quick_steps([f"{client}/{name}" for name in ids], x, numbers)
        if quick is not None:
            outputs, counts = quick
            return {"step": counts.tolist(), "y": _written(model, outputs, packed)}, len(ids)
    program = model.fingerprint
    calls = [
        Call(f"{client}/{check_id(name)}", x[i : i + 1], number, name, program)
        for i, (name, number) in enumerate(zip(ids, numbers or [None] * len(ids), strict=True))
    ]
    outcomes = await service.runner.move_many(calls)
    if service.recorder.watched:
        for call, outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, Moved):
                service.recorder.add(call.key, outcome.number, call.x, outcome.outputs)
    return _reply(model, outcomes, packed)


def read_rows(model: ServedModel, x: Any, count: int) -> Array:
    """Return observations as an array `(count, width)`.

    Raises:
        RefusedError: their number is another.
        ArgumentError: one of them does not fit the model.
    """
    if isinstance(x, bytes):
        if len(x) != 4 * count * model.width:
            message = f"x must be {4 * count * model.width} bytes of float32. Got: {len(x)}."
            raise RefusedError(422, "wrong_body", message)
        rows = np.frombuffer(x, "<f4").reshape(count, model.width)
        if model.input_dtype == rows.dtype and np.isfinite(rows).all():
            return rows
        x = rows.tolist()
    if len(x) != count:
        message = f"x must have {count} observations, one for each session. Got: {len(x)}."
        raise RefusedError(422, "wrong_body", message)
    return model.read_many(x)


def _written(model: ServedModel, outputs: Array, packed: bool) -> Any:
    if packed:
        return outputs.astype("<f4").tobytes()
    return model.write_many(outputs)


def _reply(
    model: ServedModel, outcomes: Sequence[Outcome], packed: bool
) -> tuple[dict[str, Any], int]:
    moved = [outcome for outcome in outcomes if isinstance(outcome, Moved)]
    if len(moved) == len(outcomes):
        outputs = np.concatenate([outcome.outputs for outcome in moved])
        numbers = [outcome.number for outcome in moved]
        return {"step": numbers, "y": _written(model, outputs, packed)}, len(moved)
    errors = {
        str(i): outcome.body() | {"status": outcome.status}
        for i, outcome in enumerate(outcomes)
        if isinstance(outcome, RefusedError)
    }
    y = [model.write(out.outputs[0]) if isinstance(out, Moved) else None for out in outcomes]
    steps = [out.number if isinstance(out, Moved) else None for out in outcomes]
    return {"step": steps, "y": y, "errors": errors}, len(moved)

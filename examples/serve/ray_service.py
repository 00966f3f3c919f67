"""Sessions of a program as a deployment of Ray Serve.

    pip install "seqkeras[serve]" "ray[serve]"
    PROGRAM=pump.program serve run ray_service:app
    curl http://127.0.0.1:8000/pump-7 -d '{"x": [4.8, 310.0], "step": 0}'

Ray Serve routes requests and scales replicas; the sessions are those of seqkeras, with numbered
steps, so a repeated request moves no state twice. They are in the memory of one replica: with more
than one, or across restarts, use `seqkeras serve` with a Redis store.
"""

import os

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from seqkeras import runtime
from seqkeras.errors import ArgumentError, DataError
from seqkeras.serve._client_tokens import check_id
from seqkeras.serve._messages import StepBody, decode
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._served_model import ServedProgram
from seqkeras.serve._sessions import Call, Sessions


@serve.deployment(num_replicas=1)
class SessionsOfProgram:
    """Moves the sessions of one program; the path of a request is the id of its session."""

    def __init__(self, path: str) -> None:
        self.model = ServedProgram(runtime.load(path))
        self.sessions = Sessions(self.model, capacity=100_000)

    async def __call__(self, request: Request) -> JSONResponse:
        try:
            session = check_id(request.url.path.strip("/"))
            body = decode(StepBody, await request.body())
            # One step is a few microseconds, so it runs on the event loop, one at a time.
            moved = self.sessions.step(Call(session, self.model.read(body.x), body.step))
        except RefusedError as error:
            return JSONResponse(error.body(), error.status)
        except (ArgumentError, DataError) as error:
            return JSONResponse({"error": str(error), "code": "wrong_value"}, 422)
        return JSONResponse({"y": self.model.write(moved.outputs[0]), "step": moved.number})


app = SessionsOfProgram.bind(os.environ.get("PROGRAM", "pump.program"))

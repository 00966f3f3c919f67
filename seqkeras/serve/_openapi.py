"""The description of the service in OpenAPI 3.1, with the names and widths of its model."""

import math
from typing import Any

import numpy as np

import seqkeras
from seqkeras.serve._client_tokens import ID_PATTERN
from seqkeras.serve._messages import MOST_NUMBER, MOST_STEPS
from seqkeras.serve._served_model import ServedModel
from seqkeras.serve._service import Service

Schema = dict[str, Any]

DESCRIPTION = """\
Each session has a recurrent state of its own. A step sends one observation and returns the output;
the state that follows is stored before the reply, as durably as the store promises.

With `step`, the number of the observation within its session (from 0), a repeated request returns
the same output again and never moves the state twice. An old number or a gap is refused with 409
and the number that was `expected`.

The WebSocket `/v1/sessions/{id}/stream` takes the bodies of `step` as messages and replies to them
in order. Bodies and replies may also be MessagePack (`content-type: application/msgpack`).
"""

#: Meaning of each status other than 200.
REFUSALS = {
    400: "The id, or the body as JSON or a state, cannot be read.",
    401: "The token is missing or wrong.",
    403: "A page of another site, or a client that may not do this.",
    404: "There is no such session or series.",
    405: "The path takes another method.",
    408: "The body did not arrive in time.",
    409: "The session is at another step, or its state belongs to another program.",
    413: "The body is too large.",
    422: "The body has other fields, types or sizes, or a number does not fit.",
    429: "This client has too many sessions.",
    500: "The stored state is damaged, or an unexpected error.",
    503: "The state cannot be stored now. Repeat the request after Retry-After seconds.",
}

#: Refusals of every request, of requests with a session, and of requests with a body.
ALWAYS = (401, 403, 405, 500, 503)
OF_SESSION = (*ALWAYS, 400, 404, 409)
WITH_BODY = (*OF_SESSION, 408, 413, 422, 429)


def openapi(service: Service) -> Schema:
    """Return the description of a service."""
    model = service.sessions.model
    most = service.settings.max_batch
    document: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": f"seqkeras serve: {model.name}",
            "version": seqkeras.__version__,
            "description": DESCRIPTION,
        },
        "paths": {**_session_paths(most), **_service_paths()},
        "components": {
            "schemas": _schemas(model, most),
            "parameters": {"id": _ID},
            "responses": {
                f"Refused{status}": _response(meaning, _ref("Refusal"))
                for status, meaning in REFUSALS.items()
            },
        },
    }
    if service.access.required:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


_ID: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "Id of the session, chosen by the client. Its first step creates it.",
    "schema": {"type": "string", "pattern": f"^{ID_PATTERN}$", "maxLength": 128},
    "example": "pump-7",
}


def _session_paths(most: int) -> Schema:
    step = _operation("step", "Send one observation.", "StepReply", body="Step")
    steps = _operation("steps", "Send several observations of a session.", "Steps", body="StepsOf")
    rollout = _operation(
        "rollout",
        "Return the next outputs if each were the next observation; the session does not move.",
        "Rollout",
        body="RolloutOf",
    )
    warm_up = _operation(
        "warmUp", "Read the stored inputs again, with the program that runs now.", "WarmedUp"
    )
    recent = _operation(
        "recent", "Return the newest steps, and record more for a minute.", "Recent"
    )
    session = {
        "get": _operation("export", "Return the state of a session.", "Session"),
        "put": _operation("import", "Set the state of a session.", "Imported", body="State"),
        "delete": _operation("delete", "Delete a session.", "Deleted"),
    }
    path = "/v1/sessions/{id}"
    many = _operation(
        "stepMany",
        f"Send one observation each of up to {most} sessions; null where one was refused.",
        "ManyReply",
        body="Many",
        of_session=False,
    )
    listing = _operation(
        "sessions", "List up to 100 sessions in memory.", "Sessions", of_session=False
    )
    return {
        f"{path}/step": _path(post=step),
        f"{path}/steps": _path(post=steps),
        f"{path}/rollout": _path(post=rollout),
        f"{path}/warmup": _path(post=warm_up),
        f"{path}/recent": _path(get=recent),
        path: _path(**session),
        "/v1/steps": {"post": many},
        "/v1/sessions": {"get": listing},
    }


def _service_paths() -> Schema:
    status = _operation("status", "Return counters and latency.", "Status", of_session=False)
    model = _operation("model", "Describe the model.", "Model", of_session=False)
    reload = _operation(
        "reload", "Load the program file again.", "Model", of_session=False, tag="service"
    )
    reload["responses"]["409"] = _refused(409)
    return {
        "/v1/status": {"get": status},
        "/v1/model": {"get": model, "post": reload},
        "/healthz": {"get": _probe("healthz", "The process runs.", "alive", (200,))},
        "/readyz": {"get": _probe("readyz", "States can be stored.", "ready", (200, 503))},
        "/metrics": {"get": _metrics()},
    }


def _operation(
    name: str,
    summary: str,
    reply: str,
    *,
    body: str | None = None,
    of_session: bool = True,
    tag: str = "",
) -> Schema:
    statuses = WITH_BODY if body else OF_SESSION if of_session else ALWAYS
    operation: Schema = {
        "operationId": name,
        "summary": summary,
        "tags": [tag or ("sessions" if of_session or body else "service")],
        "responses": {
            "200": _response("Done.", _ref(reply)),
            **{str(status): _refused(status) for status in sorted(statuses)},
        },
    }
    if body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(body)}},
        }
    return operation


def _probe(name: str, summary: str, field: str, statuses: tuple[int, ...]) -> Schema:
    schema = _object({field: {"type": "boolean"}})
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["service"],
        "security": [],
        "responses": {str(status): _response(summary, schema) for status in statuses},
    }


def _metrics() -> Schema:
    operation = _operation("metrics", "Counters for Prometheus.", "Status", of_session=False)
    operation["responses"]["200"] = {
        "description": "The text format of Prometheus.",
        "content": {"text/plain": {"schema": _TEXT}},
    }
    return operation


def _path(**operations: Schema) -> Schema:
    return {"parameters": [{"$ref": "#/components/parameters/id"}], **operations}


def _response(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refused(status: int) -> Schema:
    return {"$ref": f"#/components/responses/Refused{status}"}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, *, optional: Schema | None = None, closed: bool = False) -> Schema:
    schema: Schema = {
        "type": "object",
        "required": list(properties),
        "properties": {**properties, **(optional or {})},
    }
    if closed:
        schema["additionalProperties"] = False
    return schema


def _list(items: Schema, size: int | None = None, most: int | None = None) -> Schema:
    schema: Schema = {"type": "array", "items": items}
    if size is not None:
        schema |= {"minItems": size, "maxItems": size}
    if most is not None:
        schema |= {"minItems": 1, "maxItems": most}
    return schema


_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": MOST_NUMBER}
_NUMBER: Schema = {**_COUNT, "type": ["integer", "null"], "description": "Number of the step."}
_TEXT: Schema = {"type": "string"}
_SOME: Schema = {"type": ["number", "null"]}
_ANYTHING: Schema = {"type": "object"}


def _schemas(served: ServedModel, most: int) -> Schema:
    model, kind = served.describe(), served.kind
    state = _state(sum(math.prod(shape) * dtype.itemsize for shape, dtype in served.states))
    observation, output = _ref("Observation"), _ref("Output")
    name = {"type": "string", "pattern": f"^{ID_PATTERN}$", "maxLength": 128}
    numbers = {"step": _NUMBER}
    return {
        "Observation": _observation(model, kind),
        "Output": _output(model, kind),
        "Step": _object({"x": observation}, optional=numbers, closed=True),
        "StepReply": _object({"y": output, "step": _COUNT}),
        "StepsOf": _object({"x": _list(observation, most=most)}, optional=numbers, closed=True),
        "Steps": _object({"y": _list(output), "step": _COUNT}),
        "Many": _object(
            {
                "sessions": {**_list(name, most=most), "uniqueItems": True},
                "x": {**_list(observation, most=most), "description": "One for each session."},
            },
            optional={"step": {"type": ["array", "null"], "items": _NUMBER}},
            closed=True,
        ),
        "ManyReply": _object(
            {"y": _list({"anyOf": [output, {"type": "null"}]}), "step": _list(_NUMBER)},
            optional={"errors": {**_ANYTHING, "additionalProperties": _ref("Refusal")}},
        ),
        "RolloutOf": _object(
            {"steps": {"type": "integer", "minimum": 1, "maximum": MOST_STEPS}},
            optional={"future": _future(model)},
            closed=True,
        ),
        "Rollout": _object({"y": _list({})}),
        "State": _object(
            {"state": state, "step": _COUNT},
            optional={"fingerprint": {"type": ["string", "null"]}},
        ),
        "Session": _object(
            {"id": _TEXT, "step": _COUNT, "seen": {"type": "number"}, "fingerprint": _TEXT,
             "state": state}
        ),
        "Imported": _object({"id": _TEXT, "step": _COUNT}),
        "Deleted": _object({"deleted": {"type": "boolean"}}),
        "WarmedUp": _object({"inputs": _COUNT}),
        "Sessions": _object(
            {"sessions": _list(_object({"id": _TEXT, "step": _COUNT, "seen": {"type": "number"}}))}
        ),
        "Recent": _object(
            {"id": _TEXT, "inputs": _list(_TEXT), "outputs": _list(_TEXT), "step": _list(_COUNT),
             "time": _list({"type": "number"}), "x": _list(_list(_SOME)), "y": _list(_list(_SOME))}
        ),
        "Status": _object(
            {"time": {"type": "number"}, "uptime": {"type": "number"},
             "ready": {"type": "boolean"},
             "steps": _COUNT, "requests": _COUNT, "refused": _COUNT, "failed": _COUNT,
             "sessions_in_memory": _COUNT, "sessions_evicted": _COUNT,
             "latency": _ANYTHING, "latencies": _ANYTHING}
        ),
        "Model": _object(
            {"name": _TEXT, "kind": _TEXT, "fingerprint": _TEXT, "store": _TEXT,
             "durability": _TEXT, "history": _COUNT, "inputs": _list(_ANYTHING),
             "outputs": _list(_ANYTHING), "features": {"type": ["array", "null"], "items": _TEXT}}
        ),
        "Refusal": _object(
            {"error": {**_TEXT, "description": "What is wrong, and the fix."}, "code": _TEXT},
            optional={"expected": _COUNT},
        ),
    }  # fmt: skip


def _observation(model: Schema, kind: str) -> Schema:
    """Return the schema of an observation: its numbers in order, or by name."""
    ports = model["inputs"]
    width = sum(math.prod(port["shape"]) for port in ports)
    numbers = {_dumped(_number(port, kind)): _number(port, kind) for port in ports}
    item = next(iter(numbers.values())) if len(numbers) == 1 else {"anyOf": [*numbers.values()]}
    if model["features"] is not None:
        by_name = dict.fromkeys(model["features"], item)
    else:
        by_name = {port["name"]: _values(port, kind) for port in ports}
    return {"anyOf": [_list(item, width), _object(by_name, closed=True)]}


def _values(port: Schema, kind: str) -> Schema:
    size = math.prod(port["shape"])
    number = _number(port, kind)
    return {"anyOf": [number, _list(number, 1)]} if size == 1 else _list(number, size)


def _number(port: Schema, kind: str) -> Schema:
    """Return the schema of one number of an input."""
    if port["dtype"].startswith(("int", "uint")):
        return {"type": "integer", "minimum": 0, "description": "An id."}
    if kind == "forecaster":  # a value may be missing
        return _SOME
    if port["dtype"] == "float64":
        return {"type": "number"}
    # Numbers from here on are rounded to infinity.
    limits = np.finfo(port["dtype"])
    limit = 2.0**limits.maxexp * (1 - 2.0 ** -(limits.nmant + 2))
    return {"type": "number", "exclusiveMinimum": -limit, "exclusiveMaximum": limit}


def _dumped(schema: Schema) -> str:
    return repr(sorted(schema.items(), key=str))


def _output(model: Schema, kind: str) -> Schema:
    parts = {}
    for port in model["outputs"]:
        schema = _SOME
        for size in reversed(port["shape"]):
            schema = _list(schema, size)
        parts[port["name"]] = schema
    plain = len(parts) == 1 and kind != "forecaster"
    return next(iter(parts.values())) if plain else _object(parts)


def _state(size: int) -> Schema:
    """Return the schema of bytes of a known length, in base64."""
    letter = "[A-Za-z0-9+/]"
    end = ("", "[AQgw]==", "[AEIMQUYcgkosw048]=")[size % 3]
    length = size // 3 * 4 + size % 3
    return {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": f"^{letter}{{{length}}}{end}$",
        "description": f"The {size} bytes of the state.",
    }


def _future(model: Schema) -> Schema:
    inputs, outputs = (
        sum(math.prod(port["shape"]) for port in model[side]) for side in ("inputs", "outputs")
    )
    return {
        "type": ["array", "null"],
        "items": _list({"type": "number"}, max(inputs - outputs, 0)),
        "description": "Inputs that are not outputs, a row for each step but the first.",
    }

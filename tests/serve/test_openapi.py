"""Tests that the service does what its description in OpenAPI says, for any body."""

import base64
import json
import re

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.examples import QUICK
from helpers.json_schema import problem, resolved
from helpers.serve import small_program
from helpers.service_process import ServiceProcess

FEATURES = ("flow", "pressure", "heat")
FLOAT32 = st.floats(-1e6, 1e6, width=32)
WHOLE = st.integers(0, 3)

#: Bodies that the description allows.
OBSERVATIONS = st.one_of(
    st.lists(FLOAT32, min_size=3, max_size=3),
    st.fixed_dictionaries(dict.fromkeys(FEATURES, FLOAT32)),
)
STEPS = st.fixed_dictionaries(
    {"x": OBSERVATIONS}, optional={"step": st.one_of(st.none(), WHOLE, WHOLE.map(float))}
)

#: Any JSON, much of it near what is allowed.
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["pump-7", "x", 1e39, -1]),
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["x", "step", "steps", "sessions", "future", "state", *FEATURES, "z"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openapi")
    store = f"sqlite:///{folder}/sessions.db"
    settings = {"store": store, "durability": "process", "history": 2}
    with (
        ServiceProcess(small_program(folder), **settings) as service,
        httpx.Client(base_url=f"http://127.0.0.1:{service.port}") as client,
    ):
        yield client


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method, operation


def documented(document, path, method, reply):
    """Check that status and body of a reply are those of the description, and return the body."""
    responses = document["paths"][path][method]["responses"]
    assert str(reply.status_code) in responses, (path, method, reply.status_code, reply.text)
    response = responses[str(reply.status_code)]
    if "$ref" in response:
        response = resolved(response["$ref"], document)
    if "application/json" not in response["content"]:
        return reply.text
    body = reply.json()
    wrong = problem(body, response["content"]["application/json"]["schema"], document)
    assert wrong is None, (path, method, wrong)
    return body


def test_every_reference_leads_somewhere(document):
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert len(references) > 50
    for reference in references:
        assert resolved(reference, document)


def test_operations_have_names_of_their_own(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert {"step", "stepMany", "rollout", "status"} < set(names)
    assert len(names) == len(set(names))


def test_the_names_and_the_width_of_the_model_are_described(document):
    by_number, by_name = document["components"]["schemas"]["Observation"]["anyOf"]
    assert (by_number["minItems"], by_number["maxItems"]) == (3, 3)
    assert by_name["required"] == list(FEATURES)
    assert by_name["additionalProperties"] is False
    output = document["components"]["schemas"]["Output"]
    assert (output["minItems"], output["maxItems"]) == (2, 2)


def test_the_described_state_is_the_exported_one(client, document):
    client.post("/v1/sessions/described/step", json={"x": [0.0, 0.0, 0.0]})
    saved = client.get("/v1/sessions/described").json()
    pattern = document["components"]["schemas"]["State"]["properties"]["state"]["pattern"]
    assert re.fullmatch(pattern, saved["state"])
    assert not re.fullmatch(pattern, base64.b64encode(b"\0" * 31).decode())
    reply = client.put("/v1/sessions/copy", json=saved)
    documented(document, "/v1/sessions/{id}", "put", reply)
    assert reply.status_code == 200


def test_every_route_without_a_body_replies_as_described(client, document):
    client.post("/v1/sessions/pump-7/step", json={"x": [0.0, 0.0, 0.0]})
    for path, method, operation in operations(document):
        if "requestBody" in operation or operation["operationId"] == "delete":
            continue
        reply = client.request(method, path.replace("{id}", "pump-7"))
        documented(document, path, method, reply)
        assert reply.status_code == 200, path


def test_every_described_path_refuses_other_methods_and_names_its_own(client, document):
    for path, methods in document["paths"].items():
        reply = client.request("TRACE", path.replace("{id}", "pump-7"))
        assert reply.status_code == 405
        allowed = {word.strip().lower() for word in reply.headers["allow"].split(",")} - {"head"}
        assert allowed == methods.keys() - {"parameters"}


@given(body=STEPS)
def test_described_steps_are_taken_or_are_at_another_number(client, document, body):
    path = "/v1/sessions/{id}/step"
    reply = client.post(path.format(id="fuzzed"), json=body)
    documented(document, path, "post", reply)
    assert reply.status_code in (200, 409)


@settings(max_examples=2 * QUICK)
@given(body=ANYTHING, number=st.integers(0, 20))
def test_any_body_gets_a_described_reply_and_never_an_unexpected_error(
    client, document, body, number
):
    targets = [(p, m) for p, m, operation in operations(document) if "requestBody" in operation]
    path, method = targets[number % len(targets)]
    schema = document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
    content = json.dumps(body).encode("utf-8", "surrogatepass")
    reply = client.request(method, path.format(id="any"), content=content)
    documented(document, path, method, reply)
    assert reply.status_code != 500
    if problem(body, schema, document):
        assert reply.status_code in (400, 404, 409, 413, 422)


@given(name=st.text(max_size=20))
def test_any_id_is_refused_or_is_a_session(client, name):
    url = httpx.URL(client.base_url).copy_with(
        raw_path=b"/v1/sessions/" + "".join(f"%{b:02x}" for b in name.encode()).encode() + b"/step"
    )
    reply = client.post(url, json={"x": [0.0, 0.0, 0.0]})
    valid = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,127}", name)
    assert reply.status_code == 200 if valid else reply.status_code in (400, 404, 405)


def test_tokens_are_described_where_they_are_needed(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("admin 0123456789abcdef\n")
    with ServiceProcess(small_program(tmp_path), tokens=str(tokens)) as service:
        headers = {"authorization": "Bearer 0123456789abcdef"}
        url = f"http://127.0.0.1:{service.port}/openapi.json"
        document = httpx.get(url, headers=headers).json()
    assert document["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["paths"]["/healthz"]["get"]["security"] == []

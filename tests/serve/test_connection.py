"""Steps over HTTP: however a request arrives, it is answered once, in order and in bounds."""

import contextlib
import json
import select
import socket
import threading
import time

import pytest
import uvicorn

from helpers.serve import small_program, uninterrupted
from helpers.service_process import stored_service
from seqkeras import runtime
from seqkeras.serve import create_app
from seqkeras.serve._connection import Connection
from seqkeras.serve._recorder import Recorder

X = [0.5, -0.25, 1.0]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return small_program(tmp_path_factory.mktemp("connection"))


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def service(program, request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    with stored_service(program, request.param, folder, timeout=1.0) as service:
        yield service


@pytest.fixture
def client(service):
    with socket.create_connection(("127.0.0.1", service.port), 10) as client:
        yield client


@contextlib.contextmanager
def connected(app, **options):
    """Run an application in a thread with options of uvicorn, and yield a connection to it."""
    options = {"timeout_graceful_shutdown": 1, "log_config": None, **options}
    config = uvicorn.Config(app, http=Connection, lifespan="on", **options)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            with socket.create_connection(listener.getsockname(), 10) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def step(session, number=None, *, version="1.1", headers=""):
    body = json.dumps({"x": X, "step": number})
    head = f"POST /v1/sessions/{session}/step HTTP/{version}\r\nHost: localhost\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def get(session):
    return f"GET /v1/sessions/{session} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def replies(client, count):
    """Return status and body of the next replies."""
    file = client.makefile("rb")
    for _ in range(count):
        status = int(file.readline().split()[1])
        length = 0
        while line := file.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        yield status, json.loads(file.read(length))


def test_requests_sent_ahead_are_answered_in_order(client):
    ahead = [step("a", 0), step("a", 1), get("a"), step("b"), step("a", 7), step("a", 2), get("a")]
    client.sendall(b"".join(ahead))
    received = list(replies(client, len(ahead)))
    assert [status for status, _ in received] == [200, 200, 200, 200, 409, 200, 200]
    assert [body.get("step") for _, body in received] == [0, 1, 2, 0, None, 2, 3]
    assert received[4][1]["expected"] == 2


def test_a_request_may_arrive_in_pieces(client):
    request = step("pieces", 0)
    for start in range(0, len(request), 7):
        client.sendall(request[start : start + 7])
        select.select([client], [], [], 0.001)  # the service reads each by itself
    assert next(replies(client, 1))[0] == 200


@pytest.mark.parametrize(
    ("first", "second", "arrived"),
    [
        ("a", "b", -5),  # all but the end of the body
        ("a", "b", 20),  # a part of the head
        ("a", "%62", -5),  # which the application answers
        ("%61", "b", 20),  # after a reply of the application
    ],
)
def test_a_request_that_has_begun_keeps_its_connection(program, first, second, arrived):
    request = step(second, 0)
    with connected(create_app(program), timeout_keep_alive=0.1) as client:
        client.sendall(step(first, 0) + request[:arrived])
        time.sleep(0.3)
        client.sendall(request[arrived:])
        assert [status for status, _ in replies(client, 2)] == [200, 200]
        assert client.recv(1) == b""  # an idle connection still ends


def test_a_body_that_is_too_slow_is_refused_once(client, service):
    request = step("slow", 0)
    client.sendall(request[:-5])
    received = client.recv(4096)
    with contextlib.suppress(ConnectionError):
        client.sendall(request[-5:])
        while data := client.recv(4096):
            received += data
    assert received.startswith(b"HTTP/1.1 408 ")
    assert received.count(b"HTTP/1.1") == 1
    metrics = service.request("GET", "/metrics")[1].decode()
    seconds = metrics.partition("\nseqkeras_request_seconds_sum ")[2].split()[0]
    assert float(seconds) < 60


def test_outputs_are_those_of_the_program(client, program):
    client.sendall(b"".join(step("outputs") for _ in range(20)))
    outputs = [body["y"] for _, body in replies(client, 20)]
    expected = uninterrupted(runtime.load(program), [X] * 20)
    assert outputs == [pytest.approx(row, abs=1e-6) for row in expected.tolist()]


@pytest.mark.parametrize(
    "form",
    [
        {"version": "1.0"},
        {"version": "1.0", "headers": "Connection: keep-alive\r\n"},  # which uvicorn never keeps
        {"headers": "Connection: close\r\n"},
    ],
)
def test_the_connection_ends_if_the_client_wants_that(client, form):
    client.sendall(step("ends", **form))
    received = b""
    while data := client.recv(4096):
        received += data
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in received
    assert received.count(b"HTTP/1.1") == 1


def test_other_forms_of_the_same_request(client):
    client.sendall(step("%66orm", 0))
    assert next(replies(client, 1))[1]["step"] == 0
    body = json.dumps({"x": X, "step": 1}).encode()
    head = b"POST /v1/sessions/form/step HTTP/1.1\r\nHost: localhost\r\n"
    client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
    client.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    assert next(replies(client, 1))[1]["step"] == 1
    client.sendall(step("form", 2, headers="Expect: 100-continue\r\n"))
    assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert next(replies(client, 1))[1]["step"] == 2


def test_a_step_is_taken_though_its_client_has_gone(service):
    with socket.create_connection(("127.0.0.1", service.port), 10) as client:
        client.sendall(step("gone", 0))
    body = {"x": X, "step": 1}
    for _ in range(100):  # the other connection may be read first
        status, reply, _ = service.request("POST", "/v1/sessions/gone/step", body)
        if status == 200:
            break
    assert status == 200
    assert reply["step"] == 1


class BrokenRecorder(Recorder):
    """Records a step and then fails."""

    def add(self, key, number, x, y):
        super().add(key, number, x, y)
        raise RuntimeError("The recorder is broken.")


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("session", ["a", "%61"])  # without the application, and through it
def test_a_reply_that_cannot_be_made_is_an_error_and_the_next_one_comes(
    program, tmp_path, store, session
):
    url = store if store == "memory" else f"sqlite:///{tmp_path}/sessions.db"
    app = create_app(program, store=url)
    app.service.recorder = BrokenRecorder()
    app.service.recorder.look("/a")
    with connected(app) as client:
        client.sendall(step(session, 0) + step("b", 7) + step(session))
        assert [status for status, _ in replies(client, 3)] == [500, 409, 500]
        app.service.recorder = Recorder()
        client.sendall(step(session, 2))
        assert next(replies(client, 1))[0] == 200


def test_a_reply_that_cannot_be_encoded_is_an_error_and_counted_once(program, monkeypatch):
    app = create_app(program)
    app.service.recorder.look("/a")  # so that the reply is not made by the quick step
    monkeypatch.setattr(app.service.sessions.model, "write", lambda outputs: object())
    with connected(app) as client:
        client.sendall(step("a", 0))
        assert next(replies(client, 1))[0] == 500
        monkeypatch.undo()
        client.sendall(step("a", 1))
        assert next(replies(client, 1))[0] == 200
    assert app.service.meter.requests == {("step", 500): 1, ("step", 200): 1}


def test_each_request_of_a_connection_is_of_the_client_of_its_token(program, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("north 0123456789abcdef\nsouth fedcba9876543210\n")
    north = "Authorization: Bearer 0123456789abcdef\r\n"
    south = "Authorization: Bearer fedcba9876543210\r\n"
    requests = [
        (0, north, 200),
        (1, south, 409),  # the session of the other client is not its own
        (1, "", 401),
        (1, "Authorization: Bearer 0123456789abcdee\r\n", 401),
        (0, south, 200),
        (1, f"{north}Origin: http://example.com\r\n", 403),
        (1, "", 401),
        (1, north, 200),
    ]
    with connected(create_app(program, tokens=str(tokens))) as client:
        client.sendall(b"".join(step("a", number, headers=head) for number, head, _ in requests))
        statuses = [status for status, _ in replies(client, len(requests))]
    assert statuses == [status for _, _, status in requests]


def test_requests_far_ahead_of_replies_take_no_memory(service):
    """The client sends all the time and reads nothing."""
    before = service.memory()
    requests = step("deaf") * 2_000
    sent = 0
    with socket.create_connection(("127.0.0.1", service.port), 10) as client:
        client.settimeout(0.5)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 10**8:
                sent += client.send(requests)
    assert sent < 5 * 10**7
    assert service.memory() - before < 2 * 10**7

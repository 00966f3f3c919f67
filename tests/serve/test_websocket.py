"""Steps over a WebSocket: answered in order, whatever is wrong with one, and only to its client."""

import contextlib
import json

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from helpers.serve import small_program, uninterrupted
from helpers.service_process import ServiceProcess, stored_service
from seqkeras import runtime

X = [0.5, -0.25, 1.0]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return small_program(tmp_path_factory.mktemp("websocket"))


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def service(program, request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    with stored_service(program, request.param, folder, max_body=100_000) as service:
        yield service


def stream(service, session, **options):
    return connect(f"ws://127.0.0.1:{service.port}/v1/sessions/{session}/stream", **options)


def message(number=None, x=X):
    return json.dumps({"x": x, "step": number})


def test_outputs_are_those_of_the_program(service, program):
    with stream(service, "outputs") as client:
        outputs = []
        for number in range(20):
            client.send(message(number))
            reply = json.loads(client.recv(10))
            assert reply["step"] == number
            outputs.append(reply["y"])
    expected = uninterrupted(runtime.load(program), [X] * 20)
    assert outputs == [pytest.approx(row, abs=1e-6) for row in expected.tolist()]


def test_messages_sent_ahead_are_answered_in_order(service):
    with stream(service, "ahead") as client:
        for number in range(200):
            client.send(message(number))
        assert [json.loads(client.recv(10))["step"] for _ in range(200)] == list(range(200))


def test_a_refused_step_is_answered_and_the_next_one_too(service):
    with stream(service, "refused") as client:
        sent = [message(0), message(5), "{", message(1, [1, 2]), message(1)]
        for text in sent:
            client.send(text)
        replies = [json.loads(client.recv(10)) for _ in sent]
    assert [reply.get("code") for reply in replies] == [
        None,
        "wrong_step",
        "wrong_body",
        "wrong_value",
        None,
    ]
    assert replies[-1]["step"] == 1


def test_order_holds_between_recorded_and_other_steps(service):
    """A step of a session that someone looks at takes another way than one that nobody sees."""
    with stream(service, "seen") as client:
        client.send(message(0))
        json.loads(client.recv(10))
        for number in range(1, 50):
            client.send(message(number))
        assert service.request("GET", "/v1/sessions/seen/recent")[0] == 200
        for number in range(50, 100):
            client.send(message(number))
        assert [json.loads(client.recv(10))["step"] for _ in range(99)] == list(range(1, 100))
    recorded = service.request("GET", "/v1/sessions/seen/recent")[1]["step"]
    assert recorded[-1] == 99
    assert recorded == list(range(recorded[0], 100))


def test_bytes_are_messagepack_and_parts_are_joined(service):
    with stream(service, "packed") as client:
        packed = msgspec.msgpack.encode({"x": X, "step": 0})
        client.send(packed)
        assert msgspec.msgpack.decode(client.recv(10))["step"] == 0
        client.send([packed[:10], packed[10:]])  # as fragments of one message
        assert msgspec.msgpack.decode(client.recv(10))["step"] == 0
        client.send(["", *message(1)])
        assert json.loads(client.recv(10))["step"] == 1
        assert client.ping().wait(10)


def test_two_streams_of_one_session_share_its_state(service):
    with stream(service, "shared") as first, stream(service, "shared") as second:
        for number in range(10):
            client = (first, second)[number % 2]
            client.send(message(number))
            assert json.loads(client.recv(10))["step"] == number


@pytest.mark.parametrize("path", ["/v1/sessions/a/b/stream", "/v1/sessions/-a/stream", "/v1/x"])
def test_other_paths_are_refused(service, path):
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{service.port}{path}")


def test_a_page_of_another_site_is_refused(service):
    with pytest.raises(InvalidStatus, match="403"):
        stream(service, "a", origin="http://example.com")


def test_a_message_that_is_too_large_ends_the_connection(service):
    with stream(service, "large") as client:
        with contextlib.suppress(ConnectionClosed):
            client.send(" " * 200_000)
        with pytest.raises(ConnectionClosed, match="1009"):
            client.recv(10)


def test_a_step_and_the_close_in_one_segment_end_in_order(service):
    with stream(service, "closing", compression=None) as client:
        client.send(message(0))
        assert json.loads(client.recv(10))["step"] == 0
        data = message(1).encode()
        text = bytes([0x81, 0x80 | len(data)]) + bytes(4) + data
        close = b"\x88\x82" + bytes(4) + b"\x03\xe8"
        client.socket.sendall(text + close)
        with pytest.raises(ConnectionClosedOK, match="1000"):
            client.recv(10)


def test_a_client_that_reads_no_replies_takes_no_memory(service):
    before = service.memory()
    # A receive window of one message, so that what is not read stays with the service.
    with stream(service, "deaf", max_queue=1, compression=None) as client:
        client.socket.settimeout(0.5)
        data = message().encode()
        frames = (bytes([0x81, 0x80 | len(data)]) + bytes(4) + data) * 1_000
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 10**8:
                sent += client.socket.send(frames)
        assert sent < 5 * 10**7
        assert service.memory() - before < 2 * 10**7
        client.socket.close()


def test_tokens_belong_to_clients(program, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("north 0123456789abcdef\nsouth fedcba9876543210\n")
    with ServiceProcess(program, tokens=str(tokens)) as service:
        with pytest.raises(InvalidStatus, match="403"):
            stream(service, "a")
        for token in ("0123456789abcdef", "fedcba9876543210"):
            headers = {"Authorization": f"Bearer {token}"}
            with stream(service, "a", additional_headers=headers) as client:
                client.send(message(0))
                assert json.loads(client.recv(10))["step"] == 0  # a session of its own

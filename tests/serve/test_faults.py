"""A service survives kills, full disks, locks, and clients that are slow, wrong or many."""

import contextlib
import http.client
import json
import random
import select
import shutil
import socket
import sqlite3
import threading
import time

import numpy as np
import pytest

from helpers.serve import small_program, uninterrupted
from helpers.service_process import ServiceProcess, send
from seqkeras import runtime
from seqkeras.serve._open_store import open_store
from seqkeras.serve._store import StoreUnavailableError

KILLS = 50
SESSIONS = 4


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return small_program(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/sessions.db"


@pytest.fixture
def service(program, url):
    with ServiceProcess(program, store=url, durability="process") as service:
        yield service


@pytest.fixture(scope="module")
def in_memory(program):
    settings = {"max_body": 100_000, "timeout": 1.0}
    with ServiceProcess(program, **settings) as service:
        yield service


def observations(session, count):
    rows = np.random.default_rng(session).normal(size=(count, 3)).round(3)
    return rows.tolist()


class Sensor(threading.Thread):
    """A client that sends the observations of one session until the service is gone.

    Attributes:
        outputs: what was acknowledged, in order.
    """

    def __init__(self, service, session, outputs):
        super().__init__()
        self.service = service
        self.session = session
        self.outputs = outputs
        self.errors = []

    def run(self):
        rows = observations(self.session, 20_000)
        path = f"/v1/sessions/sensor-{self.session}/step"
        try:
            connection = self.service.connect(timeout=5)
            while True:
                number = len(self.outputs)
                status, reply, _ = send(
                    connection, "POST", path, {"x": rows[number], "step": number}
                )
                if status != 200 or reply["step"] != number:
                    self.errors.append((number, status, reply))
                    return
                self.outputs.append(reply["y"])
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


def test_no_acknowledged_step_is_lost_or_doubled_by_kills(program, service):
    random.seed(0)
    acknowledged = [[] for _ in range(SESSIONS)]
    for _ in range(KILLS):
        sensors = [Sensor(service, i, outputs) for i, outputs in enumerate(acknowledged)]
        for sensor in sensors:
            sensor.start()
        wait_for(acknowledged, random.randrange(12))
        time.sleep(random.uniform(0, 0.01))
        service.kill()
        for sensor in sensors:
            sensor.join()
        assert not [sensor.errors for sensor in sensors if sensor.errors]
        service.start()
    loaded = runtime.load(program)
    for session, outputs in enumerate(acknowledged):
        status, reply, _ = service.request("GET", f"/v1/sessions/sensor-{session}")
        # The last step may have been stored without an acknowledgement.
        assert status == 200
        assert reply["step"] in (len(outputs), len(outputs) + 1)
        expected = uninterrupted(loaded, observations(session, len(outputs)))
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert sum(map(len, acknowledged)) > 2 * KILLS


def wait_for(acknowledged, more):
    """Return when the sessions together have `more` acknowledged steps than now."""
    start = sum(map(len, acknowledged))
    deadline = time.monotonic() + 30
    while sum(map(len, acknowledged)) < start + more:
        assert time.monotonic() < deadline, "the service takes no steps"
        time.sleep(0.001)


def test_a_stop_finishes_what_was_accepted(service):
    outputs = []
    sensor = Sensor(service, 0, outputs)
    sensor.start()
    while len(outputs) < 5:
        time.sleep(0.005)
    service.kill(15)
    sensor.join()
    # A request may meet the closing service; what was stored was acknowledged before.
    assert all(status == 503 for _, status, _ in sensor.errors)
    service.start()
    assert service.request("GET", "/v1/sessions/sensor-0")[1]["step"] == len(outputs)


def test_changed_bytes_are_found_and_never_served(program, service, tmp_path):
    """Flip bytes of the stored states: each session is as it was, or is refused."""
    count = 30
    for session in range(count):
        for number in range(2):
            body = {"x": observations(session, 2)[number], "step": number}
            assert service.request("POST", f"/v1/sessions/s{session}/step", body)[0] == 200
    service.kill(15)
    loaded = runtime.load(program)
    expected = [uninterrupted(loaded, observations(i, 2))[-1] for i in range(count)]
    path = tmp_path / "sessions.db"
    intact = path.read_bytes()
    chosen = random.Random(1)
    refused = 0
    for _ in range(4):
        data = bytearray(intact)
        for _ in range(40):
            data[chosen.randrange(8192, len(data))] ^= 1 << chosen.randrange(8)
        path.write_bytes(data)
        service.start()
        for session in range(count):
            body = {"x": observations(session, 2)[1], "step": 1}
            status, reply, _ = service.request("POST", f"/v1/sessions/s{session}/step", body)
            if status == 200:
                np.testing.assert_allclose(reply["y"], expected[session], atol=1e-5)
            else:
                # A flipped key looks like a new session, which expects step 0.
                assert status in (500, 503) or reply.get("expected") == 0, reply
                refused += 1
        service.kill()
        for name in ("sessions.db-wal", "sessions.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    assert refused


def test_a_torn_log_leaves_the_last_whole_commit(program, service, tmp_path):
    outputs = []
    for number in range(40):
        body = {"x": observations(0, 40)[number], "step": number}
        outputs.append(service.request("POST", "/v1/sessions/a/step", body)[1]["y"])
    service.kill()
    saved = {name: (tmp_path / name).read_bytes() for name in ("sessions.db", "sessions.db-wal")}
    chosen = random.Random(2)
    seen = set()
    for _ in range(5):
        for name, data in saved.items():
            (tmp_path / name).write_bytes(data)
        log = saved["sessions.db-wal"]
        (tmp_path / "sessions.db-wal").write_bytes(log[: chosen.randrange(len(log))])
        (tmp_path / "sessions.db-shm").unlink(missing_ok=True)
        service.start()
        status, reply, _ = service.request("GET", "/v1/sessions/a")
        steps = reply["step"] if status == 200 else 0
        seen.add(steps)
        if steps:
            body = {"x": observations(0, 40)[steps - 1], "step": steps - 1}
            repeated = service.request("POST", "/v1/sessions/a/step", body)[1]["y"]
            np.testing.assert_allclose(repeated, outputs[steps - 1], atol=1e-6)
        service.kill()
    assert len(seen) > 1


def test_a_full_disk_is_an_error_and_heals(program, url):
    with contextlib.ExitStack() as stack:
        service = ServiceProcess(program, store=url, durability="process")
        stack.callback(service.__exit__)
        service.start(file_limit=300_000)
        number = 0
        while True:
            body = {"x": observations(0, 3000)[number], "step": number}
            status, reply, headers = service.request("POST", "/v1/sessions/a/step", body)
            if status != 200:
                break
            number += 1
            assert number < 2500, "the limit was never reached"
        assert (status, reply["code"]) == (503, "store_unavailable")
        assert headers["retry-after"] == "1"
        assert service.request("GET", "/readyz")[0] == 503
        assert service.request("GET", "/healthz")[0] == 200
        service.lift_file_limit()
        assert service.request("GET", "/readyz")[0] == 200
        assert service.request("POST", "/v1/sessions/a/step", body)[:2][0] == 200
        assert service.request("GET", "/v1/sessions/a")[1]["step"] == number + 1


def test_a_locked_database_is_an_error_and_heals(service, tmp_path):
    body = {"x": observations(0, 1)[0], "step": 0}
    other = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    status, reply, _ = service.request("POST", "/v1/sessions/a/step", body)
    assert (status, reply["code"]) == (503, "store_unavailable")
    assert "locked" in reply["error"]
    other.execute("ROLLBACK")
    other.close()
    assert service.request("POST", "/v1/sessions/a/step", body)[0] == 200


def test_two_services_cannot_share_a_file(service, url):
    with pytest.raises(StoreUnavailableError, match="another service uses this file"):
        open_store(url)


def test_a_huge_body_is_refused_while_it_arrives(in_memory):
    before = in_memory.memory()
    with socket.create_connection(("127.0.0.1", in_memory.port), 10) as client:
        client.sendall(b"POST /v1/sessions/a/step HTTP/1.1\r\nhost: localhost\r\n")
        client.sendall(b"content-length: 1000000000\r\n\r\n")
        block = b" " * 2**16
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 10**9 and not readable(client):
                sent += client.send(block)
        reply = b""
        with contextlib.suppress(OSError):
            reply = client.recv(4096)
    assert sent < 2 * 10**7
    assert not reply or reply.startswith(b"HTTP/1.1 413")
    assert in_memory.memory() - before < 3 * 10**7


def readable(client):
    return bool(select.select([client], [], [], 0)[0])


def test_a_body_that_does_not_arrive_is_given_up(in_memory):
    with socket.create_connection(("127.0.0.1", in_memory.port), 10) as client:
        client.sendall(b"POST /v1/sessions/slow/step HTTP/1.1\r\nhost: localhost\r\n")
        client.sendall(b'content-length: 50\r\n\r\n{"x": [')
        assert client.recv(4096).startswith(b"HTTP/1.1 408")
    assert in_memory.request("GET", "/v1/sessions/slow")[0] == 404


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"])
@pytest.mark.parametrize("head", [b"", b"GET /healthz HTTP/1.1\r\nho"])
def test_a_head_that_does_not_arrive_is_given_up(in_memory, before, head):
    with socket.create_connection(("127.0.0.1", in_memory.port), 10) as client:
        client.sendall(before)
        reply = b""
        while before and not reply.endswith(b'{"alive":true}'):
            reply += client.recv(4096)
        if head:
            client.sendall(head)
        start = time.monotonic()
        assert client.recv(4096) == b""
        assert time.monotonic() - start < 8


def test_a_huge_head_is_refused_while_it_arrives(in_memory):
    before = in_memory.memory()
    with socket.create_connection(("127.0.0.1", in_memory.port), 10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n")
        lines = b"".join(b"x-%d: %s\r\n" % (i, b"a" * 1000) for i in range(64))
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 10**8 and not readable(client):
                sent += client.send(lines)
    assert sent < 2 * 10**7
    assert in_memory.memory() - before < 10**7


def test_a_connection_between_requests_stays_open(in_memory):
    """A client that pauses for longer than the time of a head, but less than uvicorn waits."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", in_memory.port)) as client:
        client.connect()
        address = client.sock.getsockname()
        for _ in range(3):
            client.request("GET", "/healthz")
            assert client.getresponse().read() == b'{"alive":true}'
            assert client.sock.getsockname() == address  # no new connection
            time.sleep(1.5)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_long_rollout_lets_other_sessions_be_served(program, url, store):
    with ServiceProcess(program, store=store if store == "memory" else url) as service:
        body = {"x": [0.0, 0.0, 0.0]}
        assert service.request("POST", "/v1/sessions/long/step", body)[0] == 200
        connection = service.connect()
        future = [[0.5]] * 9_999
        data = json.dumps({"steps": 10_000, "future": future})
        connection.request("POST", "/v1/sessions/long/rollout", data)
        served = 0
        while not readable(connection.sock):
            assert service.request("POST", "/v1/sessions/short/step", body)[0] == 200
            served += 1
        reply = json.loads(connection.getresponse().read())
        connection.close()
    assert len(reply["y"]) == 10_000
    assert served >= 5


def test_many_idle_connections_do_not_stop_others(in_memory):
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            client = socket.create_connection(("127.0.0.1", in_memory.port), 10)
            stack.callback(client.close)
            client.sendall(b"POST /v1/sessions/")  # and never the rest
        body = {"x": [0.0, 0.0, 0.0]}
        assert in_memory.request("POST", "/v1/sessions/busy/step", body)[0] == 200


WRONG = {
    b"": 400,
    b"{": 400,
    b"[" * 50_000: 422,
    b'{"x": ' + b"[" * 2_000: 422,
    b'{"x": [1, 2, 3], "step": -1}': 422,
    b'{"x": [1, 2, 3], "step": 1.5}': 422,
    b'{"x": [1, 2, 3], "step": 99999999999999999999}': 422,
    b'{"x": [1, 2, NaN]}': 400,
    b'{"x": [1, 2, 1e308]}': 422,
    b'{"x": [1, 2, 1e999]}': 422,
    b'{"x": [1, 2, null]}': 422,
    b'{"x": [1, 2, "3"]}': 422,
    b'{"x": [1, 2]}': 422,
    b'{"x": {"flow": 1}}': 422,
    b'{"x": "123"}': 422,
    b'{"y": [1, 2, 3]}': 422,
    b"\xff\xfe": 400,
    b"1.5": 422,
    b'{"x": 1.5, "y"': 422,
}


@pytest.mark.parametrize(("body", "status"), WRONG.items(), ids=range(len(WRONG)))
def test_a_wrong_body_is_refused_and_creates_nothing(in_memory, body, status):
    actual, reply, _ = in_memory.request("POST", "/v1/sessions/wrong/step", body)
    assert actual == status, reply
    assert set(reply) >= {"error", "code"}
    assert "Traceback" not in reply["error"]
    assert in_memory.request("GET", "/v1/sessions/wrong")[0] == 404


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "a%2Fb", "-a", "a b", "a%00", "%C3%A4", "a" * 129, "", "a%0d%0ab"]
)
def test_wrong_ids_are_refused(in_memory, name):
    path = f"/v1/sessions/{name.replace(' ', '%20')}/step"
    status, _, _ = in_memory.request("POST", path, {"x": [0.0, 0.0, 0.0]})
    assert status in (400, 404)


def test_two_requests_for_the_same_step_move_once(service):
    replies = []

    def step():
        body = {"x": [0.5, 0.5, 0.5], "step": 0}
        replies.append(service.request("POST", "/v1/sessions/twice/step", body)[:2])

    threads = [threading.Thread(target=step) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in replies} == {200}
    assert len({str(reply) for _, reply in replies}) == 1
    assert service.request("GET", "/v1/sessions/twice")[1]["step"] == 1


def test_a_client_that_leaves_disturbs_nobody(service):
    with socket.create_connection(("127.0.0.1", service.port), 10) as client:
        client.sendall(b"POST /v1/sessions/gone/step HTTP/1.1\r\nhost: localhost\r\n")
        client.sendall(b'content-length: 15\r\n\r\n{"x": [1, 2, 3]}'[:-1])
    body = {"x": [0.0, 0.0, 0.0], "step": 0}
    assert service.request("POST", "/v1/sessions/other/step", body)[0] == 200


def test_the_files_of_a_stopped_service_can_be_moved(program, service, tmp_path):
    body = {"x": [0.5, 0.5, 0.5], "step": 0}
    service.request("POST", "/v1/sessions/a/step", body)
    service.kill(15)
    assert not (tmp_path / "sessions.db-wal").exists()
    shutil.move(tmp_path / "sessions.db", tmp_path / "moved.db")
    service.start(store=f"sqlite:///{tmp_path}/moved.db")
    assert service.request("GET", "/v1/sessions/a")[1]["step"] == 1

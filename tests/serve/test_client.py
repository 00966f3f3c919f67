"""Tests of the clients against real services that are lost, restarted and overloaded."""

import asyncio
import http.server
import threading

import httpx
import numpy as np
import pytest

from helpers.serve import small_program, uninterrupted
from helpers.service_process import ServiceProcess
from seqkeras import runtime
from seqkeras.errors import ArgumentError
from seqkeras.serve import AsyncClient, Client, SessionError

X = np.random.default_rng(0).normal(size=(12, 3)).round(3)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return small_program(tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def expected(program):
    return uninterrupted(runtime.load(program), X)


@pytest.fixture(scope="module")
def service(program):
    with ServiceProcess(program, history=4) as service:
        yield service


@pytest.fixture
def durable(program, tmp_path):
    store = f"sqlite:///{tmp_path}/sessions.db"
    with ServiceProcess(program, store=store, durability="process") as service:
        yield service


@pytest.fixture
def name(request):
    """Return a session id of this test."""
    return request.node.name.replace("[", "-").replace("]", "")


@pytest.fixture
def client(service):
    with Client(url_of(service)) as client:
        yield client


def url_of(service):
    return f"http://127.0.0.1:{service.port}"


class LosesReplies(httpx.HTTPTransport):
    """Sends every request to the service, and loses the replies to some."""

    def __init__(self, lost):
        super().__init__()
        self.lost = lost
        self.sent = []

    def handle_request(self, request):
        self.sent.append(request)
        response = super().handle_request(request)
        if len(self.sent) in self.lost:
            response.read()
            raise httpx.ReadTimeout("lost")
        return response


class Busy(httpx.HTTPTransport):
    """Replies to the first requests with a status, and sends the others to the service."""

    def __init__(self, status, times, headers=()):
        super().__init__()
        self.status, self.times, self.headers = status, times, dict(headers)

    def handle_request(self, request):
        if self.times:
            self.times -= 1
            return httpx.Response(self.status, headers=self.headers, text="busy")
        return super().handle_request(request)


def test_steps_give_what_the_program_gives_in_every_form(client, name, expected):
    session = client.session(name)
    outputs = [
        session.step(X[0].tolist()),
        session.step(dict(zip(("flow", "pressure", "heat"), X[1], strict=True))),
        session.step(X[2].astype("float32")),
        *session.steps(X[3:7]),
        *client.session(name).steps([X[7], X[8].tolist()]),
        client.step_many({name: X[9]})[name],
    ]
    np.testing.assert_allclose(outputs, expected[:10], atol=1e-6)


def test_the_asynchronous_client_gives_the_same(service, name, expected):
    async def run():
        async with AsyncClient(url_of(service)) as client:
            session = client.session(name)
            outputs = await asyncio.gather(*(session.step(row) for row in X[:4]))
            outputs += await session.steps(X[4:6])
            other = client.session(f"{name}-other")
            await other.import_state(await session.export_state())
            many = await client.step_many({name: X[6], other.name: X[6]})
            listed = {row["id"]: row["step"] for row in await client.sessions()}
            model = await client.model()
            assert await other.delete()
            return [*outputs, many[name]], many, listed, model

    outputs, many, listed, model = asyncio.run(run())
    np.testing.assert_allclose(outputs, expected[:7], atol=1e-6)
    assert many[name] == many[f"{name}-other"]
    assert listed[name] == 7
    assert model["features"] == ["flow", "pressure", "heat"]


def test_a_lost_reply_moves_the_state_once(service, name, expected):
    # Request 1 asks for the number, 2 and 3 are the first step, 4 to 6 the steps after it.
    transport = LosesReplies({2, 4, 5})
    with Client(url_of(service), transport=transport) as client:
        session = client.session(name)
        outputs = [session.step(X[0]), *session.steps(X[1:4]), session.step(X[4])]
        assert session.export_state().step == 5
    np.testing.assert_allclose(outputs, expected[:5], atol=1e-6)
    assert [request.url.path.rpartition("/")[2] for request in transport.sent[1:7]] == [
        "step",
        "step",
        "steps",
        "steps",
        "steps",
        "step",
    ]


def test_a_lost_reply_to_many_sessions_moves_each_once(service, name):
    with Client(url_of(service), transport=LosesReplies({3})) as client:
        names = [f"{name}-{i}" for i in range(2)]
        outputs = client.step_many(dict.fromkeys(names, X[0]))
        assert list(outputs) == names
        assert [client.session(n).export_state().step for n in names] == [1, 1]


def test_a_restart_is_not_noticed(durable, expected):
    with Client(url_of(durable)) as client:
        session = client.session("a")
        outputs = [session.step(row) for row in X[:3]]
        durable.kill()
        later = threading.Timer(0.3, durable.start)
        later.start()
        outputs += [session.step(row) for row in X[3:]]
        later.join()
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_after_an_outage_a_step_can_be_repeated_or_left_out(durable, expected):
    transport = LosesReplies({3})
    with Client(url_of(durable), retry_for=0, transport=transport) as client:
        session = client.session("a")
        session.step(X[0])
        with pytest.raises(SessionError) as caught:
            session.step(X[1])  # it is taken, but its reply is lost
        error = caught.value
        assert (error.code, error.status, error.step) == ("unreachable", None, 1)
        repeated = session.step(X[1], number=error.step)
        np.testing.assert_allclose(repeated, expected[1], atol=1e-6)
        np.testing.assert_allclose(session.step(X[2]), expected[2], atol=1e-6)
        durable.kill()
        with pytest.raises(SessionError, match="has not replied"):
            session.step(X[3])
        durable.start()
        # A caller that goes on with the next observation gets the output for it.
        assert session.step(X[5]) != pytest.approx(expected[3].tolist())
        assert session.export_state().step == 4


@pytest.mark.parametrize("status", [429, 503, 502])
def test_replies_that_say_later_are_repeated(service, name, status):
    transport = Busy(status, 3)
    with Client(url_of(service), transport=transport) as client:
        client.session(name).step(X[0])
        assert client.session(name).export_state().step == 1
    assert not transport.times


def test_retry_after_is_obeyed_within_the_time_for_retries(service, name):
    hours = Busy(503, 9, {"retry-after": "3600"})
    with (
        Client(url_of(service), transport=hours) as client,
        pytest.raises(SessionError, match="status 503"),
    ):
        client.session(name).step(X[0])
    patient = Busy(503, 1, {"retry-after": "1"})
    with Client(url_of(service), transport=patient, retry_for=0.5) as client:
        with pytest.raises(SessionError):
            client.session(name).step(X[0])
        assert client.session(name).step(X[0])


def test_a_refused_observation_leaves_the_session_as_it_was(client, name, expected):
    session = client.session(name)
    session.step(X[0])
    with pytest.raises(SessionError, match=r"x must be 3 numbers\. Got: .* flow, pressure, heat"):
        session.step([1.0, 2.0])
    with pytest.raises(SessionError, match="finite numbers") as caught:
        session.step([1.0, float("nan"), 0.0])
    assert (caught.value.status, caught.value.code) == (422, "wrong_value")
    with pytest.raises(ArgumentError, match="a object is no number"):
        session.step([1.0, object(), 0.0])
    np.testing.assert_allclose(session.step(X[1]), expected[1], atol=1e-6)


def test_two_clients_of_one_session_are_told_where_it_is(service, name):
    with Client(url_of(service)) as first, Client(url_of(service)) as second:
        first.session(name).step(X[0])
        second.session(name).steps(X[1:3])
        with pytest.raises(SessionError) as caught:
            first.session(name).steps(X[3:6], number=4)
        assert (caught.value.code, caught.value.details) == ("wrong_step", {"expected": 3})
        first.session(name).step(X[3])
        assert second.session(name).export_state().step == 4


def test_a_session_can_move_to_another_service(client, service, program, name, expected):
    session = client.session(name)
    session.steps(X[:5])
    with ServiceProcess(program) as other, Client(url_of(other)) as there:
        there.session(name).import_state(session.export_state())
        np.testing.assert_allclose(there.session(name).step(X[5]), expected[5], atol=1e-6)
    with pytest.raises(SessionError) as caught:
        session.import_state(session.export_state()._replace(fingerprint="other"))
    assert caught.value.code == "other_program"


def test_deleted_sessions_begin_anew(client, name, expected):
    session = client.session(name)
    session.steps(X[:3])
    assert session.delete()
    assert not session.delete()
    np.testing.assert_allclose(session.step(X[0]), expected[0], atol=1e-6)
    with pytest.raises(SessionError, match=f"no session '{name}-never'"):
        client.session(f"{name}-never").export_state()


def test_rollouts_do_not_move_and_warm_ups_read_the_stored_inputs(client, name, program):
    session = client.session(name)
    newest = session.steps(X[:6])[-1]
    rolled = session.rollout(3, future=[[0.1], [0.2]])
    loaded = runtime.load(program)
    state = loaded.initial_state(1)
    for row in X[:6]:
        y, state = loaded.step(row[np.newaxis], state)
    for step, extra in enumerate([0.1, 0.2], start=1):
        y, state = loaded.step(np.concatenate([y, [[extra]]], axis=1), state)
        np.testing.assert_allclose(rolled[step], y[0], atol=1e-5)
    assert rolled[0] == newest
    assert session.export_state().step == 6
    assert session.warm_up() == 4


def test_refused_sessions_of_many_are_named_and_the_others_move(service, name):
    names = [f"{name}-{letter}" for letter in "ab"]
    with Client(url_of(service)) as first, Client(url_of(service)) as second:
        first.step_many(dict.fromkeys(names, X[0]))
        for row in X[1:3]:
            second.session(names[1]).step(row)
        with pytest.raises(SessionError, match=f"1 sessions were refused.*{names[1]}") as caught:
            first.step_many(dict.fromkeys(names, X[1]))
        assert list(caught.value.outputs) == [names[0]]
        assert caught.value.details[names[1]]["expected"] == 3
        assert list(first.step_many(dict.fromkeys(names, X[2]))) == names
        with pytest.raises(SessionError, match="3 numbers"):
            first.step_many({key: [1.0] for key in names})


def test_threads_share_a_session(client, name):
    session = client.session(name)

    def run():
        for _ in range(5):
            client.session(name).step(X[0])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.export_state().step == 20


def test_a_service_without_room_says_when_to_come_back(program):
    with (
        ServiceProcess(program, client_sessions=1) as service,
        Client(url_of(service), retry_for=1) as client,
    ):
        client.session("a").step(X[0])
        with pytest.raises(SessionError, match="may have 1 sessions") as caught:
            client.session("b").step(X[0])
        assert (caught.value.status, caught.value.code) == (429, "too_many_sessions")
        assert client.session("a").step(X[1])


def test_tokens_separate_clients(program, tmp_path):
    file = tmp_path / "tokens"
    file.write_text("north 0123456789abcdef\nsouth fedcba9876543210 # comment\n")
    with ServiceProcess(program, tokens=str(file)) as service:
        url = url_of(service)
        with Client(url, token="0123456789abcdef") as north:
            north.session("a").step(X[0])
            with Client(url, token="fedcba9876543210") as south:
                south.session("a").step(X[0])
                assert south.session("a").export_state().step == 1
            assert north.session("a").export_state().step == 1
        for token in (None, "wrong-wrong-wrong"):
            with Client(url, token=token) as client, pytest.raises(SessionError) as caught:
                client.session("a").step(X[0])
            assert (caught.value.status, caught.value.code) == (401, "unauthorized")


def test_another_server_is_said_to_be_no_service(tmp_path):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if "model" in self.path else 404)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Client(f"http://127.0.0.1:{server.server_port}") as client:
        for ask in (client.model, client.session("a").export_state):
            with pytest.raises(SessionError) as caught:
                ask()
            assert caught.value.code == "no_service"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "127.0.0.1:8000"}, "a URL such as"),
        ({"url": "http://x", "timeout": 0}, "timeout must be"),
        ({"url": "http://x", "retry_for": -1}, "retry_for must be"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_arguments_are_checked_before_the_first_request(kind, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        kind(**arguments)


@pytest.mark.parametrize("session", ["", "..", "a/b", "a b", "ä", "x" * 129])
def test_ids_are_checked_before_the_first_request(client, session):
    with pytest.raises(ArgumentError, match="A session id has"):
        client.session(session)

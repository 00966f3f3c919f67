"""Tests of several replicas of the service that move the same sessions at the same time."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import helpers
from helpers.redis_server import RedisServer, needs_redis
from helpers.replica import observation
from helpers.serve import small_program, uninterrupted
from seqkeras import runtime
from seqkeras.serve._redis_store import RedisStore
from seqkeras.serve._served_model import ServedProgram
from seqkeras.serve._sessions import ATTEMPTS, Call, Sessions

pytestmark = needs_redis

HELPERS = Path(helpers.__file__).parent
SESSIONS = 3


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def path(tmp_path):
    return small_program(tmp_path)


class Replica:
    """A process that runs `helpers/replica.py`."""

    def __init__(self, **settings):
        text = json.dumps(settings, default=str)
        self.process = subprocess.Popen(
            [sys.executable, HELPERS / "replica.py", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            text=True,
        )

    def wait_until_ready(self):
        assert self.process.stdout.readline() == "ready\n"

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def finish(self):
        assert self.process.wait(60) == 0
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path, path, server):
    """Return a function that starts replicas, which `Replica.go` sets off."""
    replicas = []

    def start(seeds, steps, url=server.url, **settings):
        new = [
            Replica(
                url=url,
                program=path,
                history=tmp_path / f"{seed}.jsonl",
                seed=seed,
                sessions=SESSIONS,
                steps=steps,
                **settings,
            )
            for seed in seeds
        ]
        replicas.extend(new)
        for replica in new:
            replica.wait_until_ready()
        return new

    yield start
    for replica in replicas:
        replica.close()


def read_history(folder):
    """Return the acknowledged requests of each session, of all replicas."""
    files = folder.glob("*.jsonl")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [[line for line in lines if line["session"] == session] for session in range(SESSIONS)]


def assert_linearizable(requests, program):
    """Assert that requests are those of one session that takes one step after the other.

    Each number was acknowledged once; no request began after a later one had ended; the outputs
    are those of an uninterrupted run over the observations in the order of their numbers.
    """
    requests = sorted(requests, key=number_of)
    numbers = [request["number"] + i for request in requests for i in range(len(request["x"]))]
    assert numbers == list(range(len(numbers)))
    latest_start = 0
    for request in requests:
        latest_start = max(latest_start, request["times"][0])
        assert latest_start <= request["times"][1]
    x = np.concatenate([request["x"] for request in requests])
    outputs = np.concatenate([request["outputs"] for request in requests])
    np.testing.assert_allclose(outputs, uninterrupted(program, x), atol=1e-5)


def number_of(request):
    return request["number"]


def stored_steps(server):
    store = RedisStore(server.url)
    steps = [record.steps for record in store.load([f"app/{i}" for i in range(SESSIONS)])]
    store.close()
    return steps


@pytest.fixture
def two(server, path):
    """Two replicas in this process, each with its own connection."""
    model = ServedProgram(runtime.load(path))
    stores = [RedisStore(server.url, ttl=60) for _ in range(2)]
    yield [Sessions(model, store, ttl=60) for store in stores]
    for store in stores:
        store.close()


def send(replica, number, *, count=1, numbered=True):
    """Send steps of the session "app/0", and return the outcome."""
    x = np.concatenate([observation(0, number + i) for i in range(count)])
    (outcome,) = replica.run([Call("app/0", x, number if numbered else None)])
    return outcome


class TestOneAfterTheOther:
    def test_each_replica_knows_what_another_has_done(self, two, path):
        outcomes = [send(two[number % 2], number) for number in range(6)]
        outcomes.append(send(two[0], 6, count=3))
        outcomes.append(send(two[1], 9, numbered=False))
        x = np.concatenate([observation(0, number) for number in range(10)])
        outputs = np.concatenate([outcome.outputs for outcome in outcomes])
        assert [outcome.number for outcome in outcomes] == [0, 1, 2, 3, 4, 5, 6, 9]
        np.testing.assert_allclose(outputs, uninterrupted(runtime.load(path), x), atol=1e-5)

    def test_any_replica_repeats_the_outputs_of_the_last_request(self, two):
        send(two[0], 0)
        first = send(two[0], 1, count=3)
        np.testing.assert_array_equal(send(two[1], 1, count=3).outputs, first.outputs)
        np.testing.assert_array_equal(send(two[1], 3).outputs, first.outputs[2:])
        for replica in two:
            assert replica.export("app/0").steps == 4
            for number in (0, 5):
                refusal = send(replica, number)
                assert (refusal.status, refusal.details["expected"]) == (409, 4)

    def test_a_session_that_one_deletes_begins_anew_in_another(self, two):
        first = send(two[0], 0)
        send(two[1], 1)
        assert two[0].delete("app/0")
        assert send(two[1], 2).details["expected"] == 0
        np.testing.assert_array_equal(send(two[1], 0).outputs, first.outputs)

    def test_a_state_that_one_imports_is_moved_by_another(self, two):
        send(two[0], 0)
        state = two[1].export("app/0").state
        expected = send(two[0], 1)
        two[1].replace("app/0", state, 1)
        np.testing.assert_array_equal(send(two[0], 1).outputs, expected.outputs)

    def test_a_session_outlives_a_replica_whose_clock_is_wrong(self, two):
        send(two[0], 0)
        two[1].clock = lambda: time.time() + 86_400
        assert send(two[1], 1).number == 1
        assert send(two[0], 2).number == 2

    def test_a_session_that_others_move_all_the_time_is_refused_and_not_harmed(self, two, server):
        class Late(RedisStore):
            """Commits after another replica has moved the session."""

            def commit(self, records):
                send(two[1], 0, numbered=False)
                return super().commit(records)

        send(two[0], 0)
        two[0].store = Late(server.url)
        refusal = send(two[0], 1, numbered=False)
        assert (refusal.status, refusal.code) == (503, "contended")
        assert refusal.retry_after
        assert two[1].export("app/0").steps == 1 + ATTEMPTS


def test_two_replicas_take_each_step_once(start, server, path, tmp_path):
    count = 80
    replicas = start([1, 2], steps=count, numbered=False)
    for replica in replicas:
        replica.go()
    for replica in replicas:
        replica.finish()
    program = runtime.load(path)
    for requests, steps in zip(read_history(tmp_path), stored_steps(server), strict=True):
        assert_linearizable(requests, program)
        assert steps == sum(len(request["x"]) for request in requests)
        order = [request["replica"] for request in sorted(requests, key=number_of)]
        assert min(order.count(1), order.count(2)) >= count
        assert order not in (sorted(order), sorted(order, reverse=True)), "they did not meet"


def test_killed_replicas_and_broken_connections_lose_and_double_nothing(
    start, server, path, tmp_path
):
    steps = 300
    replicas = start([1, 2], steps, numbered=True)
    for replica in replicas:
        replica.go()
    with server.client as client:
        for _ in range(2):
            for _ in range(3):
                time.sleep(0.03)
                client.client_kill_filter(_type="normal", skipme=True)
            replicas.pop(0).close()  # kill -9
            replicas += start([1], steps, numbered=True)
            replicas[-1].go()
    for replica in replicas:
        replica.finish()
    assert stored_steps(server) == [steps] * SESSIONS
    program = runtime.load(path)
    for session, requests in enumerate(read_history(tmp_path)):
        x = np.concatenate([observation(session, number) for number in range(steps)])
        numbers = [number_of(request) for request in requests]
        # A replica that was killed may not have written down what it was told last.
        assert len(set(numbers)) > steps - 50
        outputs = np.concatenate([request["outputs"] for request in requests])
        np.testing.assert_allclose(outputs, uninterrupted(program, x)[numbers], atol=1e-5)

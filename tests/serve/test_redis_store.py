"""Tests of sessions in a real Redis server, with its failures."""

import time

import numpy as np
import pytest

from helpers.arrays import random_array
from helpers.redis_server import RedisServer, free_port, needs_redis, wait_until
from helpers.serve import small_program, uninterrupted
from seqkeras import runtime
from seqkeras.errors import ArgumentError
from seqkeras.serve._open_store import open_store
from seqkeras.serve._record import Record
from seqkeras.serve._redis_store import PREFIX, RedisStore
from seqkeras.serve._served_model import ServedProgram
from seqkeras.serve._sessions import Call, Sessions
from seqkeras.serve._store import Damaged, StoreUnavailableError, without_password

pytestmark = needs_redis

TIMEOUT = 0.4


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def client(server):
    with server.client as client:
        client.flushall()
        yield client


@pytest.fixture
def store(server, client):
    store = RedisStore(server.url, timeout=TIMEOUT)
    yield store
    store.close()


@pytest.fixture
def other(server, store):
    """The store of another replica of the service."""
    other = RedisStore(server.url, timeout=TIMEOUT)
    yield other
    other.close()


@pytest.fixture
def pair(tmp_path):
    """A server, and a replica of it."""
    servers = [RedisServer(tmp_path, "--repl-diskless-sync-delay", "0") for _ in range(2)]
    servers[1].follow(servers[0])
    yield servers
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return runtime.load(small_program(tmp_path_factory.mktemp("program")))


def record(key="app/1", steps=5, **fields):
    values = {"state": b"state", "outputs": b"12345678", "recent": 1, "inputs": b"abcd"}
    return Record(key, "f" * 64, steps, 1e9, **values | {"kept_inputs": 1} | fields)


def without_version(loaded):
    return loaded._replace(version=b"")


class TestStoring:
    def test_a_session_comes_back_with_all_of_its_fields(self, store):
        records = [record("app/1"), record("app/ö", 2**40, outputs=bytes(range(256)))]
        assert store.commit(records) == set()
        loaded = store.load(["app/ö", "app/2", "app/1"])
        assert loaded[1] is None
        assert [without_version(loaded[2]), without_version(loaded[0])] == records
        assert store.load([]) == []
        assert store.commit([]) == set()

    def test_of_two_that_loaded_a_session_only_the_first_stores_it(self, store, other):
        store.commit([record(steps=1), record("app/2", 1)])
        mine, theirs = store.load(["app/1", "app/2"]), other.load(["app/1"])
        assert other.commit([theirs[0]._replace(steps=2)]) == set()
        assert store.commit([loaded._replace(steps=3) for loaded in mine]) == {"app/1"}
        assert [loaded.steps for loaded in store.load(["app/1", "app/2"])] == [2, 3]

    def test_of_two_that_begin_a_session_only_the_first_stores_it(self, store, other):
        assert store.commit([record(steps=1)]) == set()
        assert other.commit([record(steps=2)]) == {"app/1"}

    def test_a_session_that_was_deleted_and_began_again_is_another(self, store, other):
        store.commit([record()])
        (loaded,) = store.load(["app/1"])
        assert other.delete(["app/1", "app/2"]) == 1
        assert store.commit([loaded]) == {"app/1"}
        other.commit([record()])
        assert store.commit([loaded]) == {"app/1"}
        assert other.delete([]) == 0

    def test_a_session_ends_after_its_time_to_live(self, server, client, store):
        with_ttl = RedisStore(server.url, ttl=0.2)
        with_ttl.commit([record()])
        store.commit([record("app/2")])
        assert 0 < client.pttl(f"{PREFIX}app/1") <= 200
        assert client.pttl(f"{PREFIX}app/2") == -1
        time.sleep(0.1)
        with_ttl.commit(with_ttl.load(["app/1"]))
        assert client.pttl(f"{PREFIX}app/1") > 120
        wait_until(lambda: with_ttl.load(["app/1"]) == [None])
        assert with_ttl.expire(time.time()) == 0
        with_ttl.close()

    def test_sessions_are_counted_and_listed_by_client(self, store, client):
        keys = ["a*b/1", "a*b/2", "axb/1", "a*b[1]?/\\1"]
        store.commit([record(key) for key in keys])
        client.set("other", 1)
        assert store.count() == 4
        assert sorted(store.keys("", 10)) == sorted(keys)
        assert store.count("a*b/") == 2
        assert set(store.keys("a*b/", 10)) == set(keys[:2])
        assert list(store.keys("a*b[1]?/\\", 10)) == keys[3:]
        assert len(list(store.keys("", 3))) == 3

    def test_a_large_database_is_counted_by_an_estimate(self, store, client):
        client.execute_command("DEBUG", "POPULATE", 120_000, "other")
        client.execute_command("DEBUG", "POPULATE", 80_000, f"{PREFIX}app/")
        start = time.monotonic()
        assert store.count("app/") == pytest.approx(80_000, rel=0.05)
        assert time.monotonic() - start < 5  # a hundred commands, however many keys

    def test_scripts_that_the_server_forgets_are_no_matter(self, store, client):
        store.commit([record()])
        client.script_flush()
        assert store.commit(store.load(["app/1"])) == set()


class TestDamage:
    def test_every_changed_bit_is_found(self, store, client):
        name = f"{PREFIX}app/1"
        store.commit([record()])
        (expected,) = store.load(["app/1"])
        value = client.get(name)
        for place in range(len(value)):
            flipped = bytearray(value)
            flipped[place] ^= 1 << place % 8
            client.set(name, bytes(flipped))
            (loaded,) = store.load(["app/1"])
            if isinstance(loaded, Record):  # only the version, or less than a second, differs
                assert loaded._replace(version=b"", seen=1e9) == without_version(expected)
                assert int(loaded.seen) == int(expected.seen)
            else:
                assert loaded == Damaged("app/1", bytes(flipped[:8]))

    def test_truncated_and_swapped_sessions_are_found_and_can_be_replaced(self, store, client):
        name = f"{PREFIX}app/1"
        store.commit([record(), record("app/2")])
        value = client.get(name)
        others = [client.get(f"{PREFIX}app/2"), value + b"\0", b"\xff" * len(value)]
        for changed in [*(value[:end] for end in range(len(value))), *others]:
            client.set(name, changed)
            (loaded,) = store.load(["app/1"])
            assert isinstance(loaded, Damaged)
        assert store.commit([record()]) == {"app/1"}
        assert store.commit([record(version=loaded.version)]) == set()

    def test_a_damaged_session_is_refused_until_a_state_is_imported(self, store, client, program):
        sessions = Sessions(ServedProgram(program), store)
        x = random_array(2, 3)
        sessions.run([Call("app/1", x[:1])])
        state = sessions.export("app/1").state
        client.setrange(f"{PREFIX}app/1", 60, b"\xff\xff")
        (refusal,) = sessions.run([Call("app/1", x[1:], 1)])
        assert refusal.code == "damaged"
        sessions.replace("app/1", state, 1)
        (moved,) = sessions.run([Call("app/1", x[1:], 1)])
        np.testing.assert_allclose(moved.outputs[0], uninterrupted(program, x)[1], atol=1e-6)


class TestFailures:
    def test_a_server_that_is_down_is_an_error_at_once_and_comes_back(self, tmp_path):
        server = RedisServer(tmp_path)
        store = RedisStore(server.url, timeout=TIMEOUT)
        store.commit([record()])
        server.kill()
        start = time.monotonic()
        for call in (lambda: store.load(["app/1"]), lambda: store.commit([record()]), store.check):
            with pytest.raises(StoreUnavailableError, match=f"127.0.0.1:{server.port}"):
                call()
        assert time.monotonic() - start < TIMEOUT
        server.start()
        wait_until(lambda: is_available(store), 2)
        assert store.load(["app/1"]) == [None]
        server.kill()
        store.close()

    def test_a_server_that_hangs_is_an_error_after_the_timeout(self, server, store, client):
        server.stop()
        start = time.monotonic()
        for _ in range(10):  # only the first one waits
            with pytest.raises(StoreUnavailableError, match="Timeout"):
                store.load(["app/1"])
        assert TIMEOUT / 2 < time.monotonic() - start < 2 * TIMEOUT
        server.resume()
        wait_until(lambda: is_available(store), 2)

    def test_a_step_whose_commit_broke_is_not_taken_twice(self, server, client, program):
        class Broken(RedisStore):
            """Loses the connection after each commit was sent."""

            def commit(self, records):
                server.stop()
                try:
                    return super().commit(records)
                finally:
                    server.resume()

        x = random_array(3, 3)
        expected = uninterrupted(program, x)
        broken = RedisStore(server.url, timeout=TIMEOUT)
        sessions = Sessions(ServedProgram(program), broken)
        sessions.run([Call("app/1", x[:1], 0)])
        sessions.store = Broken(server.url, timeout=TIMEOUT)
        (refusal,) = sessions.run([Call("app/1", x[1:2], 1)])
        assert (refusal.status, refusal.code) == (503, "store_unavailable")
        sessions.store = broken
        assert sessions.export("app/1").steps == 2  # stored, but not acknowledged
        for number in (1, 2, 2):
            (moved,) = sessions.run([Call("app/1", x[number : number + 1], number)])
            assert moved.number == number
            np.testing.assert_allclose(moved.outputs[0], expected[number], atol=1e-6)
        assert sessions.export("app/1").steps == 3

    def test_a_full_server_is_an_error_and_keeps_what_it_has(self, store, client):
        store.commit([record()])
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailableError, match="memory"):
                store.commit([record("app/2")])
            with pytest.raises(StoreUnavailableError, match="memory"):
                store.check()
            assert without_version(store.load(["app/1"])[0]) == record()
        finally:
            client.config_set("maxmemory", 0)
        store.check()


class TestReplication:
    def test_nothing_is_acknowledged_before_the_replicas_have_it(self, pair, program):
        master, replica = pair
        sessions = Sessions(ServedProgram(program), open_store(f"{master.url}?replicas=1", ttl=60))
        x = random_array(4, 3)
        expected = uninterrupted(program, x)
        (moved,) = sessions.run([Call("app/1", x[:1], 0)])
        np.testing.assert_allclose(moved.outputs[0], expected[0], atol=1e-6)
        replica.stop()
        for _ in range(2):  # the second time, the step is in the server already
            (refusal,) = sessions.run([Call("app/1", x[1:2], 1)])
            assert refusal.code == "store_unavailable"
            assert "0 of 1 replicas" in str(refusal)
        with pytest.raises(StoreUnavailableError, match="0 of 1 replicas"):
            sessions.store.check()
        replica.resume()
        (moved,) = sessions.run([Call("app/1", x[1:2], 1)])
        master.kill()
        replica.lead()
        sessions.store = RedisStore(replica.url)
        (again,) = sessions.run([Call("app/1", x[1:2], 1)])
        np.testing.assert_array_equal(again.outputs, moved.outputs)
        (moved,) = sessions.run([Call("app/1", x[2:3], 2)])
        np.testing.assert_allclose(moved.outputs[0], expected[2], atol=1e-6)

    def test_a_session_that_went_back_in_time_names_the_expected_step(self, pair, program):
        master, replica = pair
        sessions = Sessions(ServedProgram(program), RedisStore(master.url))
        x = random_array(4, 3)
        sessions.run([Call("app/1", x[:2], 0)])
        wait_until(lambda: replica.client.exists(f"{PREFIX}app/1"))
        replica.lead()
        sessions.run([Call("app/1", x[2:3], 2)])
        sessions.store = RedisStore(replica.url)
        (refusal,) = sessions.run([Call("app/1", x[3:], 3)])
        assert (refusal.status, refusal.details["expected"]) == (409, 2)
        for number in (2, 3):
            (moved,) = sessions.run([Call("app/1", x[number : number + 1], number)])
        np.testing.assert_allclose(moved.outputs[0], uninterrupted(program, x)[3], atol=1e-6)

    def test_a_replica_cannot_be_the_store(self, pair):
        with pytest.raises(StoreUnavailableError, match="read only"):
            RedisStore(pair[1].url)


class TestUrls:
    def test_a_wrong_password_is_an_error_that_does_not_show_it(self, server, client):
        client.acl_setuser(
            "app", enabled=True, passwords="+se-cret", commands=["+@all"], keys=["*"]
        )
        place = f"127.0.0.1:{server.port}/0"
        RedisStore(f"redis://app:se-cret@{place}").close()
        RedisStore(f"redis://{place}?username=app&password=se-cret").close()
        for url in (f"redis://app:wrong-word@{place}", f"redis://se-cret:wrong-word@{place}"):
            with pytest.raises(StoreUnavailableError, match=f"redis://{place}: ") as caught:
                RedisStore(url)
            assert "wrong-word" not in str(caught.value)
            assert "se-cret" not in str(caught.value)

    def test_a_user_who_may_not_write_is_refused_at_once(self, server, client):
        client.acl_setuser("reader", enabled=True, nopass=True, commands=["+@read"], keys=["*"])
        with pytest.raises(StoreUnavailableError, match="permission"):
            RedisStore(f"redis://reader:x@127.0.0.1:{server.port}/0")

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:se#cret@host/0",
            "redis://:se-cret@host:port/0",
            "redis://:se-cret@[host/0",
            "redis://:se-cret@host/0?timeout=1",
            "redis://:se-cret@host/0?replicas=one",
            "redis://:se-cret@host/0?replicas=-1",
            "redis://host/0?password=se-cret@1&db=x",
            "rediss://:se-cret@host/0?ssl_cert_reqs=never",
            "redis+tls://:se-cret@host/0",
            "redis:/:se-cret@host/0",
            "unix://:se-cret@/socket?ssl_ca_certs=x",
        ],
    )
    def test_an_invalid_url_is_an_error_that_does_not_show_the_password(self, url):
        with pytest.raises(ArgumentError) as caught:
            open_store(url)
        assert "cret" not in str(caught.value)

    def test_no_server_is_an_error_that_names_the_place(self):
        url = f"redis://:se-cret@127.0.0.1:{free_port()}/3"
        with pytest.raises(StoreUnavailableError, match=without_password(url)) as caught:
            open_store(url)
        assert "cret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("redis://app:a@b://c@host:1/0?replicas=1", "redis://host:1/0"),
            ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
            ("redis://host?password=a@b", "redis://..."),
            ("app:secret@host", "host"),
            ("memory", "memory"),
        ],
    )
    def test_a_url_is_shown_without_its_password(self, url, expected):
        assert without_password(url) == expected

    @pytest.mark.parametrize("option", [{"ttl": 0}, {"timeout": -1}, {"replicas": 1.5}])
    def test_wrong_arguments_are_named(self, server, option):
        (name,) = option
        with pytest.raises(ArgumentError, match=name):
            RedisStore(server.url, **option)


def is_available(store):
    try:
        store.check()
    except StoreUnavailableError:
        return False
    return True

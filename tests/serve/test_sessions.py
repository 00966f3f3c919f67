"""Sessions move in order and exactly once, whatever is stored, repeated, evicted or broken."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.serve import program_without_state, small_program, uninterrupted
from seqkeras import runtime
from seqkeras.errors import ArgumentError, DataError
from seqkeras.serve._call_runners import (
    CROWD,
    CommittingRunner,
    DirectRunner,
    GatheringRunner,
)
from seqkeras.serve._quota import Quota
from seqkeras.serve._record import Record
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._served_model import ServedProgram
from seqkeras.serve._sessions import Call, Moved, Sessions
from seqkeras.serve._sqlite_store import SqliteStore
from seqkeras.serve._store import StoreUnavailableError

KEYS = ("app/a", "app/b", "app/c")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ServedProgram(runtime.load(small_program(tmp_path_factory.mktemp("sessions"))))


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    return ServedProgram(runtime.load(small_program(tmp_path_factory.mktemp("other"), seed=1)))


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(str(tmp_path / "sessions.db"), durability="process")
    yield store
    store.close()


def observations(key, count):
    """Return the observations of a session, different for each."""
    return np.random.default_rng(hash_of(key)).normal(size=(count, 3)).astype("float32")


def hash_of(key):
    return sum(map(ord, key))


def call(key, number, *, timesteps=1, numbered=True):
    x = observations(key, number + timesteps)[number:]
    return Call(key, x, number if numbered else None, key.partition("/")[2])


def outputs_of(model, key, count):
    return uninterrupted(model._program, observations(key, count))


def step(sessions, key, number, **options):
    (outcome,) = sessions.run([call(key, number, **options)])
    if isinstance(outcome, RefusedError):
        raise outcome
    return outcome


@pytest.mark.parametrize("stored", [False, True])
@given(data=st.data())
@examples(30)
def test_any_requests_give_each_session_the_series_of_its_own(
    model, tmp_path_factory, stored, data
):
    """Steps alone, in batches, of several timesteps and repeated, with eviction between them."""
    path = tmp_path_factory.mktemp("any") / "sessions.db"
    store = SqliteStore(str(path), durability="process") if stored else None
    # With a store, two of the three sessions fit into memory.
    sessions = Sessions(model, store, capacity=2 if stored else 3, history=2)
    counts = dict.fromkeys(KEYS, 0)
    expected = {key: outputs_of(model, key, 40) for key in KEYS}
    last = dict.fromkeys(KEYS, 0)
    for _ in range(data.draw(st.integers(1, 8))):
        keys = data.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2 if stored else 6))
        calls, numbers = [], []
        for key in keys:
            repeat = bool(last[key]) and data.draw(st.booleans())
            timesteps = last[key] if repeat else data.draw(st.integers(1, 3))
            number = counts[key] - last[key] if repeat else counts[key]
            calls.append(call(key, number, timesteps=timesteps, numbered=True))
            numbers.append(number)
            if not repeat:
                counts[key] += timesteps
                last[key] = timesteps
        for key, number, outcome in zip(keys, numbers, sessions.run(calls), strict=True):
            assert isinstance(outcome, Moved), outcome
            assert outcome.number == number
            rows = expected[key][number : number + len(outcome.outputs)]
            np.testing.assert_allclose(outcome.outputs, rows, atol=1e-6)
    if store is not None:
        store.close()


def test_the_fast_step_gives_what_a_batch_gives(model):
    fast, plain = Sessions(model, history=3), Sessions(model, history=3)
    for number in range(5):
        for key in KEYS:
            moved = fast.step(call(key, number))
            expected = step(plain, key, number)
            np.testing.assert_allclose(moved.outputs, expected.outputs, atol=1e-6)
            assert moved.number == expected.number == number
    for key in KEYS:
        assert fast.export(key).inputs == plain.export(key).inputs


def test_a_step_without_a_number_is_the_next_one(model):
    sessions = Sessions(model)
    for number in range(3):
        assert step(sessions, "app/a", number, numbered=False).number == number


def test_a_gap_and_an_old_step_say_which_is_expected(model):
    sessions = Sessions(model)
    for number in range(3):
        step(sessions, "app/a", number)
    for wrong in (0, 1, 4, 100):
        with pytest.raises(RefusedError, match="step must be 3") as error:
            step(sessions, "app/a", wrong)
        assert error.value.status == 409
        assert error.value.body()["expected"] == 3
    assert sessions.export("app/a").steps == 3


def test_a_refused_first_step_creates_no_session(model, store):
    for sessions in (Sessions(model), Sessions(model, store)):
        with pytest.raises(RefusedError, match="step must be 0"):
            step(sessions, "app/a", 5)
        assert sessions.count() == 0
        with pytest.raises(RefusedError, match="no session"):
            sessions.export("app/a")


def test_sessions_go_on_after_a_restart(model, tmp_path):
    path = str(tmp_path / "sessions.db")
    expected = outputs_of(model, "app/a", 6)
    for number in range(6):
        store = SqliteStore(path)
        sessions = Sessions(model, store)
        if number:  # the reply may have been lost
            repeated = step(sessions, "app/a", number - 1)
            np.testing.assert_allclose(repeated.outputs[0], expected[number - 1], atol=1e-6)
        np.testing.assert_allclose(
            step(sessions, "app/a", number).outputs[0], expected[number], atol=1e-6
        )
        store.close()


class FailingStore(SqliteStore):
    """A store whose commits fail while `broken` is set."""

    broken = False

    def commit(self, records):
        if self.broken:
            raise StoreUnavailableError("disk full")
        return super().commit(records)


def test_what_could_not_be_stored_did_not_happen(model, tmp_path):
    store = FailingStore(str(tmp_path / "sessions.db"))
    sessions = Sessions(model, store, history=2)
    step(sessions, "app/a", 0, timesteps=3)
    before = sessions.export("app/a")
    store.broken = True
    outcomes = sessions.run([call("app/a", 3), call("app/a", 4, timesteps=2), call("app/b", 0)])
    assert [outcome.status for outcome in outcomes] == [503] * 3
    assert sessions.export("app/a") == before
    store.broken = False
    repeated = step(sessions, "app/a", 0, timesteps=3)
    np.testing.assert_allclose(repeated.outputs, outputs_of(model, "app/a", 3), atol=1e-6)
    for number in range(3, 6):
        moved = step(sessions, "app/a", number)
    np.testing.assert_allclose(moved.outputs[0], outputs_of(model, "app/a", 6)[5], atol=1e-6)
    step(sessions, "app/b", 0)
    store.close()


def test_the_session_not_used_for_longest_makes_room(model, store):
    sessions = Sessions(model, capacity=2)
    for key in ("app/a", "app/b", "app/a", "app/c"):
        step(sessions, key, 1 if key == "app/a" and "app/a" in listed(sessions) else 0)
    assert listed(sessions) == {"app/a", "app/c"}
    assert sessions.evicted == 1
    stored = Sessions(model, store, capacity=2)
    for key in KEYS:
        step(stored, key, 0)
    step(stored, "app/a", 1)  # it comes back from the store
    assert stored.count() == 3


def listed(sessions):
    return {key for key, _, _ in sessions.list("app/", 10)}


def test_sessions_end_after_their_time(model, store):
    now = [1000.0]
    for kind in (None, store):
        sessions = Sessions(model, kind, ttl=60, clock=lambda: now[0])
        step(sessions, "app/a", 0)
        now[0] += 30
        step(sessions, "app/b", 0)
        now[0] += 31
        sessions.sweep()
        with pytest.raises(RefusedError, match="no session"):
            sessions.export("app/a")
        assert sessions.export("app/b").steps == 1
        assert step(sessions, "app/a", 0).number == 0
        now[0] += 1000


def test_a_clock_that_jumps_back_ends_no_session(model):
    now = [1000.0]
    sessions = Sessions(model, ttl=60, clock=lambda: now[0])
    step(sessions, "app/a", 0)
    now[0] = 10.0
    sessions.sweep()
    assert step(sessions, "app/a", 1).number == 1


def test_an_exported_session_goes_on_elsewhere(model):
    here, there = Sessions(model), Sessions(model)
    for number in range(3):
        step(here, "app/a", number)
    record = here.export("app/a")
    there.replace("app/a", record.state, record.steps)
    moved = step(there, "app/a", 3)
    np.testing.assert_allclose(moved.outputs[0], outputs_of(model, "app/a", 4)[3], atol=1e-6)
    with pytest.raises(RefusedError, match="bytes for this program"):
        there.replace("app/a", record.state[:-1], 3)


def test_a_deleted_session_begins_again(model, store):
    for sessions in (Sessions(model), Sessions(model, store)):
        step(sessions, "app/a", 0)
        assert sessions.delete("app/a")
        assert not sessions.delete("app/a")
        first = step(sessions, "app/a", 0)
        np.testing.assert_allclose(first.outputs, outputs_of(model, "app/a", 1), atol=1e-6)


@pytest.mark.parametrize("stored", [False, True])
def test_another_program_refuses_old_sessions_until_they_are_warmed_up(
    model, other_model, store, stored
):
    sessions = Sessions(model, store if stored else None, history=4)
    for number in range(6):
        step(sessions, "app/a", number)
    sessions.replace_model(other_model)
    with pytest.raises(RefusedError, match="belongs to a program") as error:
        step(sessions, "app/a", 6)
    assert error.value.status == 409
    assert error.value.body()["current"] == other_model.fingerprint
    assert step(sessions, "app/b", 0).number == 0
    assert sessions.warm_up("app/a") == 4
    x = observations("app/a", 7)[2:]  # the newest four before, then the next
    expected = uninterrupted(other_model._program, x)[-1]
    np.testing.assert_allclose(step(sessions, "app/a", 6).outputs[0], expected, atol=1e-6)


def test_without_history_a_session_cannot_be_warmed_up(model, other_model):
    sessions = Sessions(model)
    step(sessions, "app/a", 0)
    sessions.replace_model(other_model)
    with pytest.raises(RefusedError, match="No inputs of session"):
        sessions.warm_up("app/a")


def test_the_old_program_continues_its_sessions(model, other_model):
    sessions = Sessions(model)
    step(sessions, "app/a", 0)
    sessions.replace_model(other_model)
    sessions.replace_model(model)
    moved = step(sessions, "app/a", 1)
    np.testing.assert_allclose(moved.outputs[0], outputs_of(model, "app/a", 2)[1], atol=1e-6)


def test_a_rollout_needs_outputs_that_are_inputs_and_moves_nothing(model):
    sessions = Sessions(model)
    with pytest.raises(RefusedError, match="no output yet"):
        sessions.rollout("app/a", 2, [[0.0]])
    step(sessions, "app/a", 0)
    before = sessions.export("app/a")
    future = [[0.25], [0.5]]
    outputs = list(sessions.rollout("app/a", 3, future))
    assert sessions.export("app/a") == before
    x = [observations("app/a", 1)[0]]
    for row in future:
        y = uninterrupted(model._program, np.array(x))[-1]
        x.append(np.array([*y, *row], "float32"))
    np.testing.assert_allclose(outputs, uninterrupted(model._program, np.array(x)), atol=1e-6)
    with pytest.raises(ArgumentError, match="2 rows of the 1 inputs"):
        sessions.rollout("app/a", 3, [[0.25]])


def test_wrong_observations_are_refused_before_they_reach_a_session(model):
    for wrong in ([1.0], [1.0, 2.0, None], [1.0, 2.0, float("nan")], [1.0, 2.0, 1e308], [[1.0]]):
        with pytest.raises(ArgumentError, match="x must be"):
            model.read(wrong)
    with pytest.raises(ArgumentError, match="flow, pressure, heat"):
        model.read({"flow": 1.0})
    by_name = model.read({"heat": 3.0, "flow": 1.0, "pressure": 2.0})
    np.testing.assert_array_equal(by_name, model.read([1.0, 2.0, 3.0]))


@given(data=st.data())
@examples(60)
def test_quick_steps_leave_what_steps_and_batches_leave(model, data):
    """The quick ways give the same bits, and change nothing where they refuse to decide."""
    quick, plain = (Sessions(model, capacity=2, history=2) for _ in range(2))
    for key in KEYS[:2]:
        for sessions in (quick, plain):
            step(sessions, key, 0)
    for _ in range(data.draw(st.integers(1, 12))):
        key = data.draw(st.sampled_from(KEYS))
        x = data.draw(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=4))
        number = data.draw(st.sampled_from([None, 0, 1, 2, 3]))
        together = data.draw(st.booleans()) and len(x) == 3
        before = everything(quick)
        if together:
            rows = model.read_many([x, x])
            numbers = None if number is None else [number] * 2
            result = quick.quick_steps(KEYS[:2], rows, numbers)
            calls = [Call(k, rows[:1], number, k) for k in KEYS[:2]]
        else:
            result = quick.quick_step(key, x, number)
            calls = [Call(key, model.read(x), number, key)] if len(x) == 3 else []
        if result is None:
            assert everything(quick) == before
            continue
        moved = plain.run(calls)
        if together:
            outputs, counts = result
            assert [out.number for out in moved] == counts.tolist()
            np.testing.assert_array_equal(np.concatenate([out.outputs for out in moved]), outputs)
        else:
            assert (moved[0].outputs.tolist()[0], moved[0].number) == result
        assert everything(quick) == everything(plain)


def everything(sessions):
    """Return what is stored of each session, without its time."""
    keys = [key for key, _, _ in sessions.list("", 9)]
    return {key: sessions.export(key)._replace(seen=0.0) for key in keys}


@pytest.mark.parametrize("x", [[1e39, 0, 0], [np.inf, 0, 0], [np.nan, 0, 0], [None, 0, 0], [0, 0]])
def test_the_quick_step_leaves_wrong_observations_to_the_other(model, x):
    sessions = Sessions(model)
    step(sessions, KEYS[0], 0)
    before = everything(sessions)
    assert sessions.quick_step(KEYS[0], x, None) is None
    assert everything(sessions) == before


def test_quick_steps_go_on_where_steps_of_another_program_were(model, other_model):
    sessions = Sessions(model)
    step(sessions, KEYS[0], 0)
    assert sessions.quick_step(KEYS[0], observations(KEYS[0], 2)[1].tolist(), 1) is not None
    sessions.replace_model(other_model)
    assert sessions.quick_step(KEYS[0], [0, 0, 0], 2) is None  # refused by `step`
    step(sessions, KEYS[1], 0)
    expected = outputs_of(other_model, KEYS[1], 2)
    result, _ = sessions.quick_step(KEYS[1], observations(KEYS[1], 2)[1].tolist(), 1)
    np.testing.assert_allclose(result, expected[1], atol=1e-6)


def test_the_log_of_a_file_stays_small_while_steps_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr("seqkeras.serve._sqlite_store.CHECKPOINT_ROWS", 50)
    store = SqliteStore(str(tmp_path / "sessions.db"), durability="process")
    sizes = []
    for number in range(400):
        records = [Record(f"/s{i}", "ab" * 32, number, 1.0, bytes(500)) for i in range(10)]
        store.commit(records)
        sizes.append((tmp_path / "sessions.db-wal").stat().st_size)
    # Without copies, 400 commits of at least two pages would take 3 MB.
    assert max(sizes) < 1e6
    assert [record.steps for record in store.load(["/s0", "/s9"])] == [399, 399]
    store.close()


def test_requests_that_arrive_together_are_joined_and_give_the_same(model):
    """Many sessions for several turns, two steps of one session in a turn, and refused ones."""

    async def run(runner):
        outcomes = []
        for number in range(4):
            calls = [Call(f"/s{i}", x[number : number + 1], number) for i, x in enumerate(series)]
            calls.append(Call("/s0", series[0][9:], None))
            calls.append(Call("/s1", series[1][:1], 99))
            moves = [asyncio.ensure_future(runner.move(call)) for call in calls]
            outcomes += await asyncio.gather(*moves, return_exceptions=True)
        return outcomes

    series = [observations(f"s{i}", 10) for i in range(CROWD)]
    # "/s0" moves twice in the first turn, so its number is wrong in the others.
    direct, gathering = (
        asyncio.run(run(kind(Sessions(model)))) for kind in (DirectRunner, GatheringRunner)
    )
    assert any(isinstance(outcome, RefusedError) for outcome in direct)
    for expected, joined in zip(direct, gathering, strict=True):
        if isinstance(expected, Moved):
            np.testing.assert_allclose(joined.outputs, expected.outputs, atol=1e-6)
            assert expected.number == joined.number
        else:
            assert str(expected) == str(joined)


def test_a_request_that_arrives_by_itself_waits_for_nothing(model):
    async def run():
        sessions = Sessions(model)
        runner = GatheringRunner(sessions)
        x = observations("s", 3)
        await runner.move(Call("/s", x[:1]))
        for number in (1, 2):
            turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(turn.set_result, None)
            output, moved = runner.quick_step("/s", x[number].tolist(), None)
            assert moved == number
            assert not turn.done()
            await turn
        return output

    expected = outputs_of(model, "s", 3)[2]
    np.testing.assert_allclose(asyncio.run(run()), expected, atol=1e-6)


def test_a_step_that_waits_is_taken_before_a_later_look(model):
    async def run():
        sessions = Sessions(model)
        runner = GatheringRunner(sessions)
        x = observations("s", 2)
        first = [runner.move(Call(f"/s{i}", x[:1], 0)) for i in range(CROWD)]
        await asyncio.gather(*first)
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(runner.move(Call("/s0", x[1:], 1)))
        await asyncio.sleep(0)
        assert (await runner.do(sessions.export, "/s0")).steps == 2
        return await waiting

    assert asyncio.run(run()).number == 1


def test_an_imported_session_has_no_inputs_of_another_in_its_place(model):
    sessions = Sessions(model, history=4)
    for number in range(6):
        step(sessions, "app/a", number)
    saved = sessions.export("app/a")
    sessions.delete("app/a")
    sessions.replace("other/b", saved.state, 100)  # takes the row that was left
    assert sessions.export("other/b").kept_inputs == 0
    with pytest.raises(RefusedError, match="No inputs of session"):
        sessions.warm_up("other/b")
    x = observations("other/b", 102)[100:]
    for number, row in enumerate(x, start=100):
        sessions.run([Call("other/b", row[np.newaxis], number)])
    np.testing.assert_array_equal(inputs_of(sessions, "other/b"), x)


@pytest.mark.parametrize("before", [0, 2])
def test_a_longer_history_begins_with_the_inputs_that_were_stored(model, store, before):
    sessions = Sessions(model, store, history=before)
    for number in range(5):
        step(sessions, "app/a", number)
    sessions = Sessions(model, store, history=4)
    step(sessions, "app/a", 5)
    x = observations("app/a", 6)
    np.testing.assert_array_equal(inputs_of(sessions, "app/a"), x[5 - before :])
    step(sessions, "app/a", 6)
    step(sessions, "app/a", 7)
    newest = observations("app/a", 8)[-min(before + 3, 4) :]
    np.testing.assert_array_equal(inputs_of(sessions, "app/a"), newest)


def inputs_of(sessions, key):
    record = sessions.export(key)
    return np.frombuffer(record.inputs, "float32").reshape(record.kept_inputs, 3)


def test_a_session_imported_at_step_0_outlives_refused_requests(model):
    sessions = Sessions(model)
    step(sessions, "app/b", 0)
    state = sessions.export("app/b").state
    sessions.replace("app/a", state, 0)
    with pytest.raises(RefusedError, match="step must be 0"):
        step(sessions, "app/a", 5)
    with pytest.raises(RefusedError, match="no output yet"):
        sessions.rollout("app/a", 1, None)
    assert sessions.export("app/a").state == state


@pytest.mark.parametrize("stored", [False, True])
def test_imports_count_as_new_sessions(model, store, stored):
    sessions = Sessions(model, store if stored else None)
    step(sessions, "app/a", 0)
    saved = sessions.export("app/a")
    sessions.admit = Quota(1, sessions.count).admit
    with pytest.raises(RefusedError, match="A client may have 1 sessions"):
        sessions.replace("app/b", saved.state, 1)
    sessions.replace("app/a", saved.state, 3)
    assert sessions.export("app/a").steps == 3


def test_what_was_read_for_a_replaced_program_never_reaches_the_next(model, other_model, store):
    waiting = call("app/a", 0)._replace(fingerprint=model.fingerprint)
    for sessions in (Sessions(model), Sessions(model, store)):
        state = b"".join(array.tobytes() for array in model.initial_state(["a"]))
        sessions.replace_model(other_model)
        current = call("app/b", 0)._replace(fingerprint=other_model.fingerprint)
        refused, moved = sessions.run([waiting, current])
        assert (refused.status, refused.code) == (503, "replaced")
        assert moved.number == 0
        with pytest.raises(RefusedError, match="was replaced"):
            sessions.step(waiting)
        with pytest.raises(RefusedError, match="belongs to program"):
            sessions.replace("app/a", state, 0, model.fingerprint)
        assert sessions.count() == 1


class Sensitive(ServedProgram):
    """A model that cannot compute some observations."""

    def step(self, x, state):
        if (x > 100).any():
            raise self.error
        return super().step(x, state)


@pytest.mark.parametrize(
    ("error", "status"), [(DataError("x is too large."), 422), (ZeroDivisionError("secret"), 500)]
)
@pytest.mark.parametrize("stored", [False, True])
def test_an_observation_that_cannot_be_computed_fails_no_other(model, store, stored, error, status):
    sensitive = Sensitive(model._program)
    sensitive.error = error
    sessions = Sessions(sensitive, store if stored else None)
    bad = Call("app/b", np.full((1, 3), 101, "float32"), 0)
    calls = [call("app/a", 0), bad, call("app/a", 1), call("app/c", 0)]
    first, refused, second, third = sessions.run(calls)
    assert (refused.status, "secret" in str(refused)) == (status, False)
    assert (first.number, second.number, third.number) == (0, 1, 0)
    both = np.concatenate([first.outputs, second.outputs])
    np.testing.assert_allclose(both, outputs_of(model, "app/a", 2), atol=1e-6)
    assert sessions.export("app/a").steps == 2
    assert step(sessions, "app/b", 0).number == 0


def test_a_program_for_which_there_is_no_memory_changes_nothing(model, other_model):
    sessions = Sessions(model)
    step(sessions, "app/a", 0)
    huge = ServedProgram(other_model._program)
    huge.states = [((2**40,), np.dtype("float64"))]
    with pytest.raises((MemoryError, ValueError)):
        sessions.replace_model(huge)
    moved = step(sessions, "app/a", 1)
    np.testing.assert_allclose(moved.outputs, outputs_of(model, "app/a", 2)[1:], atol=1e-6)


def test_sessions_of_a_replaced_program_end_as_well(model, other_model):
    now = [1000.0]
    sessions = Sessions(model, ttl=60, clock=lambda: now[0])
    step(sessions, "app/a", 0)
    sessions.replace_model(other_model)
    now[0] += 61
    assert sessions.sweep() == 1
    assert step(sessions, "app/a", 0).number == 0


def test_a_client_with_too_many_sessions_has_them_counted_once_a_second():
    now = [0.0]
    counts = []

    def count(prefix):
        counts.append(prefix)
        return 5

    quota = Quota(5, count, clock=lambda: now[0])
    for _ in range(10):
        with pytest.raises(RefusedError, match="may have 5 sessions"):
            quota.admit("app/new")
    assert counts == ["app/"]
    now[0] = 1.5
    with pytest.raises(RefusedError, match="may have 5 sessions"):
        quota.admit("app/new")
    assert counts == ["app/", "app/"]


def test_a_request_for_which_there_is_no_room_moves_nothing(model, store):
    """Steps without numbers would move twice if a part of a refused request had been taken."""

    async def main():
        runner = CommittingRunner(Sessions(model, store), longest=3)
        first = asyncio.create_task(runner.move_many([call("app/a", 0), call("app/b", 0)]))
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="3 steps wait") as error:
            await runner.move_many([call("app/c", 0), call("app/d", 0)])
        assert (error.value.status, error.value.retry_after) == (503, 1)
        assert [moved.number for moved in await first] == [0, 0]
        many = [call(f"app/{i}", 0) for i in range(5)]  # more than may wait, and none waits
        assert [moved.number for moved in await runner.move_many(many)] == [0] * 5
        await runner.close()
        with pytest.raises(RefusedError, match="stopping"):
            await runner.move(call("app/a", 1))

    asyncio.run(main())
    assert store.count() == 7


def test_stored_sessions_are_listed_after_a_restart(model, tmp_path):
    path = str(tmp_path / "sessions.db")
    store = SqliteStore(path)
    sessions = Sessions(model, store)
    for number, key in enumerate(KEYS):
        step(sessions, key, 0, timesteps=number + 1)
    store.close()
    store = SqliteStore(path)
    sessions = Sessions(model, store)
    step(sessions, "app/b", 2)
    listed = sessions.list("app/", 10)
    assert listed[0][:2] == ("app/b", 3)
    assert {key: count for key, count, _ in listed} == {"app/a": 1, "app/b": 3, "app/c": 3}
    assert len(sessions.list("app/", 2)) == 2
    assert sessions.list("other/", 10) == []
    store.close()


def test_old_sessions_leave_the_file_while_new_ones_arrive(store):
    for second in range(30):
        new = [Record(f"app/{second}-{i}", "program", 1, float(second), b"") for i in range(10)]
        store.commit(new)
        store.expire(second - 5.0)
        assert store.count() <= 10 * 8  # those of six seconds, and one round of the sweep


def test_a_program_without_state_has_sessions_that_count(store, tmp_path):
    model = ServedProgram(runtime.load(program_without_state(tmp_path)))
    sessions = Sessions(model, store)
    for number in range(3):
        assert step(sessions, KEYS[0], number).number == number
    again = step(Sessions(model, store), KEYS[0], 2)  # in a new process
    assert again.outputs.tolist() == step(sessions, KEYS[0], 2).outputs.tolist()

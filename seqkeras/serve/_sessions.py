"""The sessions of a service: steps in order, exactly once, and as durable as the store."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqkeras._arrays import Array
from seqkeras.serve._record import Record
from seqkeras.serve._refusal import (
    RefusedError,
    damaged,
    failed,
    no_output,
    other_program,
    store_unavailable,
    unknown_session,
    wrong_step,
)
from seqkeras.serve._served_model import ServedModel
from seqkeras.serve._slot_records import insert, record_of, records_of, unpack_state
from seqkeras.serve._slots import Slots
from seqkeras.serve._store import Damaged, Store, StoreUnavailableError
from seqkeras.serve._undo import Undo

#: Times that a step is computed again because another replica moved the session in between.
ATTEMPTS = 8


class Call(NamedTuple):
    """A request to move one session.

    Attributes:
        key: name of the session, with that of its client.
        x: observations, `(timesteps, width)`.
        number: number of the first observation, or None for the next.
        own_id: the id without that of the client, which a forecaster reads.
        fingerprint: the program that read the request, or None for the one that runs.
    """

    key: str
    x: Array
    number: int | None = None
    own_id: str = ""
    fingerprint: str | None = None


class Moved(NamedTuple):
    """The outputs of a request, `(timesteps, outputs)`, and the number of its first step."""

    outputs: Array
    number: int


Outcome = Moved | RefusedError


class Sessions:
    """Moves sessions of one model. It is not thread-safe: one thread calls it.

    A request is computed on the state in memory, stored, and only then acknowledged; if storing
    fails, the state in memory is that of before.

    Args:
        model: what computes the steps.
        store: where sessions are stored, or None to have them in memory only.
        capacity: most sessions in memory; the one not used for longest makes room.
        history: number of newest inputs to store with each session.
        ttl: seconds after its last request when a session ends, or None.
        clock: returns seconds since 1970.

    Attributes:
        admit: called with the key of each new session; it may raise a RefusedError.
    """

    def __init__(
        self,
        model: ServedModel,
        store: Store | None = None,
        *,
        capacity: int = 100_000,
        history: int = 0,
        ttl: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.model = model
        self.store = store
        self.ttl = ttl
        self.clock = clock
        self.admit: Callable[[str], None] | None = None
        self._slots = Slots(model, capacity, history)
        # Sessions in memory of programs that were replaced, by fingerprint.
        self._replaced: dict[str, tuple[ServedModel, Slots]] = {}
        self._shared = store is not None and store.shared

    # Moving sessions.

    def step(self, call: Call) -> Moved:
        """Move one session by one observation, in memory; the fastest way without a store.

        Raises:
            RefusedError: the step is not the next one, or the session cannot be moved.
        """
        slots = self._slots
        self._check_read(call)
        row = slots.find(call.key)
        if row is None:
            row = self._load([call])[call.key]
        count = slots.count_of[row]
        if call.number is not None and call.number != count:
            return self._repeated(row, count, call)
        before = [array[row : row + 1] for array in slots.states]  # views
        output, after = self.model.step(call.x, tuple(before))
        for view, part in zip(before, after, strict=True):
            view[...] = part
        slots.outputs[row] = output[0]
        if slots.longer:
            slots.longer.pop(row, None)
        slots.recent_of[row] = 1
        if slots.history:
            slots.inputs[row, count % slots.history] = call.x[0]
        slots.count_of[row] = count + 1
        slots.seen_of[row] = self.clock()
        return Moved(output, count)

    def quick_step(self, key: str, x: Any, number: int | None) -> tuple[list[Any], int] | None:
        """Move one session as `step` does, with the same result, if nothing is unusual.

        Unusual are a new session, a repeated or wrong number, an x that is not a list of finite
        numbers, and a model without a fast step. Then nothing is changed, and `step` must decide.

        Returns:
            The output as a list, and the number of the step; or None.
        """
        slots = self._slots
        row_step = slots.row_step
        row = slots.find(key)
        if row is None or row_step is None or type(x) is not list:
            return None
        count = slots.count_of[row]
        if (number is not None and number != count) or not row_step.read(x):
            return None
        output = slots.mover(row)()
        slots.outputs[row] = output
        if slots.longer:
            slots.longer.pop(row, None)
        slots.recent_of[row] = 1
        if slots.history:
            slots.inputs[row, count % slots.history] = row_step.x
        slots.count_of[row] = count + 1
        slots.seen_of[row] = self.clock()
        return output.tolist()[0], count

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        """Move many sessions and store them together; calls of one session in their order."""
        most = self._slots.capacity
        if len(calls) > most:  # a batch must not evict its own sessions
            parts = (calls[start : start + most] for start in range(0, len(calls), most))
            return [outcome for part in parts for outcome in self.run(part)]
        outcomes: dict[int, Outcome] = {}
        waiting = list(range(len(calls)))
        for _ in range(ATTEMPTS):
            try:
                conflicts = self._attempt(calls, waiting, outcomes)
            except StoreUnavailableError as error:
                refusal = store_unavailable(str(error))
                return [outcomes.get(i, refusal) for i in range(len(calls))]
            except Exception:
                if len(calls) == 1:
                    raise
                outcomes |= self._apart(calls, waiting)
                return [outcomes[i] for i in range(len(calls))]
            waiting = [i for i in waiting if calls[i].key in conflicts]
            if not waiting:
                break
        busy = "Other replicas move this session all the time. Send its steps to one of them."
        for i in waiting:
            outcomes[i] = RefusedError(503, "contended", busy, retry_after=0.1)
        return [outcomes[i] for i in range(len(calls))]

    def _apart(self, calls: Sequence[Call], waiting: Sequence[int]) -> dict[int, Outcome]:
        """Run calls one after the other: one that the model cannot compute fails no other."""
        outcomes: dict[int, Outcome] = {}
        for i in waiting:
            try:
                outcomes[i] = self.run([calls[i]])[0]
            except Exception as error:
                outcomes[i] = failed(error)
        return outcomes

    def _attempt(
        self, calls: Sequence[Call], waiting: Sequence[int], outcomes: dict[int, Outcome]
    ) -> set[str]:
        """Compute and store the waiting calls, and return the keys that another replica moved."""
        new: dict[int, Outcome] = {}
        before = Undo(self._slots)
        try:
            for part in _rounds(calls, waiting):
                self._round(calls, part, new, before)
            conflicts = self._commit(before.moved) if self.store is not None else set()
        except BaseException:
            before.undo()
            raise
        for key in conflicts:
            self._slots.remove(key)
        outcomes.update((i, out) for i, out in new.items() if calls[i].key not in conflicts)
        return conflicts

    def _round(
        self, calls: Sequence[Call], part: Sequence[int], new: dict[int, Outcome], before: "Undo"
    ) -> None:
        """Compute one call each of several sessions."""
        rows, refused = self._find([calls[i] for i in part], before)
        single: list[tuple[int, int]] = []
        for i in part:
            call = calls[i]
            if call.key in refused:
                new[i] = refused[call.key]
                continue
            row = rows[call.key]
            count = self._slots.count_of[row]
            if call.number is not None and call.number != count:
                try:
                    new[i] = self._repeated(row, count, call)
                except RefusedError as refusal:
                    new[i] = refusal
                else:
                    self._touch(call.key, row, before)
            elif len(call.x) == 1:
                single.append((i, row))
            else:
                before.save([call.key], [row])
                new[i] = self._scan(row, call)
        if single:
            numbers = [row for _, row in single]
            before.save([calls[i].key for i, _ in single], numbers)
            x = np.concatenate([calls[i].x for i, _ in single])
            outputs, counts = self._advance(np.array(numbers), x)
            for j, (i, _) in enumerate(single):
                new[i] = Moved(outputs[j : j + 1], int(counts[j]))

    def quick_steps(
        self, keys: Sequence[str], x: Array, numbers: Sequence[int | None] | None
    ) -> tuple[Array, Array] | None:
        """Move many sessions by one observation each as `run` does, if nothing is unusual.

        Unusual are new sessions, and repeated or wrong numbers. Then nothing is changed, and `run`
        must decide.

        Args:
            keys: different sessions.
            x: observations, `(sessions, width)`.
            numbers: number of each observation, or None for the next.

        Returns:
            The outputs `(sessions, outputs)` and the numbers of the steps; or None.
        """
        rows = self._slots.find_all(keys)
        if rows is None:
            return None
        if numbers is not None and numbers != self._slots.counts[rows].tolist():
            return None
        return self._advance(rows, x)

    def _advance(self, rows: Array, x: Array) -> tuple[Array, Array]:
        """Move different rows by one observation each."""
        slots = self._slots
        outputs, state = self.model.step(x, slots.state(rows))
        slots.put(rows, state)
        counts = slots.counts[rows]
        if slots.history:
            slots.inputs[rows, counts % slots.history] = x
        slots.outputs[rows] = outputs
        slots.recent[rows] = 1
        if slots.longer:
            for row in rows.tolist():
                slots.longer.pop(row, None)
        slots.counts[rows] = counts + 1
        slots.seen[rows] = self.clock()
        return outputs, counts

    def _scan(self, row: int, call: Call) -> Moved:
        """Move one session by many observations."""
        slots = self._slots
        outputs, state = self.model.scan(call.x, slots.state([row]))
        slots.put(slice(row, row + 1), state)
        count = int(slots.counts[row])
        timesteps = len(call.x)
        if slots.history:
            places = np.arange(count, count + timesteps)[-slots.history :]
            slots.inputs[row, places % slots.history] = call.x[-slots.history :]
        slots.outputs[row] = outputs[-1]
        slots.longer[row] = outputs
        slots.recent[row] = timesteps
        slots.counts[row] = count + timesteps
        slots.seen[row] = self.clock()
        return Moved(outputs, count)

    def _repeated(self, row: int, count: int, call: Call) -> Moved:
        """Return the stored outputs of steps that were taken before.

        Raises:
            RefusedError: they are not stored, or a step between is missing.
        """
        number: Any = call.number
        stored = self._slots.last_outputs(row)
        start = number - (count - len(stored))
        if number > count or start < 0 or start + len(call.x) > len(stored):
            raise wrong_step(number, count)
        return Moved(stored[start : start + len(call.x)].copy(), number)

    def _touch(self, key: str, row: int, before: "Undo") -> None:
        """Let the commit store a session again whose outputs are repeated, if it is shared.

        The first attempt to store these outputs may have failed half-way, and a replica of the
        store that takes over may lack them. So they are as durable as a new step before they are
        acknowledged, and another process that moves the session meanwhile conflicts.
        """
        if self._shared:
            before.save([key], [row])
            self._slots.seen[row] = self.clock()

    # Finding and storing them.

    def _find(
        self, calls: Sequence[Call], before: "Undo | None"
    ) -> tuple[dict[str, int], dict[str, RefusedError]]:
        """Return the rows of sessions, and the refusals of those that cannot be moved."""
        rows: dict[str, int] = {}
        missing: list[Call] = []
        refused: dict[str, RefusedError] = {}
        for call in calls:
            try:
                self._check_read(call)
            except RefusedError as refusal:
                refused[call.key] = refusal
                continue
            fresh = self._shared and (before is None or call.key not in before.moved)
            row = None if fresh else self._slots.find(call.key)
            if row is None:
                missing.append(call)
            else:
                rows[call.key] = row
        if missing:
            rows.update(self._load(missing, refused))
        return rows, refused

    def _check_read(self, call: Call) -> None:
        """Refuse a request that was read for a program that has been replaced since."""
        if call.fingerprint not in (None, self.model.fingerprint):
            message = "The program was replaced while this request waited. Send it again."
            raise RefusedError(503, "replaced", message, retry_after=0.1)

    def _load(
        self, calls: Sequence[Call], refused: dict[str, RefusedError] | None = None
    ) -> dict[str, int]:
        """Bring sessions into memory: stored ones, or new ones in their initial state."""
        keys = [call.key for call in calls]
        stored = self.store.load(keys) if self.store is not None else [None] * len(keys)
        rows = {}
        for call, record in zip(calls, stored, strict=True):
            try:
                rows[call.key] = self._admit(call, record)
            except RefusedError as refusal:
                if refused is None:
                    raise
                refused[call.key] = refusal
        return rows

    def _admit(self, call: Call, record: Record | Damaged | None) -> int:
        key = call.key
        self._slots.remove(key)
        if isinstance(record, Damaged):
            raise damaged(key)
        if record is None:
            for fingerprint, (_, slots) in self._replaced.items():
                if key in slots:
                    raise other_program(key, fingerprint, self.model.fingerprint)
        expired = record is not None and self._is_expired(record.seen)
        if record is None or expired:
            state = self.model.initial_state([call.own_id or key])
            if not len(call.x):
                raise no_output(key)
            if call.number:
                raise wrong_step(call.number, 0)
            if self.admit is not None:
                self.admit(key)
            row = self._slots.add(key)
            self._slots.put(slice(row, row + 1), state)
            self._slots.versions[row] = record.version if record is not None else b""
            self._slots.seen[row] = self.clock()
            return row
        if record.fingerprint != self.model.fingerprint:
            raise other_program(key, record.fingerprint, self.model.fingerprint)
        return insert(self._slots, record)

    def _commit(self, moved: Iterable[str]) -> set[str]:
        keys = list(moved)
        if self.store is None or not keys:
            return set()
        return self.store.commit(records_of(self._slots, keys, self.model.fingerprint))

    # Looking at sessions and changing them as a whole.

    def export(self, key: str) -> Record:
        """Return a session as it is stored, without changing its time.

        Raises:
            RefusedError: it does not exist, is damaged, or the store is unavailable.
        """
        if not self._shared and key in self._slots:
            return record_of(self._slots, key, self.model.fingerprint)
        for model, slots in self._replaced.values():
            if key in slots:
                return record_of(slots, key, model.fingerprint)
        if self.store is None:
            raise unknown_session(key)
        with _as_refusals():
            record = self.store.load([key])[0]
        if isinstance(record, Damaged):
            raise damaged(key)
        if record is None or self._is_expired(record.seen):
            raise unknown_session(key)
        return record

    def replace(self, key: str, state: bytes, count: int, fingerprint: str | None = None) -> None:
        """Set the state of a session, which may not exist yet.

        Args:
            key: the session.
            state: its arrays, one after the other.
            count: number of its next step.
            fingerprint: the program that the state belongs to, if that is known.

        Raises:
            RefusedError: the state does not fit the program, or cannot be stored.
        """
        current = self.model.fingerprint
        if fingerprint not in (None, current):
            message = f"The state belongs to program {fingerprint}, not to {current}."
            raise RefusedError(409, "other_program", message, current=current)
        if unpack_state(self._slots, state) is None:
            size = sum(array[:1].nbytes for array in self._slots.states)
            message = f"state must have {size} bytes for this program. Got: {len(state)}."
            raise RefusedError(400, "wrong_state", message)
        with _as_refusals():
            old = self.store.load([key])[0] if self.store is not None else None
            if old is None and key not in self._slots and self.admit is not None:
                self.admit(key)
            version = old.version if old is not None else b""
            record = Record(key, self.model.fingerprint, count, self.clock(), state)
            record = record._replace(version=version)
            if self.store is not None and self.store.commit([record]):
                raise RefusedError(503, "contended", "Another replica moved this session; retry.")
        self._forget(key)
        insert(self._slots, record)

    def delete(self, key: str) -> bool:
        """Remove a session, so that its next step begins anew; return whether it existed.

        Raises:
            RefusedError: the store is unavailable.
        """
        with _as_refusals():
            deleted = self.store.delete([key]) if self.store is not None else 0
        return self._forget(key) or deleted > 0

    def _forget(self, key: str) -> bool:
        here = self._slots.remove(key)
        return any([here, *(slots.remove(key) for _, slots in self._replaced.values())])

    def warm_up(self, key: str, own_id: str = "") -> int:
        """Read the stored inputs of a session again with the current program.

        Returns:
            How many inputs were read; the count of the session goes on as it was.

        Raises:
            RefusedError: no inputs are stored, or they do not fit the current program.
        """
        record = self.export(key)
        if not record.kept_inputs:
            fix = "Start the service with history=N to store inputs, or delete the session."
            message = f"No inputs of session {own_id or key!r} are stored. {fix}"
            raise RefusedError(409, "no_history", message)
        x = np.frombuffer(record.inputs, self._slots.inputs.dtype)
        if x.size != record.kept_inputs * self.model.width:
            message = f"The stored inputs do not fit a program of {self.model.width} inputs."
            raise RefusedError(409, "other_inputs", message)
        x = x.reshape(record.kept_inputs, self.model.width)
        outputs, state = self.model.scan(x, self.model.initial_state([own_id or key]))
        packed = b"".join(array.tobytes() for array in state)
        warm = record._replace(
            fingerprint=self.model.fingerprint,
            seen=self.clock(),
            state=packed,
            outputs=outputs[-1:].tobytes(),
            recent=1,
        )
        with _as_refusals():
            if self.store is not None and self.store.commit([warm]):
                raise RefusedError(503, "contended", "Another replica moved this session; retry.")
        self._forget(key)
        insert(self._slots, warm)
        return len(x)

    def rollout(self, key: str, steps: int, future: Any, own_id: str = "") -> Iterator[Any]:
        """Return the outputs of the next steps if each output were the next observation.

        They are computed as they are read, from a copy of the state; the session does not move.
        The first output is the newest one of the session.

        Raises:
            RefusedError: the session has not read an observation, or cannot be moved.
            ArgumentError: the program cannot read its outputs.
        """
        rows, refused = self._load_for_reading(key, own_id)
        if refused is not None:
            raise refused
        slots = self._slots
        if not slots.recent[rows]:
            raise no_output(key)
        output = slots.outputs[[rows]]
        return self.model.rollout(output, slots.state([rows]), steps, future)

    def _load_for_reading(self, key: str, own_id: str) -> tuple[int, RefusedError | None]:
        call = Call(key, np.empty((0, self.model.width)), None, own_id)
        with _as_refusals():
            rows, refused = self._find([call], None)
        return rows.get(key, -1), refused.get(key)

    def replace_model(self, model: ServedModel) -> None:
        """Continue with another program; sessions of the old one are refused until changed."""
        if model.fingerprint == self.model.fingerprint:
            self.model = model
            return
        old, slots = self.model, self._slots
        back = self._replaced.get(model.fingerprint)
        # Before anything else, because there may be too little memory.
        new = back[1] if back else Slots(model, slots.capacity, slots.history)
        self._replaced.pop(model.fingerprint, None)
        self.model, self._slots = model, new
        if self.store is None and len(slots):
            self._replaced[old.fingerprint] = (old, slots)

    def sweep(self) -> int:
        """End sessions that were not used for `ttl` seconds, some at each call."""
        if self.ttl is None:
            return 0
        before = self.clock() - self.ttl
        removed = 0
        for slots in (self._slots, *(slots for _, slots in self._replaced.values())):
            for key in slots.expired(before):
                removed += slots.remove(key)
        if self.store is None:
            return removed
        with _as_refusals():
            return self.store.expire(before)

    def count(self, prefix: str = "") -> int:
        """Return the number of sessions of a client."""
        if self.store is not None:
            with _as_refusals():
                return self.store.count(prefix)
        return sum(key.startswith(prefix) for key in self._slots.newest_first())

    def list(self, prefix: str, limit: int) -> list[tuple[str, int, float]]:
        """Return key, count and time of some sessions of a client, those in memory first."""
        slots = self._slots
        rows: dict[str, tuple[str, int, float]] = {}
        for key in slots.newest_first():
            if len(rows) == limit:
                break
            if key.startswith(prefix) and not self._shared:
                row: Any = slots.peek(key)
                rows[key] = (key, int(slots.counts[row]), float(slots.seen[row]))
        if self.store is not None and len(rows) < limit:
            with _as_refusals():
                keys = [key for key in self.store.keys(prefix, limit) if key not in rows]
                stored = self.store.load(keys[: limit - len(rows)])
            for record in stored:
                if isinstance(record, Record) and not self._is_expired(record.seen):
                    rows[record.key] = (record.key, record.steps, record.seen)
        return [*rows.values()]

    @property
    def in_memory(self) -> int:
        """Return the number of sessions in memory."""
        return len(self._slots)

    @property
    def evicted(self) -> int:
        """Return how many sessions made room for others in memory."""
        return self._slots.evicted

    def _is_expired(self, seen: float) -> bool:
        # A shared store ends sessions itself: the clocks of several replicas may differ.
        if self.ttl is None or self._shared:
            return False
        return seen < self.clock() - self.ttl


@contextlib.contextmanager
def _as_refusals() -> Iterator[None]:
    """Turn errors of the store into refusals."""
    try:
        yield
    except StoreUnavailableError as error:
        raise store_unavailable(str(error)) from error


def _rounds(calls: Sequence[Call], waiting: Sequence[int]) -> list[list[int]]:
    """Split calls into rounds that have each session at most once, in order."""
    rounds: list[list[int]] = []
    seen: dict[str, int] = {}
    for i in waiting:
        key = calls[i].key
        number = seen.get(key, 0)
        seen[key] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(i)
    return rounds

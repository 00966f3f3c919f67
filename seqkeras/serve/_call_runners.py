"""Run the calls of many requests on the one thread that owns the sessions."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from seqkeras._arrays import Array
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._sessions import Call, Moved, Outcome, Sessions

Result = TypeVar("Result")

#: Called with the result of a call, or with the error it raised.
Done: TypeAlias = Callable[[Moved | Exception], None]

QuickStep: TypeAlias = Callable[[str, Any, int | None], tuple[list[Any], int] | None]
QuickSteps: TypeAlias = Callable[
    [Sequence[str], Array, Sequence[int | None] | None], tuple[Array, Array] | None
]


class Runner(Protocol):
    """Carries out calls in the order of their arrival.

    Attributes:
        quick_step, quick_steps: those of `Sessions` if steps may run at once, or None.
    """

    quick_step: QuickStep | None
    quick_steps: QuickSteps | None

    def submit(self, call: Call, done: Done) -> None:
        """Move one session, and call `done` when that is durable, which may be at once.

        Raises:
            RefusedError: too many calls wait; `done` is not called.
        """
        ...

    async def move(self, call: Call) -> Moved:
        """Move one session, and return when that is durable."""
        ...

    async def move_many(self, calls: list[Call]) -> list[Outcome]:
        """Move many sessions, and return when all of that is durable."""
        ...

    async def do(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function of the sessions between two batches."""
        ...

    async def close(self) -> None:
        """Carry out what waits, then refuse everything."""
        ...


class DirectRunner:
    """Runs each call at once, for sessions in memory: it takes less time than to hand it over."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.quick_step: QuickStep | None = sessions.quick_step
        self.quick_steps: QuickSteps | None = sessions.quick_steps

    def submit(self, call: Call, done: Done) -> None:
        try:
            outcome: Moved | Exception = self._move(call)
        except Exception as error:
            outcome = error
        done(outcome)

    async def move(self, call: Call) -> Moved:
        return await _submitted(self, call)

    def _move(self, call: Call) -> Outcome:
        if len(call.x) == 1:
            return self._sessions.step(call)
        return self._sessions.run([call])[0]

    async def move_many(self, calls: list[Call]) -> list[Outcome]:
        return self._sessions.run(calls)

    async def do(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return function(*arguments)

    async def close(self) -> None:
        return None


#: Requests in one turn of the event loop from which on those of the next turn are joined. A joined
#: step costs two or three turns of the loop, about as much as it saves with eight others.
CROWD = 8


class GatheringRunner(DirectRunner):
    """Joins the calls of requests that arrive together into one matrix product.

    A request is run at once, as without this class. Only if many arrived in the turn of the event
    loop before does a request wait, for the others of its own turn, never for time to pass.
    """

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions)
        self.quick_step = self._quick_step
        self.quick_steps = None  # steps that wait must not be overtaken
        self._waiting: list[tuple[Call, Done]] = []
        self._arrived = 0
        self._crowded = False

    def submit(self, call: Call, done: Done) -> None:
        self._arrive()
        if self._crowded:
            self._waiting.append((call, done))
        else:
            super().submit(call, done)

    async def move_many(self, calls: list[Call]) -> list[Outcome]:
        self._deliver()
        return await super().move_many(calls)

    async def do(self, function: Callable[..., Result], *arguments: Any) -> Result:
        self._deliver()
        return await super().do(function, *arguments)

    def _quick_step(self, key: str, x: Any, number: int | None) -> tuple[list[Any], int] | None:
        if self._crowded:
            return None  # `submit` is called next
        moved = self._sessions.quick_step(key, x, number)
        if moved is not None:
            self._arrive()
        return moved

    def _arrive(self) -> None:
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._arrived += 1

    def _end_turn(self) -> None:
        self._crowded = self._arrived >= CROWD
        self._arrived = 0
        self._deliver()

    def _deliver(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            _deliver(self._sessions, waiting)


class CommittingRunner:
    """Runs the calls that wait as one batch in a thread, and stores them in one commit.

    While one batch is being stored, the next one gathers. So the cost of a commit is shared by as
    many calls as arrive meanwhile, and a lone call waits only for its own.

    Args:
        sessions: used only by the thread of this object.
        most: most calls of one batch.
        longest: most calls that may wait; more are refused with 503.
    """

    def __init__(self, sessions: Sessions, *, most: int = 1024, longest: int = 10_000) -> None:
        self._sessions = sessions
        self._most = most
        self._longest = longest
        self._thread = ThreadPoolExecutor(1, "seqkeras-sessions")
        self._waiting: deque[tuple[Call, Done]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self.quick_step: QuickStep | None = None
        self.quick_steps: QuickSteps | None = None

    def submit(self, call: Call, done: Done) -> None:
        self._check_room(1)
        self._enqueue(call, done)

    async def move(self, call: Call) -> Moved:
        return await _submitted(self, call)

    async def move_many(self, calls: list[Call]) -> list[Outcome]:
        self._check_room(len(calls))
        futures = [_future(self._enqueue, call) for call in calls]
        results = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, RefusedError):
                raise result
        outcomes: Any = results
        return outcomes

    async def do(self, function: Callable[..., Result], *arguments: Any) -> Result:
        if self._closed:
            raise _stopping()
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def close(self) -> None:
        self._closed = True
        if self._running is not None:
            await self._running
        self._thread.shutdown(wait=True)

    def _check_room(self, calls: int) -> None:
        """Refuse the calls of a request, all or none; many are taken if no other waits."""
        if self._closed:
            raise _stopping()
        if self._waiting and len(self._waiting) + calls > self._longest:
            message = f"{self._longest} steps wait to be stored. Send fewer, or slow down."
            raise RefusedError(503, "overloaded", message, retry_after=1)

    def _enqueue(self, call: Call, done: Done) -> None:
        self._waiting.append((call, done))
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                size = min(self._most, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(size)]
                calls = [call for call, _ in batch]
                try:
                    outcomes: Sequence[Moved | Exception] = await loop.run_in_executor(
                        self._thread, self._sessions.run, calls
                    )
                except Exception as error:
                    outcomes = [error] * len(batch)
                _hand_over(batch, outcomes)
        finally:
            self._running = None


def _deliver(sessions: Sessions, batch: list[tuple[Call, Done]]) -> None:
    calls = [call for call, _ in batch]
    try:
        outcomes: Sequence[Moved | Exception] = _together(sessions, calls) or sessions.run(calls)
    except Exception as error:
        outcomes = [error] * len(batch)
    _hand_over(batch, outcomes)


def _hand_over(batch: Sequence[tuple[Call, Done]], outcomes: Sequence[Moved | Exception]) -> None:
    loop = asyncio.get_running_loop()
    for (_, done), outcome in zip(batch, outcomes, strict=True):
        loop.call_soon(done, outcome)  # by the loop, so that an error in one stops no other


def _together(sessions: Sessions, calls: list[Call]) -> list[Outcome] | None:
    """Move different sessions by one observation each, or return None: `run` must."""
    keys = [call.key for call in calls]
    if len(set(keys)) < len(keys) or any(len(call.x) > 1 for call in calls):
        return None
    numbers = [call.number for call in calls]
    x = np.concatenate([call.x for call in calls])
    quick = sessions.quick_steps(keys, x, numbers if any(n is not None for n in numbers) else None)
    if quick is None:
        return None
    outputs, counts = quick
    return [Moved(outputs[i : i + 1], count) for i, count in enumerate(counts.tolist())]


def settle(future: "asyncio.Future[Result]", outcome: Result | Exception) -> None:
    """Set the result of a future, or its error."""
    if future.cancelled():  # the client has gone; the step was taken all the same
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _future(submit: Callable[[Call, Done], None], call: Call) -> "asyncio.Future[Moved]":
    future: asyncio.Future[Moved] = asyncio.get_running_loop().create_future()
    submit(call, partial(settle, future))
    return future


async def _submitted(runner: Runner, call: Call) -> Moved:
    return await _future(runner.submit, call)


def _stopping() -> RefusedError:
    return RefusedError(503, "stopping", "The service is stopping. Retry.", retry_after=1)

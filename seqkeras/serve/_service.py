"""A running service: its model, its sessions, and who may use them."""

import asyncio
import logging
import time
from typing import Any

import numpy as np

from seqkeras._archive import read_kind
from seqkeras._checks import Description, bad_argument
from seqkeras.errors import SeqkerasError
from seqkeras.serve._call_runners import CommittingRunner, DirectRunner, GatheringRunner, Runner
from seqkeras.serve._client_tokens import Access, read_tokens
from seqkeras.serve._meter import Meter
from seqkeras.serve._open_store import open_store
from seqkeras.serve._quota import Quota
from seqkeras.serve._recorder import Recorder
from seqkeras.serve._refusal import RefusedError
from seqkeras.serve._rollouts import Rollouts
from seqkeras.serve._served_model import ServedModel, ServedProgram
from seqkeras.serve._service_settings import ServiceSettings
from seqkeras.serve._sessions import Sessions
from seqkeras.serve._store import Store, StoreUnavailableError

log = logging.getLogger("seqkeras.serve")

#: Seconds that it takes to hand a request over to the next turn of the event loop and back.
HANDOVER = 8e-6

#: Seconds for which a check of the store counts, because anyone may ask for it.
FRESH_CHECK = 1.0

#: Seconds between looks for expired sessions.
SWEEP_INTERVAL = 1.0


class Service:
    """What the routes work on.

    Args:
        settings: how it runs.

    Attributes:
        sessions: the sessions; only `runner` may call them.
        runner: carries out what the routes ask for.
        rollouts: carries out rollouts beside it.
        access: the clients.
        meter: the counters.
        recorder: the newest steps of sessions that someone looks at.
        healthy: whether the last attempt to store something succeeded.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.access = Access(read_tokens(settings.tokens) if settings.tokens else None)
        model = load_model(settings.program)
        store = open_store(settings.store, durability=settings.durability, ttl=settings.ttl)
        self.sessions = _sessions(model, store, settings)
        if settings.client_sessions is not None:
            self.sessions.admit = Quota(settings.client_sessions, self.sessions.count).admit
        self.runner = self._runner()
        self.rollouts = Rollouts(self.runner)
        self.meter = Meter()
        self.recorder = Recorder()
        self.healthy = True
        self._checked = -FRESH_CHECK
        self.started = time.time()
        self._sweeper: asyncio.Task[None] | None = None

    def _runner(self) -> Runner:
        if self.sessions.store is not None:
            most = min(1024, self.settings.memory_sessions)
            longest = self.settings.max_waiting
            return CommittingRunner(self.sessions, most=most, longest=longest)
        gathers = gain_of_batches(self.sessions.model) > HANDOVER
        return (GatheringRunner if gathers else DirectRunner)(self.sessions)

    async def start(self) -> None:
        """Begin to end expired sessions."""
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Carry out what was accepted, then close the store."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.runner.close()
        if self.sessions.store is not None:
            self.sessions.store.close()

    async def check(self) -> bool:
        """Return whether states can be stored now; a success counts for a second."""
        store = self.sessions.store
        if self.healthy and time.monotonic() < self._checked + FRESH_CHECK:
            return True
        try:
            if store is not None:
                await self.runner.do(store.check)
            self.healthy = True
            self._checked = time.monotonic()
        except (StoreUnavailableError, RefusedError) as error:
            self.healthy = False
            log.warning("store unavailable: %s", error)
        return self.healthy

    async def reload(self) -> bool:
        """Load the program file again, and return whether it is another program.

        Raises:
            SeqkerasError, OSError: the file cannot be served; the old program goes on.
        """
        old = self.sessions.model.fingerprint
        model = await asyncio.to_thread(load_model, self.settings.program)
        await self.runner.do(self.sessions.replace_model, model)
        changed = model.fingerprint != old
        log.info("program loaded: %s, %s", model.fingerprint, "new" if changed else "unchanged")
        return changed

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            self.recorder.forget()
            try:
                await self.runner.do(self.sessions.sweep)
            except RefusedError as error:
                log.warning("%s", error)


def _sessions(model: ServedModel, store: Store | None, settings: ServiceSettings) -> Sessions:
    """Return the sessions of a service, or close the store.

    Raises:
        ArgumentError: there is not enough memory for them.
    """
    try:
        return Sessions(
            model,
            store,
            capacity=settings.memory_sessions,
            history=settings.history,
            ttl=settings.ttl,
        )
    except (MemoryError, ValueError):  # NumPy raises ValueError for sizes that no machine has
        if store is not None:
            store.close()
        expected = f"a number of sessions, with a history of {settings.history}, that fit in memory"
        raise bad_argument("memory_sessions", settings.memory_sessions, expected) from None


def load_model(path: str) -> ServedModel:
    """Load a program, the stepper of a detector, or a forecaster, which needs Keras.

    Raises:
        ArgumentError: a detector was saved instead of its stepper.
        FileFormatError: the file is damaged or of another kind.
    """
    from seqkeras.runtime import load

    kind = read_kind(path)
    if kind == "seqkeras.DetectorStepper":
        from seqkeras.serve._served_detector import ServedDetector

        detector: Any = ServedDetector.load(path)
        return detector
    if kind == "seqkeras.Detector":
        fix = "Save its stepper: detector.stepper().save(path)."
        raise bad_argument("program", Description("a whole detector"), "a file to step", fix)
    if kind == "seqkeras.Forecaster":
        from seqkeras.serve._served_forecaster import ServedForecaster

        forecaster: Any = ServedForecaster.load(path)
        return forecaster
    return ServedProgram(load(path))


def gain_of_batches(model: ServedModel, rows: int = 16, repeats: int = 50) -> float:
    """Return the seconds for each row that one step of many rows saves over single steps."""
    try:
        state = model.initial_state(["0"] * rows)
        x = np.zeros((rows, model.width), model.input_dtype)
        first = tuple(array[:1] for array in state)
        if model.row_step is not None:
            single = _fastest(model.row_step.bind(first), repeats)
        else:
            single = _fastest(lambda: model.step(x[:1], first), repeats)
        many = _fastest(lambda: model.step(x, state), repeats)
    except (SeqkerasError, RefusedError):  # its sessions have ids of their own
        return 0.0
    return single - many / rows


def _fastest(function: Any, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)

"""What all engines share: items go to worker processes, and results come back as they are ready."""

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from seqkeras.engines._worker import pack
from seqkeras.errors import WorkerError


class _RemoteError(Exception):
    """The traceback in a worker process, shown as the cause of its exception."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes:
        value: the result of the function.
        error: the exception that it raised.
        lost: the items that the engine could not compute; if there are several, a worker process
            has ended that computed one of them.
        reason: what the engine says about that.
    """

    value: Any = None
    error: Exception | None = None
    lost: tuple[int, ...] = ()
    reason: str = ""

    @classmethod
    def of(cls, function: Callable[[Any], Any], item: Any) -> "Outcome":
        """Apply a function to an item here."""
        try:
            return cls(function(item))
        except Exception as error:
            return cls(error=error)

    @classmethod
    def read(cls, reply: bytes) -> "Outcome":
        """Read what `compute` returned."""
        value, error, text = pickle.loads(reply)
        if error is not None:
            error.__cause__ = _RemoteError(text)
        return cls(value, error)

    def get(self, names: Sequence[str], engine: str) -> Any:
        """Return the result.

        Args:
            names: a name for each item, for errors.
            engine: name of the engine.

        Raises:
            WorkerError: the engine could not compute it, often because a worker process ended.
            Exception: what the function raised.
        """
        if self.lost:
            where = " or ".join(names[number] for number in self.lost)
            raise WorkerError(
                f"{engine} could not compute {where}. If a worker process was killed or crashed, "
                "there was often not enough memory: use fewer workers or smaller parts. Otherwise, "
                "check that the workers have the same versions of Python and of the packages. "
                f"{engine} says: {self.reason}"
            )
        if self.error is not None:
            raise self.error
        return self.value


class Workers(Protocol):
    """Worker processes of an engine, and its own futures."""

    @property
    def slots(self) -> int:
        """Return the number of items to hand over at once."""

    def submit(self, item: bytes) -> Any:
        """Hand over a packed item, and return a future."""

    def wait(self, futures: list[Any]) -> list[Any]:
        """Wait until some of the futures are ready, and return these."""

    def result(self, future: Any) -> bytes:
        """Return what `compute` returned.

        Raises:
            Exception: the engine could not compute it.
        """

    def cancel(self, futures: list[Any]) -> None:
        """Stop what has not ended."""


class Engine(ABC):
    """Base of the engines: `Joblib`, `Ray`, `Dask`, `Spark`.

    Each worker process computes one item at a time, with Keras set as in this process. If the call
    is interrupted, items that have not ended are canceled.
    """

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Apply a function to each item.

        Args:
            function: a function of one item. What it holds, such as data in a
                `functools.partial`, is sent once to each worker process, or once with each item by
                `Joblib`; functions of a script are sent as well.
            items: the items; each is sent to one worker process.

        Returns:
            The results, in the order of the items.

        Raises:
            WorkerError: the engine could not compute an item, often because a worker process ended.
            Exception: what the function raised, first of all items; the others are canceled.

        Example:
            >>> from seqkeras.engines import Joblib
            >>> Joblib(n_jobs=1).map(abs, [-1, 2, -3])
            [1, 2, 3]
        """
        names = [f"item {number}" for number in range(len(items))]
        # Closed at once, also after an error, to end what still runs.
        with closing(self.outcomes(function, items)) as outcomes:
            results = {number: outcome.get(names, str(self)) for number, outcome in outcomes}
        return [results[number] for number in range(len(items))]

    def outcomes(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> Generator[tuple[int, Outcome]]:
        """Yield the position and the outcome of each item, in the order in which they are ready.

        Close the generator to end what still runs.
        """
        with self._workers(pack(function)) as workers:
            running: dict[Any, int] = {}
            waiting = enumerate(items)
            try:
                while True:
                    for number, item in islice(waiting, max(0, workers.slots - len(running))):
                        running[workers.submit(pack(item))] = number
                    if not running:
                        return
                    for future in workers.wait(list(running)):
                        number = running.pop(future)
                        yield number, _outcome(workers, future, number)
            finally:
                workers.cancel(list(running))

    @property
    def is_here(self) -> bool:
        """Return whether items are computed in this process."""
        return False

    def check(self) -> None:  # noqa: B027  # most engines have nothing to check
        """Check that the engine can be used.

        Raises:
            MissingDependencyError: its package is not installed.
        """

    def __str__(self) -> str:
        return type(self).__name__

    @abstractmethod
    def _workers(self, function: bytes) -> AbstractContextManager[Workers]:
        """Return workers that apply a packed function to items."""


def _outcome(workers: Workers, future: Any, number: int) -> Outcome:
    try:
        reply = workers.result(future)
    except Exception as error:  # the engines have no common base class
        return Outcome(lost=(number,), reason=f"{type(error).__name__}: {error}")
    return Outcome.read(reply)

"""The newest steps of the sessions that someone looks at."""

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

#: Seconds after the last look when a session is no longer recorded.
ATTENTION = 60.0

#: Most sessions that are recorded at a time, and most steps and numbers of each.
MOST_SESSIONS = 32
MOST_POINTS = 512
MOST_COLUMNS = 16


class Point(NamedTuple):
    """One step: its number, its time in seconds since 1970, inputs and outputs."""

    step: int
    time: float
    x: list[float]
    y: list[float]


class Recorder:
    """Records sessions for a minute after each look at them, in bounded memory.

    Args:
        clock: returns seconds since 1970.

    Attributes:
        watched: the recorded steps by key of the session. While it is empty, nothing is recorded,
            and steps cost one look at it.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.watched: OrderedDict[str, deque[Point]] = OrderedDict()
        self._looks: dict[str, float] = {}
        self._clock = clock

    def look(self, key: str) -> list[Point]:
        """Return the recorded steps of a session, oldest first, and record it from now on."""
        points = self.watched.setdefault(key, deque(maxlen=MOST_POINTS))
        self.watched.move_to_end(key)
        self._looks[key] = self._clock()
        if len(self.watched) > MOST_SESSIONS:
            self.drop(self._of_busiest_client())
        return list(points)

    def _of_busiest_client(self) -> str:
        """Return the session to drop, so that no client takes the places of all others."""
        clients = [client_of(key) for key in self.watched]
        busiest = Counter(clients).most_common(1)[0][0]
        return next(key for key in self.watched if client_of(key) == busiest)

    def add(self, key: str, number: int, x: Any, y: Any) -> None:
        """Record steps of a session if it is watched.

        Args:
            key: the session.
            number: number of the first step.
            x: observations, `(timesteps, width)`.
            y: outputs, `(timesteps, outputs)`.
        """
        points = self.watched.get(key)
        if points is None:
            return
        now = self._clock()
        rows = zip(np.asarray(x)[:, :MOST_COLUMNS], np.asarray(y)[:, :MOST_COLUMNS], strict=True)
        for step, (inputs, outputs) in enumerate(rows, start=number):
            point = Point(step, now, inputs.tolist(), outputs.tolist())
            if points and step <= points[-1].step:
                if _is_repeat(point, points):
                    continue
                points.clear()  # the session ended, or another process has set its state
            points.append(point)

    def forget(self) -> None:
        """Drop the sessions that nobody has looked at for a minute."""
        before = self._clock() - ATTENTION
        for key in [key for key, seen in self._looks.items() if seen < before]:
            self.drop(key)

    def drop(self, key: str) -> None:
        """Drop what was recorded of a session, if it is watched."""
        self.watched.pop(key, None)
        self._looks.pop(key, None)


def client_of(key: str) -> str:
    """Return the client that a session belongs to."""
    return key.rpartition("/")[0]


def _is_repeat(point: Point, points: deque[Point]) -> bool:
    return any(other.step == point.step and other.y == point.y for other in points)

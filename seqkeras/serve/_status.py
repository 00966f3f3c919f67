"""What the page shows: counters of the service, and the newest steps of one session."""

import math
import time
from typing import Any

from seqkeras.serve._meter import BOUNDS
from seqkeras.serve._recorder import MOST_COLUMNS
from seqkeras.serve._service import Service


def status(service: Service) -> dict[str, Any]:
    """Return the counters of this process since its start; times are in seconds."""
    meter = service.meter
    replies = dict(meter.requests)
    return {
        "time": time.time(),
        "uptime": time.time() - service.started,
        "ready": service.healthy,
        "steps": meter.steps,
        "requests": sum(replies.values()),
        "refused": sum(n for (_, code), n in replies.items() if 400 <= code < 500),
        "failed": sum(n for (_, code), n in replies.items() if code >= 500),
        "sessions_in_memory": service.sessions.in_memory,
        "sessions_evicted": service.sessions.evicted,
        "latency": {"p50": meter.latency(0.5), "p99": meter.latency(0.99)},
        "latencies": {"bounds": BOUNDS, "counts": meter.buckets},
    }


def recent(service: Service, session: str, key: str) -> dict[str, Any]:
    """Return the newest steps of a session, which this process records from now on."""
    description = service.sessions.model.describe()
    points = service.recorder.look(key)
    return {
        "id": session,
        "inputs": column_names(description["inputs"], description["features"])[:MOST_COLUMNS],
        "outputs": column_names(description["outputs"])[:MOST_COLUMNS],
        "step": [point.step for point in points],
        "time": [point.time for point in points],
        "x": [point.x for point in points],
        "y": [point.y for point in points],
    }


def column_names(ports: list[dict[str, Any]], features: list[str] | None = None) -> list[str]:
    """Return a name for each number of an observation or an output.

    Example:
        >>> column_names([{"name": "y", "shape": [2]}, {"name": "score", "shape": []}])
        ['y 1', 'y 2', 'score']
    """
    if features is not None:
        return list(features)
    names = []
    for port in ports:
        size = math.prod(port["shape"])
        name = port["name"]
        names += [name] if size == 1 else [f"{name} {place}" for place in range(1, size + 1)]
    return names

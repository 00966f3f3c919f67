"""Counters of a service, as Prometheus reads them."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

#: Upper bounds of the buckets of latencies, in seconds.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Meter:
    """Counts requests. Plain numbers, because a request takes only microseconds.

    Attributes:
        steps: observations read.
        requests: number of replies by route and status.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.requests: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def count(self, route: str, status: int, seconds: float, steps: int = 0) -> None:
        """Count a reply."""
        self.requests[route, status] += 1
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds
        self.steps += steps

    def latency(self, share: float) -> float | None:
        """Return an upper bound of the latency of a share of all requests, in seconds."""
        total = sum(self._buckets)
        seen = 0
        for bound, number in zip((*BOUNDS, float("inf")), self._buckets, strict=True):
            seen += number
            if total and seen >= share * total:
                return min(bound, 2 * BOUNDS[-1])
        return None

    @property
    def buckets(self) -> list[int]:
        """Return the number of requests up to each bound, and beyond the last."""
        return list(self._buckets)

    def families(self) -> Iterable[Any]:
        """Return the counters for Prometheus."""
        requests = CounterMetricFamily(
            "seqkeras_requests", "Replies by route and status.", labels=("route", "status")
        )
        for (route, status), number in self.requests.items():
            requests.add_metric((route, str(status)), number)
        yield requests
        yield CounterMetricFamily("seqkeras_steps", "Observations read.", value=self.steps)
        total = 0
        buckets = []
        for bound, number in zip((*BOUNDS, None), self._buckets, strict=True):
            total += number
            buckets.append(("+Inf" if bound is None else repr(bound), total))
        latency = HistogramMetricFamily("seqkeras_request_seconds", "Time from request to reply.")
        latency.add_metric((), buckets, self._seconds)
        yield latency


class ServiceCollector:
    """The meter and the sessions of a service at the time of a scrape.

    Args:
        service: the service.
    """

    def __init__(self, service: Any) -> None:
        self._service = service

    def collect(self) -> Iterable[Any]:
        """Return all metrics."""
        service = self._service
        sessions = service.sessions
        yield from service.meter.families()
        gauge = GaugeMetricFamily
        yield gauge("seqkeras_sessions_in_memory", "Sessions in memory.", value=sessions.in_memory)
        yield CounterMetricFamily(
            "seqkeras_sessions_evicted", "Sessions that left the memory.", value=sessions.evicted
        )
        yield gauge("seqkeras_ready", "Whether states can be stored.", value=int(service.healthy))
        program = gauge(
            "seqkeras_program_info", "The program that runs.", labels=("name", "fingerprint")
        )
        program.add_metric((sessions.model.name, sessions.model.fingerprint), 1)
        yield program


def exposition(service: Any) -> bytes:
    """Return the metrics of a service in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(ServiceCollector(service))
    return generate_latest(registry)

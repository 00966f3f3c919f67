"""Tasks of Dask."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from seqkeras._checks import Description, bad_argument, check_integer
from seqkeras._lazy import import_optional
from seqkeras.engines._engine import Engine, Workers
from seqkeras.engines._worker import Setup, compute


class Dask(Engine):
    """Tasks of Dask.

    Args:
        client: a `distributed.Client`. None: the current client of this process, or else a local
            cluster with a process for each core, for the time of the call; a script that starts one
            needs `if __name__ == "__main__":`.
        threads: threads of each worker process. None: those that its Dask worker has. A process
            computes one item at a time, so `threads_per_worker=1` suits most clusters. Workers must
            be restarted before they compute with another number.

    Raises:
        ArgumentError: the client is none, or its workers are threads of this process.

    Dask gives an item to another worker if its worker ends, three times by default
    (`distributed.scheduler.allowed-failures`). Items that run when the call is interrupted end only
    if the cluster was started for the call: Dask cannot stop them.
    """

    def __init__(self, client: Any = None, *, threads: int | None = None) -> None:
        self.client = _checked(client) if client is not None else None
        self.threads = check_integer("threads", threads) if threads is not None else None

    def check(self) -> None:
        """Check that Dask is installed.

        Raises:
            MissingDependencyError: it is not.
        """
        import_optional("distributed", extra="distributed")

    @contextmanager
    def _workers(self, function: bytes) -> Iterator[Workers]:
        distributed = import_optional("distributed", extra="distributed")
        with self._connected(distributed) as client:
            own = client.nthreads().values()
            setup = Setup.like_here(self.threads or min(own, default=1))
            data = client.scatter(function, broadcast=True, hash=False)
            yield _Tasks(distributed, client, (setup, data))

    def _connected(self, distributed: Any) -> Any:
        """Return the client, as a context that closes what was started for the call."""
        if self.client is not None:
            return nullcontext(self.client)
        try:
            client = distributed.default_client()
        except ValueError:  # there is none
            return distributed.Client(
                processes=True, threads_per_worker=1, dashboard_address=None, set_as_default=False
            )
        return nullcontext(_checked(client))


def _checked(client: Any) -> Any:
    """Return a client whose workers are processes of their own.

    Raises:
        ArgumentError: they are not, or it is no client.
    """
    expected = "a distributed.Client whose workers are processes"
    if not hasattr(client, "scheduler_info"):
        fix = 'Connect it: distributed.Client("scheduler:8786").'
        raise bad_argument("client", client, expected, fix)
    if any(worker.startswith("inproc://") for worker in client.nthreads()):
        actual = Description("one whose workers are threads of this process")
        fix = "Start it with distributed.Client(processes=True)."
        raise bad_argument("client", actual, expected, fix)
    return client


class _Tasks:
    """Tasks with the same first arguments."""

    def __init__(self, distributed: Any, client: Any, arguments: tuple[Any, ...]) -> None:
        self._distributed = distributed
        self._client = client
        self._arguments = arguments

    @property
    def slots(self) -> int:
        """Return twice the number of worker processes, so that none has to wait."""
        return 2 * max(1, len(self._client.nthreads()))

    def submit(self, item: bytes) -> Any:
        """Start a task."""
        # Impure: an equal call is not answered from an earlier one.
        return self._client.submit(compute, *self._arguments, item, pure=False)

    def wait(self, futures: list[Any]) -> list[Any]:
        """Wait until a task is ready."""
        with self._client.as_current():
            return list(self._distributed.wait(futures, return_when="FIRST_COMPLETED").done)

    def result(self, future: Any) -> bytes:
        """Return the reply of a task."""
        reply: bytes = future.result()
        return reply

    def cancel(self, futures: list[Any]) -> None:
        """Cancel tasks that have not begun."""
        self._client.cancel(futures, force=True)

"""Processes of this machine, started by joblib."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager
from typing import Any

import joblib

from seqkeras._checks import bad_argument, check_integer
from seqkeras.engines._engine import Engine, Outcome, Workers
from seqkeras.engines._worker import Setup, compute, pack

#: Backends of joblib that cannot run fits, and why.
_UNFIT = {
    "ThreadingBackend": "Threads share the seed of Keras",
    "MultiprocessingBackend": "A forked TensorFlow hangs",
}


class Joblib(Engine):
    """Processes of this machine, or of the active backend of joblib.

    Args:
        n_jobs: number of worker processes, as in joblib: -1, the default, for one on each core. 1
            computes in this process. None: that of an active `joblib.parallel_config`, otherwise 1.
        threads: threads of each worker process. None: its share of the cores, or 1 on another
            backend than loky. Without effect where joblib computes in this process.
    """

    def __init__(self, n_jobs: int | None = -1, *, threads: int | None = None) -> None:
        if n_jobs is not None and (type(n_jobs) is not int or n_jobs == 0):
            raise bad_argument("n_jobs", n_jobs, "None, or an integer other than 0, as in joblib")
        self.n_jobs = n_jobs
        self.threads = check_integer("threads", threads) if threads is not None else None

    def check(self) -> None:
        """Check that joblib's active backend can run fits.

        Raises:
            ArgumentError: it cannot.
        """
        name = type(joblib.parallel.get_active_backend()[0]).__name__
        if name in _UNFIT and self._jobs != 1:
            fix = f"{_UNFIT[name]}: use joblib's default backend, loky, or engine='dask' or 'ray'."
            raise bad_argument("n_jobs", self.n_jobs, f"1 under joblib's {name}", fix)

    @property
    def is_here(self) -> bool:
        """Return whether items are computed in this process."""
        return self._jobs == 1

    @property
    def _jobs(self) -> int:
        return int(joblib.effective_n_jobs(self.n_jobs))

    def outcomes(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> Generator[tuple[int, Outcome]]:
        """Yield the position and the outcome of each item, in the order in which they are ready."""
        if self.is_here:
            yield from ((number, Outcome.of(function, item)) for number, item in enumerate(items))
            return
        threads = self.threads or self._share_of_cores
        setup = Setup.like_here(threads)
        packed = pack(function)
        running: list[int] = []

        def calls() -> Iterator[Any]:
            for number, item in enumerate(items):
                running.append(number)
                yield joblib.delayed(_numbered)(number, setup, packed, pack(item))

        replies = self._parallel(threads)(calls())
        try:
            for number, reply in replies:
                running.remove(number)
                yield number, Outcome.read(reply)
        except BrokenExecutor as error:
            yield running[0], Outcome(lost=tuple(running), reason=str(error))
        finally:
            del replies  # ends what still runs

    @property
    def _share_of_cores(self) -> int:
        """Return the threads of a worker: 1 where workers may live on and serve others later."""
        return max(1, joblib.cpu_count() // self._jobs) if _is_loky() else 1

    def _parallel(self, threads: int) -> joblib.Parallel:
        backend = joblib.parallel.get_active_backend()[0]
        order = "generator_unordered" if backend.supports_return_generator else "list"
        options = {"return_as": order, "pre_dispatch": "n_jobs", "batch_size": 1}
        if not _is_loky():
            return joblib.Parallel(self.n_jobs, **options)
        # Loky would use older processes, whose frameworks have started with other threads.
        with joblib.parallel_config("loky", n_jobs=self._jobs, inner_max_num_threads=threads):
            return joblib.Parallel(**options)

    def _workers(self, function: bytes) -> AbstractContextManager[Workers]:
        raise NotImplementedError  # joblib has no futures


def _is_loky() -> bool:
    return type(joblib.parallel.get_active_backend()[0]).__name__ == "LokyBackend"


def _numbered(number: int, *call: Any) -> tuple[int, bytes]:
    return number, compute(*call)

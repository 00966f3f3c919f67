"""Tasks of Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from seqkeras._checks import check_positive
from seqkeras._lazy import import_optional
from seqkeras.engines._engine import Engine, Workers
from seqkeras.engines._worker import THREADS, Setup, compute


class Ray(Engine):
    """Tasks of Ray, on the cluster that `ray.init` has connected to, or on this machine.

    Args:
        num_cpus: CPUs that Ray reserves for each item, and threads of its worker; default 1.
        **options: further options of `ray.remote`, such as `num_gpus=1`, `resources`,
            `runtime_env` or `max_retries=0`. By default, Ray repeats an item three times if its
            worker ends.
    """

    def __init__(self, num_cpus: float = 1, **options: Any) -> None:
        self.num_cpus = check_positive("num_cpus", num_cpus)
        self.options = options

    def check(self) -> None:
        """Check that Ray is installed.

        Raises:
            MissingDependencyError: it is not.
        """
        import_optional("ray", extra="distributed")

    @contextmanager
    def _workers(self, function: bytes) -> Iterator[Workers]:
        ray = import_optional("ray", extra="distributed")
        if not ray.is_initialized():
            ray.init()
        threads = max(1, int(self.num_cpus))
        remote = ray.remote(num_cpus=self.num_cpus, **self._options(threads))(compute)
        setup = Setup.like_here(threads)
        yield _Tasks(ray, remote, (setup, ray.put(function)), self.num_cpus)

    def _options(self, threads: int) -> dict[str, Any]:
        """Return the options of tasks, which keep apart workers with other numbers of threads."""
        environment = dict(self.options.get("runtime_env") or {})
        variables = dict.fromkeys(THREADS, str(threads)) | environment.get("env_vars", {})
        return {**self.options, "runtime_env": environment | {"env_vars": variables}}


class _Tasks:
    """Tasks with the same first arguments."""

    def __init__(self, ray: Any, remote: Any, arguments: tuple[Any, ...], num_cpus: float) -> None:
        self._ray = ray
        self._remote = remote
        self._arguments = arguments
        self._num_cpus = num_cpus

    @property
    def slots(self) -> int:
        """Return twice the number of items that fit on the cluster, so that none has to wait."""
        return 2 * max(1, int(self._ray.cluster_resources().get("CPU", 1) / self._num_cpus))

    def submit(self, item: bytes) -> Any:
        """Start a task."""
        return self._remote.remote(*self._arguments, item)

    def wait(self, futures: list[Any]) -> list[Any]:
        """Wait until a task is ready."""
        ready: list[Any] = self._ray.wait(futures, num_returns=1)[0]
        return ready

    def result(self, future: Any) -> bytes:
        """Return the reply of a task."""
        reply: bytes = self._ray.get(future)
        return reply

    def cancel(self, futures: list[Any]) -> None:
        """End tasks, and the processes that compute them."""
        for future in futures:
            self._ray.cancel(future, force=True)
